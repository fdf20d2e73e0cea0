"""SIGKILL in front of every file operation of going back, forking, quarantine and replay.

The same oracle after each: the next session needs no help and ends in the same bytes, and nothing
that was there before is gone.
"""

import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from support import jobs, oracle
from support.jobs import Job
from support.runs import make_run

from rlrun.runs import fork, store
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest

SETTINGS = {
    "plain": ["train.max_steps=4", "saving.every_steps=1", "grpo.prompts_per_step=2"],
    # step 2 lies inside a window, and its segment reaches over it
    "window": [
        "train.max_steps=6",
        "saving.every_steps=1",
        "grpo.prompts_per_step=1",
        "grpo.updates_per_batch=3",
    ],
}
NUM_PARTS = 8


class Scenario:
    """A run that was left in some state, what a session does with it, and what it must end in."""

    def __init__(self, run: RunDir, request: SessionRequest, expected: dict[str, Any]) -> None:
        self.run = run
        self.request = request
        self.expected = expected
        self.treasure = contents_of(run)
        trial = self.copy(run.path.with_name("trial"))
        trace = run.path.parent / "trace"
        assert jobs.run(Job(trial.path, request, trace=trace)) in (0, 7)
        self.num_calls = len(trace.read_text().splitlines())

    def copy(self, target: Path) -> RunDir:
        shutil.copytree(self.run.path, target, symlinks=True)
        return RunDir(target)


def contents_of(run: RunDir) -> set[bytes]:
    """Return the bytes of every checkpoint's file, wherever in the run it stands."""
    return {
        path.read_bytes()
        for path in run.path.rglob("*.pt")
        if path.is_file() and not path.is_symlink()
    }


def finished(folder: Path, model: Path, name: str) -> tuple[RunDir, dict[str, Any]]:
    run = make_run(folder, "run", model, SETTINGS[name])
    assert jobs.run(Job(run.path)) == 0
    return run, oracle.digest(run.path)


def rewinding(folder: Path, model: Path, *, name: str, step: int) -> Scenario:
    run, expected = finished(folder, model, name)
    return Scenario(run, SessionRequest(device="cpu", from_step=step, is_rewind=True), expected)


def quarantining(folder: Path, model: Path) -> Scenario:
    run, expected = finished(folder, model, "plain")
    for step in (3, 4):
        weights = run.step(step) / "model" / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    return Scenario(run, SessionRequest(device="cpu"), expected)


def replaying(folder: Path, model: Path) -> Scenario:
    """A session was killed after three steps and holds the lock; the newest save is of step 1."""
    _, expected = finished(folder / "straight", model, "plain")
    run = make_run(folder, "run", model, [*SETTINGS["plain"], "saving.every_steps=null"])
    assert jobs.run(Job(run.path, SessionRequest(steps=1, device="cpu"))) == 0
    assert jobs.run(Job(run.path, kill_after_steps=2)) == -9
    assert run.lock.exists()
    return Scenario(run, SessionRequest(device="cpu"), expected)


MAKERS: dict[str, Callable[[Path, Path], Scenario]] = {
    "rewind": partial(rewinding, name="plain", step=2),
    "rewind-into-window": partial(rewinding, name="window", step=2),
    "rewind-to-nothing": partial(rewinding, name="window", step=0),
    "quarantine": quarantining,
    "replay": replaying,
}


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> Any:
    @cache
    def scenario(name: str) -> Scenario:
        return MAKERS[name](tmp_path_factory.mktemp(name), micro_model)

    return scenario


@pytest.mark.parametrize("part", range(NUM_PARTS))
@pytest.mark.parametrize("name", MAKERS)
def test_killed_at_any_call_it_is_finished_by_the_next_session(
    name: str, part: int, scenarios: Any, tmp_path: Path
) -> None:
    scenario = scenarios(name)
    assert scenario.num_calls > 50
    for call in range(part, scenario.num_calls, NUM_PARTS):
        kill_and_check(scenario, call, tmp_path / str(call))


def kill_and_check(scenario: Scenario, call: int, folder: Path) -> None:
    folder.mkdir()
    run, output = scenario.copy(folder / "run"), folder / "output"
    assert jobs.run(Job(run.path, scenario.request, kill_at_call=call)) == -9
    assert scenario.treasure <= contents_of(run), f"call {call}: a checkpoint is gone"

    code = jobs.run(Job(run.path, output=output))

    nothing_to_do = 7  # it died before the intent was on disk, or after its last save
    assert code in (0, nothing_to_do), (call, output.read_text())
    assert oracle.differences(scenario.expected, oracle.digest(run.path)) == [], f"call {call}"
    assert scenario.treasure <= contents_of(run), f"call {call}: a checkpoint is gone"
    assert oracle.litter(run.path) == [], f"call {call}"
    assert not run.rewind.exists(), f"call {call}"


def fork_it(parent: Path, root: Path, step: int, job: Job) -> None:
    """Fork a run in this process, dying where the job says."""
    import os
    from datetime import UTC, datetime

    from rlrun.runs import files

    text = RunDir(parent).config.read_text()
    with files.watched(jobs._watcher(job)):
        fork.fork(RunDir(parent), step, root, name="fork", config_text=text, now=datetime.now(UTC))
    os._exit(0)


@pytest.mark.parametrize(("name", "step"), [("plain", 2), ("window", 2)])
def test_a_fork_killed_at_any_call_is_whole_or_not_there_and_its_parent_as_it_was(
    name: str, step: int, tmp_path: Path, micro_model: Path
) -> None:
    parent, expected = finished(tmp_path, micro_model, name)
    before = {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    trace = tmp_path / "trace"
    job = Job(parent.path, trace=trace)
    assert jobs.in_fork(fork_it, parent.path, tmp_path / "whole", step, job) == 0
    num_calls = len(trace.read_text().splitlines())
    assert num_calls > 40
    for call in range(num_calls):
        root = tmp_path / f"root{call}"
        job = Job(parent.path, kill_at_call=call)
        assert jobs.in_fork(fork_it, parent.path, root, step, job) == -9
        if not store.list_runs(root):
            assert jobs.in_fork(fork_it, parent.path, root, step, Job(parent.path)) == 0
        (run,) = store.list_runs(root)
        assert store.read_identity(run).parent is not None
        assert [path.name for path in (root / "training_runs").iterdir()] == ["fork"]
        if call % 10 == 0:
            assert jobs.run(Job(run.path)) == 0
            assert forked_state(run) == {key: expected[key] for key in ("step", "state", "totals")}
    after = {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    assert after == before


def forked_state(run: RunDir) -> dict[str, Any]:
    digest = oracle.digest(run.path)
    return {key: digest[key] for key in ("step", "state", "totals")}
