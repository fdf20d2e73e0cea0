"""Power is lost at any moment: whatever the disk may hold then, nothing promised is gone.

The calls of real sessions, with their bytes, give the states that a crash may leave
(`support.crash_states`); each is judged by what had been promised, and some are trained to the end.
"""

import random
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support import jobs, oracle, system_calls
from support.crash_states import Operation, Recorded
from support.jobs import Job
from support.runs import make_run
from support.system_calls import Recording

from rlrun.runs import checkpoints, jsonl, ledger, rollout_journal, step_logs, store
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import SessionOpening
from rlrun.runs.rollout_journal import RolloutJournal
from rlrun.trainer import recovery

SETTINGS = {
    "plain": ["train.max_steps=4", "saving.every_steps=2", "grpo.prompts_per_step=2"],
    "window": [
        "train.max_steps=4",
        "saving.every_steps=1",
        "grpo.prompts_per_step=1",
        "grpo.updates_per_batch=2",
        "grpo.kl_weight=0.1",
    ],
    "background": [
        "train.max_steps=3",
        "saving.every_steps=1",
        "grpo.prompts_per_step=1",
        "saving.background=true",
    ],
}
KILLS = {
    "plain": (1, 3, 5, 10, 13, 14, 15, 16, 27, 28, 34, 48),
    "window": (12, 20),
    "background": (),
}
"""The fsyncs in front of which the session before the one that meets the crash was killed."""
SCENARIOS = [(name, kill) for name in SETTINGS for kill in (None, *KILLS[name])]
SEED = 20260131
NUM_TRAINED = 4  # states of each scenario that a session takes to the end


@dataclass(frozen=True)
class Straight:
    """An untouched run, and what it ends in."""

    run: RunDir
    digest: dict[str, Any]
    syncs: list[int]  # the calls of a session that are fsyncs


