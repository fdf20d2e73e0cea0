"""Fake engines for tests: how they are started, and whether their processes are gone."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rlrun.engines.client import EngineProcess
from rlrun.engines.spec import EngineSpec, GenerateRequest

TESTS = Path(__file__).parents[1]
FAKE = (sys.executable, "-m", "support.fake_engine")
SPEC = EngineSpec("torch", "fake", "float32", "cpu", 16, 8, 16, 2, 4, None, 0.9)
Start = Callable[..., EngineProcess]


@pytest.fixture
def start_fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start an engine that behaves as it is told; it is ended with the test."""
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}:{TESTS.parent}")
    with ExitStack() as stack:

        def start(
            timeout_seconds: float = 30.0, start_timeout_seconds: float = 60.0, **behaviour: Any
        ) -> EngineProcess:
            monkeypatch.setenv("FAKE_ENGINE", json.dumps(behaviour))
            engine = EngineProcess(
                SPEC,
                python=None,
                log=tmp_path / "logs" / "engine.log",
                timeout_seconds=timeout_seconds,
                command=FAKE,
                start_timeout_seconds=start_timeout_seconds,
            )
            return stack.enter_context(engine)

        yield start


def requests(count: int, adapter: str | None = None) -> list[GenerateRequest]:
    """Return requests for completions of up to 8 tokens."""
    return [GenerateRequest(f"r{i}", adapter, (i, 5), i, 1.0, 8) for i in range(count)]


def is_running(pid: int) -> bool:
    """Return whether there is such a process that has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def wait_until_gone(*pids: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.02)


def pids_in(path: Path, seconds: float = 20.0) -> tuple[int, ...]:
    """Return the numbers that an engine has written of itself and its child."""
    deadline = time.monotonic() + seconds
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline, "the engine has not started"
        time.sleep(0.02)
    return tuple(map(int, path.read_text().split()))
