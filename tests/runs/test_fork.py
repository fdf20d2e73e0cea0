"""A run that begins where another stands."""

import json
from pathlib import Path

import pytest
from support import journal as made
from support.run_maker import NOW, RunMaker

from rlrun.errors import DamagedError, RunExistsError, RunNotFoundError
from rlrun.runs import checkpoints, fork, jsonl, rollout_journal, store
from rlrun.runs.layout import RunDir
from rlrun.runs.rollout_journal import RolloutJournal


@pytest.fixture
def parent(tmp_path: Path) -> RunMaker:
    """A run with steps 2 and 4, whose window 3-5 was begun."""
    maker = RunMaker(tmp_path, "parent", "train:\n  max_steps: 10\n")
    journal = RolloutJournal(maker.run)
    for first, last in ((1, 2), (3, 5)):
        journal.append_group(made.group(first))
        journal.append_batch(made.batch(first, last))
        journal.seal(last) if last == 2 else None
    journal.close()
    maker.steps(1, 4)
    maker.saves(2)
    maker.saves(4)
    return maker


def fork_of(parent: RunMaker, step: int, name: str = "child") -> RunDir:
    root = parent.run.path.parents[1]
    return fork.fork(parent.run, step, root, name=name, config_text="seed: 9\n", now=NOW)


def test_a_fork_has_its_own_identity_and_names_its_parent(parent: RunMaker) -> None:
    identity = store.read_identity(fork_of(parent, 4))
    assert identity.id != parent.id
    assert identity.parent == store.Parent(parent.id, "parent", 4)


def test_a_fork_has_the_one_checkpoint_under_its_own_id(parent: RunMaker) -> None:
    run = fork_of(parent, 4)
    assert checkpoints.list_steps(run) == [4]
    found = checkpoints.inspect(run, 4, run_id=store.read_identity(run).id, with_hashes=True)
    assert found.is_valid
    assert found.manifest is not None
    assert found.manifest["session"] == 0
    assert checkpoints.linked_step(run) == 4


def test_a_fork_has_its_own_configuration_and_the_logs_up_to_its_step(parent: RunMaker) -> None:
    with parent.run.train_log.open("ab") as file:
        file.write(b'{"step": 5, "torn')
    run = fork_of(parent, 2)
    assert run.config.read_text() == "seed: 9\n"
    assert [record["step"] for record in jsonl.read(run.train_log)] == [1, 2]


def test_a_fork_inside_a_window_has_its_batch_and_its_groups(parent: RunMaker) -> None:
    recovered = rollout_journal.recover(fork_of(parent, 4), 4)
    assert (list(recovered.batches), list(recovered.groups)) == ([3], ["3.0.1"])


def test_a_fork_between_windows_has_an_empty_journal(parent: RunMaker) -> None:
    recovered = rollout_journal.recover(fork_of(parent, 2), 2)
    assert (recovered.batches, recovered.groups) == ({}, {})


def test_the_parent_is_only_read(parent: RunMaker) -> None:
    before = {path: path.read_bytes() for path in parent.run.path.rglob("*") if path.is_file()}
    fork_of(parent, 4)
    after = {path: path.read_bytes() for path in parent.run.path.rglob("*") if path.is_file()}
    assert after == before


def test_a_step_that_is_not_there_or_damaged_makes_no_fork(parent: RunMaker) -> None:
    with pytest.raises(RunNotFoundError, match="no step 3; it has 2, 4"):
        fork_of(parent, 3)
    (parent.run.step(4) / "model" / "weights").write_bytes(b"54321")
    with pytest.raises(DamagedError, match="does not match its SHA-256"):
        fork_of(parent, 4)
    assert [run.name for run in store.list_runs(parent.run.path.parents[1])] == ["parent"]


def test_a_taken_name_is_refused(parent: RunMaker) -> None:
    fork_of(parent, 4)
    with pytest.raises(RunExistsError, match="run 'child' already exists"):
        fork_of(parent, 2)


def test_a_manifest_of_a_fork_differs_in_nothing_but_whose_it_is(parent: RunMaker) -> None:
    run = fork_of(parent, 4)
    old, new = (
        json.loads((r.step(4) / "training_info.json").read_bytes()) for r in (parent.run, run)
    )
    assert {key for key in old if old[key] != new[key]} == {"run_id", "session", "manifest_hash"}
