"""Whatever the operating system refuses, a session ends in order and the next one needs no help.

A full, read-only or failing disk, a quota, permissions, too many open files, a write that takes
half, an fsync that fails: at every system call under the run, once or from then on.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support import jobs, oracle, refusals, system_calls
from support.jobs import Job
from support.refusals import KINDS, LOST, SHORT, Refusal
from support.runs import make_run
from support.system_calls import Recording, SystemCall

from rlrun.errors import EXIT_DONE, NothingToDoError, StorageError
from rlrun.runs import checkpoints, jsonl, store
from rlrun.runs.layout import RunDir

SHORT_RUN = ["train.max_steps=2", "saving.every_steps=1", "grpo.prompts_per_step=2"]
SETTINGS = {
    "plain": SHORT_RUN,
    "window": [
        "train.max_steps=4",
        "saving.every_steps=2",
        "grpo.prompts_per_step=1",
        "grpo.updates_per_batch=2",
        "grpo.kl_weight=0.1",
    ],
    "replay": ["train.max_steps=4", "saving.every_steps=2", "grpo.prompts_per_step=2"],
    "background": [*SHORT_RUN, "saving.background=true"],
}
WITH_EVERY_KIND = "plain"  # elsewhere the numbers take turns: they differ in their sentences only
NUM_PARTS = 8  # of each scenario's cases, so that parts can run side by side
SENTENCE = re.compile(
    r"(cannot \w+ \S+: [A-Z][^;\n]+(; [a-z][^;\n]+)+"
    r"|cannot write \S+: only \d+ of \d+ bytes were taken; the disk is probably full)"
    r"; what was saved before is safe\n"
)


@dataclass(frozen=True)
class Case:
    """A refusal, and when what a failed fsync gave up is really gone."""

    at: int
    kind: str
    is_lasting: bool
    is_lost_at_once: bool = True


class Scenario:
    """A run as a session finds it, the calls of that session, and what the run ends in."""

    def __init__(self, folder: Path, model: Path, name: str) -> None:
        self.is_fixed = name != "background"  # whether every session makes the same calls
        self.before = make_run(folder, "before", model, SETTINGS[name])
        if name == "replay":
            assert jobs.run_worker(Job(self.before.path, kill_after_steps=3)) == -9
        straight = self.copy(folder / "straight")
        recording = Recording(straight.path, folder / "calls")
        assert jobs.run_worker(Job(straight.path, mishap=recording)) == 0
        self.calls = [call for call, _ in system_calls.read_recording(recording.file)]
        self.digest = oracle.digest(straight.path)
        self.cases = list(cases(self.calls, with_every_kind=name == WITH_EVERY_KIND))

    def copy(self, target: Path) -> RunDir:
        shutil.copytree(self.before.path, target, symlinks=True)
        return RunDir(target)


def cases(calls: list[SystemCall], *, with_every_kind: bool) -> Iterator[Case]:
    """Yield the refusals of each call: the kinds that fit it, once and lasting by turns."""
    for at, call in enumerate(calls):
        kinds = [kind for kind in KINDS if refusals.applies(kind, call)]
        numbers = [kind for kind in kinds if kind not in (SHORT, LOST)]
        if not with_every_kind and numbers:
            numbers = [numbers[at % len(numbers)]]
        for turn, kind in enumerate(numbers, start=at):
            yield Case(at, kind, is_lasting=turn % 2 == 0)
        if SHORT in kinds:
            yield Case(at, SHORT, is_lasting=at % 2 == 0)
        if LOST in kinds:
            yield Case(at, LOST, is_lasting=False, is_lost_at_once=True)
            yield Case(at, LOST, is_lasting=False, is_lost_at_once=False)


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> Any:
    @cache
    def scenario(name: str) -> Scenario:
        return Scenario(tmp_path_factory.mktemp(name), micro_model, name)

    return scenario


@pytest.mark.parametrize("part", range(NUM_PARTS))
@pytest.mark.parametrize("name", SETTINGS)
def test_a_session_that_is_refused_any_call_ends_in_order_and_loses_nothing(
    name: str, part: int, scenarios: Any, memory_folder: Path, counted: Any
) -> None:
    scenario = scenarios(name)
    mine = scenario.cases[part::NUM_PARTS]
    assert len(scenario.calls) > 80
    for number, case in enumerate(mine):
        folder = memory_folder / str(number)
        folder.mkdir()
        refuse_and_check(scenario, case, folder)
        shutil.rmtree(folder)
    counted("refused calls in sessions", len(mine))


def refuse_and_check(scenario: Scenario, case: Case, folder: Path) -> None:
    where = f"{case} at {scenario.calls[case.at]}" if scenario.is_fixed else f"{case}"
    run = scenario.copy(folder / "run")
    files = {name: folder / name for name in ("made", "doomed", "refused", "resumed")}
    refusal = Refusal(run.path, case.at, case.kind, case.is_lasting, files["made"], files["doomed"])

    code = jobs.run_worker(Job(run.path, mishap=refusal, output=files["refused"]))

    said = files["refused"].read_text()
    if code != StorageError.exit_code:
        assert code == EXIT_DONE, (where, said)
        assert not scenario.is_fixed or "training goes on" in said, (where, said)
    else:
        assert SENTENCE.search(said), (where, said)
        assert "defect" not in said, (where, said)
    if case.is_lost_at_once:
        refusals.lose(run.path, refusals.read_lost(files["doomed"]))
    made = files["made"].read_text().splitlines()
    check_nothing_is_lost(run, made, where)
    records = oracle.journal_of(run)

    code = jobs.run_worker(Job(run.path, output=files["resumed"]))

    refusals.lose(run.path, refusals.read_lost(files["doomed"]))
    assert code in (EXIT_DONE, NothingToDoError.exit_code), (where, files["resumed"].read_text())
    assert oracle.differences(scenario.digest, oracle.digest(run.path)) == [], where
    check_ledger(run, where)
    after = oracle.journal_of(run)
    assert [row for row in records if row not in after] == [], where
    groups = [(row[0], row[2]) for row in after if not row[1]]
    assert len(groups) == len(set(groups)), f"{where}: a finished group was generated again"
    assert not oracle.litter(run.path), where
    assert {path.name for path in folder.iterdir()} <= {"run", *files}, where


def check_nothing_is_lost(run: RunDir, made: list[str], where: str) -> None:
    run_id = store.read_identity(run).id
    for step in acknowledged_steps(made):
        found = checkpoints.inspect(run, step, run_id=run_id, with_hashes=True)
        assert found.is_valid, (where, found)
    assert len(oracle.journal_of(run)) >= journaled_records(made), where


def acknowledged_steps(made: list[str]) -> set[int]:
    """Return the steps whose rename was synced."""
    steps: set[int] = set()
    renamed: set[int] = set()
    for call in made:
        if match := re.fullmatch(r"rename step_(\d+)", call):
            renamed.add(int(match[1]))
        elif call == "fsync training_state":
            steps |= renamed
    return steps


def journaled_records(made: list[str]) -> int:
    """Return the number of records that were synced."""
    synced = pending = 0
    for call in made:
        if call == "write rollouts.jsonl":
            pending += 1
        elif call == "ftruncate rollouts.jsonl":
            pending = 0
        elif call == "fsync rollouts.jsonl":
            synced, pending = synced + pending, 0
    return synced


def check_ledger(run: RunDir, where: str) -> None:
    """A session opens, starts and ends at most once, in this order, and says how it ended."""
    events: dict[int, list[str]] = {}
    for record in jsonl.read(run.sessions):
        if record["event"] != "warning":
            events.setdefault(record["session"], []).append(record["event"])
        if record["event"] == "end":
            assert record["exit_code"] in (0, 7, 9), where
            assert record["message"] or record["exit_code"] == 0, where
    for number, seen in events.items():
        assert seen[0] == "open", (where, number, seen)
        assert [event for event in ("open", "start", "end") if event in seen] == seen, where
