"""Start the worker: a process of its own that outlives the terminal and writes to worker.log."""

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from rlrun.errors import MissingExtraError
from rlrun.extras import install_command
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest

WORKER_COMMAND = (sys.executable, "-m", "rlrun.trainer")
TRAIN_PACKAGES = ("torch", "transformers", "peft", "safetensors", "tensorboard")
# A thread that waits for the others spins first, by default for milliseconds; on a machine that is
# shared it takes the core that they need, and a step ten times as long.
_ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}

Worker = subprocess.Popen[bytes]


def require_train_extra(packages: Sequence[str] = TRAIN_PACKAGES) -> None:
    """Raise MissingExtraError unless what the worker imports is installed; imports none of it."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise MissingExtraError(
            f"training needs {', '.join(missing)}, which {sys.executable} does not have; install "
            f"the extra with: {install_command('train')}"
        )


def start_worker(
    run: RunDir, request: SessionRequest, *, command: Sequence[str] = WORKER_COMMAND
) -> Worker:
    """Return the process that works on `run`, started in its own session.

    The terminal's signals do not reach it.  What it prints is appended to worker.log.
    """
    arguments = [*command, str(run.path), "--request", request.to_text()]
    with run.worker_log.open("ab") as log:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**_ENVIRONMENT, **os.environ},
        )
