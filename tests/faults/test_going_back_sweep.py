"""SIGKILL in front of every file operation of going back, forking, quarantine and replay.

The same oracle after each: the next session needs no help and ends in the same bytes, and nothing
that was there before is gone.  The session that is killed trains one step behind the step that it
went back to, and saves it; a kill further on is the save sweep's.  Those that put steps aside and
that replay train on to the end of what was journaled.
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

from rlrun.runs import fork, rewind, store, tidying, verification
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest
from rlrun.runs.retention import Rules

SETTINGS = {
    "plain": ["train.max_steps=4", "saving.every_steps=1", "grpo.prompts_per_step=2"],
    # step 2 lies inside a window, and its segment reaches over it
    "window": [
        "train.max_steps=4",
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
    request = SessionRequest(steps=1, device="cpu", from_step=step, is_rewind=True)
    return Scenario(run, request, expected)


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
def scenarios(memory_of_module: Path, micro_model: Path) -> Any:
    @cache
    def scenario(name: str) -> Scenario:
        folder = memory_of_module / name
        folder.mkdir()
        return MAKERS[name](folder, micro_model)

    return scenario


@pytest.mark.parametrize("part", range(NUM_PARTS))
@pytest.mark.parametrize("name", MAKERS)
def test_killed_at_any_call_it_is_finished_by_the_next_session(
    name: str, part: int, scenarios: Any, memory_folder: Path
) -> None:
    scenario = scenarios(name)
    assert scenario.num_calls > 50
    for call in range(part, scenario.num_calls, NUM_PARTS):
        folder = memory_folder / str(call)
        kill_and_check(scenario, call, folder)
        shutil.rmtree(folder)


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
    name: str, step: int, memory_folder: Path, micro_model: Path
) -> None:
    parent, expected = finished(memory_folder, micro_model, name)
    before = {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    trace = memory_folder / "trace"
    job = Job(parent.path, trace=trace)
    assert jobs.in_fork(fork_it, parent.path, memory_folder / "whole", step, job) == 0
    num_calls = len(trace.read_text().splitlines())
    assert num_calls > 40
    for call in range(num_calls):
        root = memory_folder / f"root{call}"
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
        shutil.rmtree(root)
    after = {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    assert after == before


def forked_state(run: RunDir) -> dict[str, Any]:
    digest = oracle.digest(run.path)
    return {key: digest[key] for key in ("step", "state", "totals")}


# ---- the command that tidies


def go_back(run_dir: Path, job: Job) -> None:
    """Rewind to step 2 in this process, dying where the job says."""
    import os

    from rlrun.runs import files

    run = RunDir(run_dir)
    with files.watched(jobs._watcher(job)):
        rewind.finish(run, rewind.begin(run, 2), session=2)
    os._exit(0)


def pruned_tree(run: RunDir) -> dict[str, object]:
    """Prune a run, keeping all; return its files and links."""
    tidying.prune(run, store.read_identity(run).id, Rules(keep_latest=9))
    return {
        path.relative_to(run.path).as_posix(): (
            str(path.readlink()) if path.is_symlink() else path.is_file() and path.read_bytes()
        )
        for path in run.path.rglob("*")
    }


def join_segments(run: RunDir) -> None:
    """Let one segment reach over step 2, as where groups of step 3 were there when it was saved."""
    parts = [run.segment(1, 1), run.segment(2, 2), run.segment(3, 3)]
    run.segment(1, 3).write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_rewind_killed_at_any_call_is_finished_by_a_prune(
    name: str, memory_folder: Path, micro_model: Path
) -> None:
    before, _ = finished(memory_folder, micro_model, name)
    if name == "plain":
        join_segments(before)
    trace = memory_folder / "trace"

    def copy(folder: str) -> RunDir:
        return RunDir(shutil.copytree(before.path, memory_folder / folder, symlinks=True))

    as_it_was, gone_back = pruned_tree(copy("untouched")), copy("unkilled")
    assert jobs.in_fork(go_back, gone_back.path, Job(gone_back.path, trace=trace)) == 0
    expected = pruned_tree(gone_back)
    assert expected.keys() != as_it_was.keys()
    calls = trace.read_text().splitlines()
    assert len(calls) > 30
    intent = calls.index("rename rewind.json")
    for number, call in enumerate(calls):
        run, where = copy(f"run{number}"), f"killed at call {number}, {call!r}"
        assert jobs.in_fork(go_back, run.path, Job(run.path, kill_at_call=number)) == -9
        assert verification.verify(run).damage == (), where
        assert pruned_tree(run) == (expected if number > intent else as_it_was), where
        shutil.rmtree(run.path)
