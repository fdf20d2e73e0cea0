"""One process on one run: what it is doing, how it is started, stopped and followed."""
