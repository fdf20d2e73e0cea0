"""Runs on disk, written through the runs room as a worker would write them."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rlrun.cli.app import run
from rlrun.runs import checkpoints, jsonl, ledger, lock, store
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Outcome, SessionEnd, SessionOpening, SessionStart
from rlrun.runs.lock import Owner
from rlrun.sessions import launch

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
CONFIG = "train:\n  max_steps: 10\n"


class RunMaker:
    """Makes one run and what sessions leave in it."""

    def __init__(self, root: Path, name: str, config: str) -> None:
        self.run = store.create_run(root, name=name, config_text=config, num_threads=1, now=NOW)
        self.id = store.read_identity(self.run).id

    def opens(self, session: int = 1, *, pid: int = 4121, host: str = "gpu-2") -> None:
        opened = NOW.isoformat()
        ledger.append_opening(self.run, SessionOpening(session, opened, host, pid))

    def starts(self, session: int = 1, *, from_step: int = 0, **fields: Any) -> None:
        values: dict[str, Any] = {
            "frontier": from_step, "target_step": 10, "max_steps": 10, "promise": "bitwise"
        } | fields  # fmt: skip
        start = SessionStart(session, NOW.isoformat(), "cpu", from_step=from_step, **values)
        ledger.append_start(self.run, start)

    def ends(self, session: int = 1, *, step: int, outcome: Outcome, **fields: Any) -> None:
        values: dict[str, Any] = {"exit_code": 0, "message": ""} | fields
        end = SessionEnd(session, NOW.isoformat(), step, step, 0, 640, 12.0, outcome, **values)
        ledger.append_end(self.run, end)

    def steps(self, first: int, last: int, *, reward: float = 0.5, replayed: bool = False) -> None:
        with self.run.train_log.open("ab") as file:
            for step in range(first, last + 1):
                record = record_of(step, reward=reward, replayed=replayed)
                file.write(jsonl.encode(record, checked=False))

    def journals(self, *kinds: str) -> None:
        with self.run.journal.open("ab") as file:
            for kind in kinds:
                file.write(jsonl.encode({"kind": kind}, checked=True))

    def saves(self, step: int) -> None:
        info = {"run_id": self.id, "step": step}
        checkpoints.publish(self.run, step, {"model/weights": b"12345"}, info)

    def is_held_elsewhere(self, session: int = 1, *, pid: int = 4121, host: str = "gpu-2") -> Owner:
        owner = Owner(host, pid, "another boot", session)
        self.run.lock.write_text(jsonl.encode(vars_of(owner), checked=False).decode())
        return owner

    def was_held_by_the_dead(self, session: int) -> Owner:
        owner = Owner(socket.gethostname(), 4121, "an earlier boot", session)
        self.run.lock.write_text(jsonl.encode(vars_of(owner), checked=False).decode())
        return owner

    def is_held_here(self, session: int = 1) -> lock.Lock:
        return lock.Lock(self.run, lambda: session, heartbeat_seconds=None)


def vars_of(owner: Owner) -> dict[str, object]:
    return {
        "host": owner.host, "pid": owner.pid, "boot_id": owner.boot_id, "session": owner.session
    }  # fmt: skip


def record_of(step: int, *, reward: float = 0.5, replayed: bool = False) -> dict[str, Any]:
    return {
        "step": step,
        "reward_mean": reward,
        "reward_std": 0.0,
        "loss": -0.0125,
        "kl": 0.001,
        "clock": {"seconds": 2.0, "tokens_per_second": 1234.0, "replayed": replayed},
    }


@pytest.fixture
def step_record() -> Callable[..., dict[str, Any]]:
    """Make a record of the training log."""
    return record_of


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty root, which is also the default one."""
    monkeypatch.setenv("RLRUN_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def make_run(root: Path) -> Callable[..., RunMaker]:
    """Make a run under the root."""
    return lambda name="a", config=CONFIG: RunMaker(root, name, config)


@pytest.fixture
def make_foreign_run(root: Path) -> Callable[[str], RunDir]:
    """Make a run as an older tool left it: steps without our manifest, no run.json."""

    def make(name: str) -> RunDir:
        run = RunDir(root / "training_runs" / name)
        (run.training_state / "step_40").mkdir(parents=True)
        (run.step(40) / "training_info.json").write_text('{"step": 40}')
        (run.step(40) / "optimizer.pt").write_bytes(b"123")
        run.logs.mkdir()
        run.train_log.write_text('{"step": 40, "reward_mean": 0.25}\n{"note": "no step"}\n')
        os.utime(run.train_log, (1, 1))
        return run

    return make


@dataclass(frozen=True)
class Said:
    """How a command line ended, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def rlrun(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command line in this process."""

    def run_command(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run_command


@pytest.fixture
def fake_worker(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let sessions be worked by tests/fake_worker.py, which behaves as it is told."""

    def use(**behaviour: Any) -> None:
        monkeypatch.setenv("FAKE_WORKER", json.dumps(behaviour))
        monkeypatch.setenv("PYTHONPATH", str(FAKE_WORKER.parent.parent))
        monkeypatch.setattr(launch, "WORKER_COMMAND", (sys.executable, str(FAKE_WORKER)))
        monkeypatch.setattr(launch, "TRAIN_PACKAGES", ())

    return use


@pytest.fixture
def start_rlrun(root: Path, fake_worker: Callable[..., None]) -> Iterator[Callable[..., Any]]:
    """Start a command line in a process of its own, worked by the fake worker."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **behaviour: Any) -> subprocess.Popen[str]:
        fake_worker(**behaviour)
        script = (
            "import sys; from rlrun.sessions import launch; from rlrun.cli.app import main; "
            f"launch.WORKER_COMMAND = (sys.executable, {str(FAKE_WORKER)!r}); "
            "launch.TRAIN_PACKAGES = (); main()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=20)
