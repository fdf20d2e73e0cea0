"""SIGKILL in front of every file operation of a run's life; the next session needs no help.

The trace of a killed session tells what it had acknowledged; the oracle tells the rest.
"""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support import jobs, oracle
from support.acknowledged import journaled_records, saved_steps
from support.jobs import Job
from support.runs import make_run

from rlrun.runs import checkpoints, jsonl, store
from rlrun.runs.layout import RunDir
from rlrun.runs.store import read_identity

SETTINGS = {
    "plain": ["train.max_steps=4", "saving.every_steps=2", "grpo.prompts_per_step=2"],
    "window": [
        "train.max_steps=4",
        "saving.every_steps=1",
        "grpo.prompts_per_step=1",
        "grpo.updates_per_batch=2",
        "grpo.kl_weight=0.1",
    ],
    "full": ["train.max_steps=2", "saving.every_steps=1", "model.lora=null"],
}
NUM_PARTS = 16  # of each scenario's calls, so that parts can run side by side


class Scenario:
    """An untouched run, and what it ends in when nobody interferes."""

    def __init__(self, folder: Path, model: Path, name: str) -> None:
        self.untouched = make_run(folder, "untouched", model, SETTINGS[name])
        straight = make_run(folder, "straight", model, SETTINGS[name])
        trace = folder / "trace"
        assert jobs.run(Job(straight.path, trace=trace)) == 0
        self.calls = trace.read_text().splitlines()
        self.digest = oracle.digest(straight.path)

    def copy(self, target: Path) -> RunDir:
        shutil.copytree(self.untouched.path, target, symlinks=True)
        return RunDir(target)


@pytest.fixture(scope="module")
def scenarios(memory_of_module: Path, micro_model: Path) -> Any:
    @cache
    def scenario(name: str) -> Scenario:
        folder = memory_of_module / name
        folder.mkdir()
        return Scenario(folder, micro_model, name)

    return scenario


def groups_of(run: RunDir) -> list[tuple[int, int]]:
    return [(row[0], row[2]) for row in oracle.journal_of(run) if not row[1]]


@pytest.mark.parametrize("part", range(NUM_PARTS))
@pytest.mark.parametrize("name", SETTINGS)
def test_a_session_killed_at_any_call_loses_nothing_it_acknowledged(
    name: str, part: int, scenarios: Any, memory_folder: Path
) -> None:
    scenario = scenarios(name)
    assert len(scenario.calls) > 100
    for call in range(part, len(scenario.calls), NUM_PARTS):
        folder = memory_folder / str(call)
        folder.mkdir()
        kill_and_check(scenario, call, folder)
        shutil.rmtree(folder)


def kill_and_check(scenario: Scenario, call: int, folder: Path) -> None:
    run = scenario.copy(folder / "run")
    trace, output = folder / "trace", folder / "output"
    assert jobs.run(Job(run.path, kill_at_call=call, trace=trace)) == -9
    made = trace.read_text().splitlines()
    where = f"killed before call {call}, {made[-1]!r}"
    run_id = read_identity(run).id
    for step in saved_steps(made):
        assert checkpoints.inspect(run, step, run_id=run_id, with_hashes=True).is_valid, where
    assert len(oracle.journal_of(run)) >= journaled_records(made), where

    code = jobs.run(Job(run.path, output=output))

    nothing_to_do = 7  # it died after its last save
    assert code in (0, nothing_to_do), (where, output.read_text())
    assert oracle.differences(scenario.digest, oracle.digest(run.path)) == [], where
    groups = groups_of(run)
    assert len(groups) == len(set(groups)), f"{where}: a finished group was generated again"
    assert not oracle.litter(run.path), where


def test_a_run_killed_at_any_call_of_its_creation_is_whole_or_not_there(
    memory_folder: Path, micro_model: Path
) -> None:
    trace = memory_folder / "trace"
    job = Job(memory_folder, trace=trace)
    assert jobs.in_fork(jobs.create, memory_folder / "a", "run", micro_model, job) == 0
    num_calls = len(trace.read_text().splitlines())
    for call in range(num_calls):
        root = memory_folder / f"root{call}"
        job = Job(memory_folder, kill_at_call=call)
        assert jobs.in_fork(jobs.create, root, "run", micro_model, job) == -9
        found = store.list_runs(root)
        if found:
            assert read_identity(found[0]).id
        else:
            assert jobs.in_fork(jobs.create, root, "run", micro_model, Job(memory_folder)) == 0
        assert [path.name for path in (root / "training_runs").iterdir()] == ["run"]
    assert num_calls > 15


def test_a_torn_tail_is_cut_to_whole_records_at_every_byte(
    memory_folder: Path, scenarios: Any
) -> None:
    """Every cut within the last two records leaves one of three files, and each of them resumes."""
    scenario = scenarios("plain")
    run = scenario.copy(memory_folder / "run")
    assert jobs.run(Job(run.path, kill_after_steps=2)) == -9
    whole = run.journal.read_bytes()
    ends = [0, *(line.end for line in jsonl.read_lines(run.journal, checked=True))]
    assert ends[-1] == len(whole)
    for size in range(ends[-3], len(whole) + 1):
        run.journal.write_bytes(whole[:size])
        kept = max(end for end in ends if end <= size)
        assert jsonl.whole_size(run.journal, checked=True) == kept
    for number, size in enumerate([ends[-3], ends[-3] + 1, ends[-2], ends[-2] + 7, ends[-1] - 1]):
        copy = RunDir(shutil.copytree(run.path, memory_folder / f"torn{number}", symlinks=True))
        copy.journal.write_bytes(whole[:size])
        output = memory_folder / "output"
        assert jobs.run(Job(copy.path, output=output)) == 0, output.read_text()
        assert oracle.differences(scenario.digest, oracle.digest(copy.path)) == []


@pytest.mark.parametrize("call", range(0, 240, 5))
def test_a_kill_while_a_save_runs_in_the_background_loses_nothing(
    call: int, scenarios: Any, memory_folder: Path, micro_model: Path
) -> None:
    settings = [*SETTINGS["plain"], "saving.background=true", "saving.every_steps=1"]
    run = make_run(memory_folder, "run", micro_model, settings)
    trace, output = memory_folder / "trace", memory_folder / "output"
    killed = jobs.run(Job(run.path, kill_at_call=call, trace=trace))
    assert killed in (-9, 0)
    made = trace.read_text().splitlines()
    if killed == -9:
        run_id = read_identity(run).id
        for step in saved_steps(made):
            assert checkpoints.inspect(run, step, run_id=run_id, with_hashes=True).is_valid
        assert jobs.run(Job(run.path, output=output)) in (0, 7), output.read_text()
    expected = scenarios("plain").digest
    assert oracle.differences(expected, oracle.digest(run.path)) == []
    assert not oracle.litter(run.path)