@pytest.fixture(scope="module")
def straights(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> Any:
    @cache
    def straight(name: str) -> Straight:
        folder = tmp_path_factory.mktemp(name)
        untouched = make_run(folder, "untouched", micro_model, SETTINGS[name])
        run = RunDir(shutil.copytree(untouched.path, folder / "straight", symlinks=True))
        trace = folder / "trace"
        assert jobs.run(Job(run.path, trace=trace)) == 0
        calls = enumerate(trace.read_text().splitlines())
        syncs = [number for number, call in calls if call.startswith("fsync")]
        return Straight(untouched, oracle.digest(run.path), syncs)

    return straight


@dataclass(frozen=True)
class Promised:
    """What had been promised when the power went."""

    steps: frozenset[int]
    journal: frozenset[bytes]  # lines
    ledger: frozenset[bytes]  # lines


def promised_at(recorded: Recorded, point: int) -> Promised:
    """Return what was acknowledged, journaled or recorded by the first operations."""
    journal, sessions = Synced("rollouts.jsonl"), Synced("sessions.jsonl")
    steps: set[int] = set()
    renamed: set[int] = set()
    for operation in recorded.operations[:point]:
        journal.follow(operation)
        sessions.follow(operation)
        if match := re.fullmatch(r"rename step_(\d+)", operation.text):
            renamed.add(int(match[1]))
        elif operation.text == "fsync training_state":
            steps |= renamed
    return Promised(frozenset(steps), frozenset(journal.lines), frozenset(sessions.lines))


class Synced:
    """The lines of a file that were synced."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pending: list[bytes] = []
        self.lines: set[bytes] = set()

    def follow(self, operation: Operation) -> None:
        if operation.text == f"write {self._name}":
            self._pending.append(operation.data or b"")
        elif operation.text == f"ftruncate {self._name}":
            self._pending.clear()
        elif operation.text == f"fsync {self._name}":
            self.lines.update(self._pending)
            self._pending.clear()


def record(straight: Straight, kill: int | None, folder: Path) -> tuple[Recorded, int]:
    """Return the operations of a session, behind those of a killed one, and where it begins."""
    run = RunDir(shutil.copytree(straight.run.path, folder / "run", symlinks=True))
    recording = Recording(run.path, folder / "calls")
    num_before = 0
    if kill is not None:
        assert jobs.run(Job(run.path, mishap=recording, kill_at_call=straight.syncs[kill])) == -9
        killed = system_calls.read_recording(recording.file)
        num_before = len(Recorded(straight.run.path, run.path, killed).operations)
    assert jobs.run(Job(run.path, mishap=recording)) in (0, 7)
    calls = system_calls.read_recording(recording.file)
    return Recorded(straight.run.path, run.path, calls), num_before


@pytest.mark.parametrize(("name", "kill"), SCENARIOS)
def test_no_crash_takes_what_was_promised_and_some_states_are_trained_to_the_same_end(
    name: str, kill: int | None, straights: Any, memory_folder: Path, counted: Any
) -> None:
    straight = straights(name)
    recorded, first = record(straight, kill, memory_folder)
    states = list(recorded.states(first))
    trained = random.Random(f"{SEED}/{name}/{kill}").sample(range(len(states)), NUM_TRAINED)
    for number, state in enumerate(states):
        where = f"{name}, killed at sync {kill}, state {number}: {state.text}"
        run = RunDir(state.write(memory_folder / "state"))
        judge(run, promised_at(recorded, state.point), where)
        shutil.rmtree(run.path)
        if number in trained:
            run = RunDir(state.write(memory_folder / "state"))
            train(run, straight, memory_folder / "output", where)
            shutil.rmtree(run.path)
    counted(f"crash states of sessions, each judged (seed {SEED})", len(states))
    counted("crash states trained to the end", len(trained))


def judge(run: RunDir, promised: Promised, where: str) -> None:
    """Read a state as the next session does, and tidy it as it does."""
    run_id = store.read_identity(run).id
    for step in promised.steps:
        found = checkpoints.inspect(run, step, run_id=run_id, with_hashes=True)
        assert found.is_valid, (where, found)
    start = recovery.find_starting_point(run, run_id=run_id, from_step=None)
    assert start.step >= max(promised.steps, default=0), where
    assert start.notes == (), (where, "a step that does not verify")
    number = ledger.next_session(run)
    recovery.tidy(run, start, session=number)
    step_logs.cut(run, run.abandoned(number), start.step, session=number)
    RolloutJournal(run).close()
    ledger.append_opening(run, SessionOpening(number, "2026-01-31", "gpu-2", 4121))
    for path in (run.train_log, run.ratios):
        steps = [line["step"] for line in jsonl.read(path)]
        assert steps == list(range(1, start.step + 1)), (where, path.name, steps)
    segments = [path for _, _, path in rollout_journal.sealed_segments(run)]
    assert promised.journal <= lines_of(*segments, run.journal), where
    assert promised.ledger <= lines_of(run.sessions), where
    assert rollout_journal.recover(run, start.step) == start.recovered, where
    for path in segments:
        jsonl.read(path, checked=True)
    assert [path.name for path in run.path.rglob("*.tmp")] == [], where


def lines_of(*paths: Path) -> set[bytes]:
    return {line for path in paths for line in path.read_bytes().splitlines(keepends=True)}


def train(run: RunDir, straight: Straight, output: Path, where: str) -> None:
    code = jobs.run(Job(run.path, output=output))
    nothing_to_do = 7  # the power went after the last save
    assert code in (0, nothing_to_do), (where, output.read_text())
    assert oracle.differences(straight.digest, oracle.digest(run.path)) == [], where
    assert not oracle.litter(run.path), where


def test_a_crash_while_a_run_is_created_leaves_it_whole_or_not_there(
    memory_folder: Path, counted: Any
) -> None:
    root, before = memory_folder / "root", memory_folder / "before"
    before.mkdir()
    root.mkdir()
    recording = Recording(root, memory_folder / "calls")
    assert jobs.in_fork(create, root, recording) == 0
    recorded = Recorded(before, root, system_calls.read_recording(recording.file))
    whole = RunDir(root / "training_runs" / "run")
    states = list(recorded.states())
    for state in states:
        runs = store.list_runs(state.write(memory_folder / "state"))
        if state.point == len(recorded.operations) or runs:
            (run,) = runs
            assert store.read_identity(run) == store.read_identity(whole), state
            assert run.config.read_bytes() == whole.config.read_bytes(), state
            assert rollout_journal.recover(run, 0).batches == {}, state
        shutil.rmtree(memory_folder / "state")
    assert len(states) > 20
    counted("crash states of a creation", len(states))


def create(root: Path, recording: Recording) -> None:
    """Create a run, in a process of its own."""
    from support.jobs import create as create_and_exit

    recording()
    create_and_exit(root, "run", Path("model"), Job(root))
