"""The names of folders that processes of this machine were making."""

import os
from pathlib import Path

from rlrun.runs import leftovers

NO_PROCESS = 4194304  # the kernel numbers them below that


def of_process(path: Path, pid: int) -> Path:
    """Return the name that `path` has while a process of this machine makes it."""
    own = leftovers.unfinished(path)
    return own.with_name(own.name.replace(f".{os.getpid()}.tmp", f".{pid}.tmp"))


def left_by_the_dead(path: Path) -> Path:
    return of_process(path, NO_PROCESS)
