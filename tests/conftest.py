"""Fixtures that several rooms share."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from support import jobs
from support.memory import folder_in_memory
from support.run_maker import CONFIG, RunMaker, record_of

from rlrun.cli.app import run
from rlrun.policy import backend
from rlrun.runs.layout import RunDir
from rlrun.sessions import launch

# Where torch's threads share cores, one that spins while it waits keeps the others from working.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.update(backend.environment())

# A shell's background job, and nohup, hand down signals that are ignored; the tests send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SUPPORT = Path(__file__).with_name("support")
FAKE_WORKER = SUPPORT / "fake_worker.py"

_PREFIX = "number of "  # of the names of what the tests count, among a report's properties

settings.register_profile("rlrun", deadline=None)  # a busy machine is no defect
settings.load_profile("rlrun")


@pytest.fixture(scope="session")
def micro_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random character model on disk, made in another process: this one computes nothing."""
    return jobs.make_model(tmp_path_factory.mktemp("models") / "micro")


@pytest.fixture(scope="module")
def memory_of_module() -> Iterator[Path]:
    """A folder in memory for what the tests of a module start from."""
    with folder_in_memory() as folder:
        yield folder


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """Take note that so many of something were tried."""

    def note(what: str, number: int) -> None:
        request.node.user_properties.append((f"{_PREFIX}{what}", number))

    return note


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
    """Let sessions be worked by support/fake_worker.py, which behaves as it is told."""

    def use(**behaviour: Any) -> None:
        monkeypatch.setenv("FAKE_WORKER", json.dumps(behaviour))
        monkeypatch.setenv("PYTHONPATH", str(SUPPORT.parent.parent))
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests counted: here, because only the first conftest is read by who prints."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, number in report.user_properties:
            if name.startswith(_PREFIX):
                counts[name.removeprefix(_PREFIX)] += number
    for what, number in sorted(counts.items()):
        terminalreporter.write_line(f"{number} {what}")
