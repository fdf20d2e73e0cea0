"""`python -m rlrun.trainer RUN_DIR --request JSON`: the worker process of one session."""

import argparse
import faulthandler
import logging
import os
import sys
from pathlib import Path
from time import monotonic

from rlrun.errors import LockedError
from rlrun.policy import determinism
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest
from rlrun.trainer.stopping import Stopper
from rlrun.trainer.worker import run_session


def main() -> None:
    """Work one session and end the process with its exit code."""
    parser = argparse.ArgumentParser(prog="python -m rlrun.trainer", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--request", required=True, type=SessionRequest.from_text)
    arguments = parser.parse_args()
    faulthandler.enable()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    determinism.prepare_environment()
    request: SessionRequest = arguments.request
    stopper = Stopper(max_seconds=request.max_seconds, clock=monotonic)
    stopper.install()
    try:
        code = run_session(RunDir(arguments.run_dir.absolute()), request, stopper=stopper)
    except LockedError as error:
        logging.getLogger(__name__).error("%s", error)
        code = error.exit_code
    logging.shutdown()
    # A save may still be writing after a second signal; it is of no use to wait for it.
    os._exit(code)


if __name__ == "__main__":
    main()
