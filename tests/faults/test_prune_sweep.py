"""SIGKILL in front of every file operation of a prune, and of a session that prunes.

Whatever is left: each step is whole or no step, none that must stay is gone, the link leads
somewhere, and the next command needs no help.
"""

import shutil
from pathlib import Path

import pytest
from support import jobs, oracle
from support.jobs import Job
from support.run_maker import CONFIG, RunMaker
from support.runs import make_run

from rlrun.runs import checkpoints, jsonl, pins, store
from rlrun.runs.layout import RunDir
from rlrun.sessions import state

NUM_PARTS = 8
NAME = "a"
GOES = {1, 3, 5}
STAYS = {2, 6, 7}  # pinned; one of the newest two; the newest
LEFT_ALONE = {4, 40}  # does not verify; another tool's
SETTINGS = [
    "train.max_steps=4",
    "grpo.prompts_per_step=1",
    "saving.every_steps=1",
    "saving.keep_latest=1",
    "saving.keep_every=3",
]


def litter(run: RunDir) -> list[str]:
    return oracle.litter(run.path)


def good_steps(run: RunDir) -> set[int]:
    """Return the steps that verify; the others among those that can go must not be there at all."""
    run_id = store.read_identity(run).id
    numbers = set(checkpoints.list_steps(run))
    found = {n: checkpoints.inspect(run, n, run_id=run_id, with_hashes=True) for n in numbers}
    return {number for number, step in found.items() if step.is_valid}


# ---- the command


@pytest.fixture(scope="module")
def cluttered(memory_of_module: Path) -> Path:
    """A root with one run that has everything a prune can meet, and what killed processes left."""
    root = memory_of_module / "cluttered"
    root.mkdir()
    maker = RunMaker(root, NAME, CONFIG)
    maker.opens(1)
    maker.starts(1)
    for step in range(1, 8):
        maker.saves(step)
    maker.ends(1, step=7, outcome="stopped")
    run = maker.run
    (run.step(4) / "model" / "weights").write_bytes(b"")
    run.step(40).mkdir()
    pins.write_pin(run, 2)
    shutil.copytree(run.step(5), run.unfinished_step(9))
    shutil.copytree(run.step(2), run.removed_step(8))
    checkpoints.repair_link(run, 1, session=1)  # behind, at a step that goes
    maker.was_held_by_the_dead(1)
    return root


def pruned(root: Path, job: Job) -> int:
    return jobs.in_fork(jobs.command, job, "prune", NAME, "--keep-latest", "2", "--root", str(root))


@pytest.fixture(scope="module")
def calls(cluttered: Path, memory_of_module: Path) -> list[str]:
    """What a prune does that nobody interferes with."""
    folder = memory_of_module / "straight"
    folder.mkdir()
    run = copy_of(cluttered, folder / "root")
    assert pruned(folder / "root", Job(run.path, trace=folder / "trace")) == 0
    check_end(run)
    return (folder / "trace").read_text().splitlines()


def copy_of(root: Path, target: Path) -> RunDir:
    shutil.copytree(root, target, symlinks=True)
    return RunDir(target / "training_runs" / NAME)


def check_end(run: RunDir) -> None:
    assert set(checkpoints.list_steps(run)) == STAYS | LEFT_ALONE
    assert good_steps(run) == STAYS
    assert checkpoints.linked_step(run) == 7
    assert litter(run) == []
    recorded = [record["step"] for record in jsonl.read(run.removals)]
    assert set(recorded) == GOES


@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_a_prune_killed_at_any_call_takes_no_step_that_must_stay(
    part: int, cluttered: Path, calls: list[str], memory_folder: Path
) -> None:
    assert len(calls) >= 40
    for call in range(part, len(calls), NUM_PARTS):
        root = memory_folder / str(call)
        run = copy_of(cluttered, root)
        before = state.summarise(run).status
        assert pruned(root, Job(run.path, kill_at_call=call)) == -9
        where = f"killed at call {call}, {calls[call]!r}"
        there = set(checkpoints.list_steps(run))
        assert there >= STAYS | LEFT_ALONE, where
        assert good_steps(run) == there - LEFT_ALONE, where
        assert run.latest_link.exists(), where
        assert state.summarise(run).status == before, where
        assert pruned(root, Job(run.path, output=memory_folder / "output")) == 0, where
        check_end(run)
        shutil.rmtree(root)


# ---- a session


class Scenario:
    """An untouched run, and what it ends in when nobody interferes."""

    def __init__(self, folder: Path, model: Path, *overrides: str) -> None:
        settings = [*SETTINGS, *overrides]
        self.untouched = make_run(folder, "untouched", model, settings)
        straight = make_run(folder, "straight", model, settings)
        assert jobs.run(Job(straight.path, trace=folder / "trace")) == 0
        self.calls = (folder / "trace").read_text().splitlines()
        self.digest = oracle.digest(straight.path)
        self.steps = checkpoints.list_steps(straight)


