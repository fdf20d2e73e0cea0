"""Starting a worker."""

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from rlrun.errors import MissingExtraError
from rlrun.runs.request import SessionRequest
from rlrun.sessions.launch import require_train_extra, start_worker

SAY_WHO = """
import os, sys
known = [os.environ[name] for name in ("COLOUR", "GOMP_SPINCOUNT")]
print(os.getsid(0) == os.getpid(), sys.stdin.read() == "", sys.argv[2:], *known)
print("oops", file=sys.stderr)
"""


def test_a_worker_has_its_own_session_an_empty_stdin_and_its_orders(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOUR", "blue")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")  # what the user says counts
    run = make_run("a").run
    run.worker_log.write_text("before\n")
    request = SessionRequest(steps=3)
    worker = start_worker(run, request, command=(sys.executable, "-c", SAY_WHO))
    assert worker.wait(timeout=20) == 0
    said = run.worker_log.read_text().splitlines()
    assert said[0] == "before"
    assert f"True True ['--request', '{request.to_text()}'] blue 7" in said
    assert "oops" in said
    assert os.getsid(0) != worker.pid


def test_what_is_installed_is_not_missing() -> None:
    require_train_extra(("json", "os"))


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(MissingExtraError, match=r"needs no_such_thing, .* pip install .*\[train\]"):
        require_train_extra(("json", "no_such_thing"))
    assert "no_such_thing" not in sys.modules
