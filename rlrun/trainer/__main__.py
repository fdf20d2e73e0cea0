"""`python -m rlrun.trainer RUN_DIR --request JSON`: the worker process of one session."""

import argparse
import faulthandler
import logging
import os
import sys
from pathlib import Path
from time import monotonic

from rlrun.errors import EXIT_STOPPED_NOW, RlrunError, StorageError
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest
from rlrun.trainer.stopping import StopNow, Stopper
from rlrun.trainer.worker import run_session

_log = logging.getLogger(__name__)


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
    stopper = Stopper(max_seconds=arguments.request.max_seconds, clock=monotonic)
    stopper.install()
    try:
        code = run_session(RunDir(arguments.run_dir.absolute()), arguments.request, stopper=stopper)
    except RlrunError as error:  # of no session yet, or of one that cannot even be recorded
        _log.error("%s", error)
        code = error.exit_code
    except OSError as error:
        if error.filename is None:
            raise
        _log.error(
            "cannot read %s: %s; check the disk and the limits (ulimit -n)",
            error.filename,
            error.strerror,
        )
        code = StorageError.exit_code
    except StopNow:  # before there was a session to stop
        code = EXIT_STOPPED_NOW
    logging.shutdown()
    # A save may still be writing after a second signal; it is of no use to wait for it.
    os._exit(code)


if __name__ == "__main__":
    main()