@pytest.fixture(scope="module")
def scenario(memory_of_module: Path, micro_model: Path) -> Scenario:
    folder = memory_of_module / "session"
    folder.mkdir()
    return Scenario(folder, micro_model)


def newest_acknowledged(calls: list[str]) -> int:
    """Return the last step whose rename was synced; the last call was never made."""
    newest, renamed = 0, 0
    for call in calls[:-1]:
        name = call.removeprefix("rename step_")
        if name != call and name.isdigit():
            renamed = int(name)
        elif call == "fsync training_state":
            newest = renamed
    return newest


@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_a_session_that_prunes_and_is_killed_at_any_call_loses_nothing_it_needs(
    part: int, scenario: Scenario, memory_folder: Path
) -> None:
    assert scenario.steps == [3, 4]
    assert sum(call.startswith("rmdir .step_") for call in scenario.calls) == 2
    for call in range(part, len(scenario.calls), NUM_PARTS):
        folder = memory_folder / str(call)
        folder.mkdir()
        kill_and_check(scenario, call, folder)
        shutil.rmtree(folder)


def kill_and_check(scenario: Scenario, call: int, folder: Path) -> None:
    run = RunDir(shutil.copytree(scenario.untouched.path, folder / "run", symlinks=True))
    trace, output = folder / "trace", folder / "output"
    assert jobs.run(Job(run.path, kill_at_call=call, trace=trace)) == -9
    made = trace.read_text().splitlines()
    where = f"killed at call {call}, {made[-1]!r}"
    there = set(checkpoints.list_steps(run))
    assert good_steps(run) == there, where
    assert newest_acknowledged(made) in there | {0}, where
    assert not run.latest_link.is_symlink() or run.latest_link.exists(), where
    nothing_to_do = 7  # it died after its last save
    code = jobs.run(Job(run.path, output=output))
    assert code in (0, nothing_to_do), (where, output.read_text())
    assert oracle.differences(scenario.digest, oracle.digest(run.path)) == [], where
    assert litter(run) == [], where
    assert {3, 4} <= set(checkpoints.list_steps(run)), where
    if code == 0:
        assert checkpoints.list_steps(run) == scenario.steps, where


@pytest.mark.parametrize("call", range(3, 260, 8))
def test_a_kill_while_a_session_prunes_in_the_background_loses_nothing(
    call: int, scenario: Scenario, memory_folder: Path, micro_model: Path
) -> None:
    run = make_run(memory_folder, "run", micro_model, [*SETTINGS, "saving.background=true"])
    killed = jobs.run(Job(run.path, kill_at_call=call))
    assert killed in (-9, 0)
    assert good_steps(run) == set(checkpoints.list_steps(run))
    if killed == -9:
        assert jobs.run(Job(run.path, output=memory_folder / "output")) in (0, 7)
    assert oracle.differences(scenario.digest, oracle.digest(run.path)) == []
    assert litter(run) == []


# ---- a pin


def test_a_pin_killed_at_any_call_is_a_pin_or_none(cluttered: Path, memory_folder: Path) -> None:
    trace = memory_folder / "trace"
    first = copy_of(cluttered, memory_folder / "first")
    line = ("pin", NAME, "3", "--copy", "--root")
    first_job = Job(first.path, trace=trace)
    assert jobs.in_fork(jobs.command, first_job, *line, str(memory_folder / "first")) == 0
    made = trace.read_text().splitlines()
    for call in range(len(made)):
        root = memory_folder / str(call)
        run = copy_of(cluttered, root)
        job = Job(run.path, kill_at_call=call)
        assert jobs.in_fork(jobs.command, job, *line, str(root)) == -9
        kept = root / "archive" / "important_checkpoints"
        copies = [path.name for path in kept.glob("[!.]*")]
        assert copies in ([], [f"{NAME}_step_3"]), made[call]
        quiet = Job(run.path, output=memory_folder / "output")
        assert jobs.in_fork(jobs.command, quiet, *line, str(root)) == 0
        assert [path.name for path in kept.iterdir()] == [f"{NAME}_step_3"], made[call]
        assert pruned(root, quiet) == 0
        assert {2, 3, 6, 7} <= good_steps(run), made[call]
        shutil.rmtree(root)


def test_the_next_session_finishes_what_a_killed_prune_began(
    scenario: Scenario, memory_folder: Path
) -> None:
    run = RunDir(shutil.copytree(scenario.untouched.path, memory_folder / "run", symlinks=True))
    assert jobs.run(Job(run.path, kill_after_steps=3)) == -9
    shutil.copytree(run.step(max(checkpoints.list_steps(run))), run.removed_step(1))
    assert jobs.run(Job(run.path)) == 0
    assert litter(run) == []
    assert oracle.differences(scenario.digest, oracle.digest(run.path)) == []
