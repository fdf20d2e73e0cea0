"""The worker: takes the lock of a run, trains it for one session, and leaves it ready for the next."""
