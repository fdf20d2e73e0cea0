"""A verified copy of runs elsewhere; a local byte goes only after its remote twin was proved."""
