"""What other processes do with the lock of a run, and how a test hears of it."""

import os
import time
from pathlib import Path
from typing import Any

from rlrun.errors import LockedError
from rlrun.runs import lock
from rlrun.runs.layout import RunDir


def hold(run_dir: Path, said: Path) -> None:
    """Take the lock, say so, and hold it until killed."""
    lock.Lock(RunDir(run_dir), lambda: 3, heartbeat_seconds=None)
    said.write_text(str(os.getpid()))
    time.sleep(600)


def compete(run_dir: Path, start: Any, end: Any, said: Path) -> None:
    """Try for the lock when all do; say what came of it; hold it until all have tried."""
    start.wait(60)
    try:
        held = lock.Lock(RunDir(run_dir), lambda: 1, heartbeat_seconds=None)
    except LockedError as error:
        said.write_text(f"refused: {error}")
        end.wait(60)
    else:
        said.write_text("won")
        end.wait(60)
        held.release()


def take_and_release(run_dir: Path, times: int) -> None:
    """Take the lock and give it back, over and over; end with 1 at the first refusal."""
    for _ in range(times):
        try:
            lock.Lock(RunDir(run_dir), lambda: 1, heartbeat_seconds=None).release()
        except LockedError as error:
            os.write(2, f"{error}\n".encode())
            os._exit(1)
    os._exit(0)
