"""The worker: takes the lock of a run, trains for one session, leaves it ready for the next."""
