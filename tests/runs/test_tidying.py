"""What `rlrun prune` does on the disk: it puts the run in order first."""

from pathlib import Path

import pytest
from support.calls import recorded

from rlrun.errors import DamagedError, LockedError, NoSpaceError, UsageError
from rlrun.runs import checkpoints, files, lock, pins, rewind, store, tidying
from rlrun.runs.layout import RunDir
from rlrun.runs.retention import Rules


@pytest.fixture
def five(run: RunDir) -> RunDir:
    """The run with the steps 1 to 5."""
    run_id = store.read_identity(run).id
    for step in range(1, 6):
        info = {"run_id": run_id, "step": step, "session": 1}
        checkpoints.publish(run, step, {"weights": b"w"}, info)
    lines = b"".join(b'{"step":%d}\n' % step for step in range(1, 6))
    for log in (run.train_log, run.ratios):
        log.write_bytes(lines)
    return run


def prune(run: RunDir, **rules: int) -> tidying.Pruned:
    return tidying.prune(run, store.read_identity(run).id, Rules(**rules))


def test_a_rewind_that_was_begun_is_finished_before_anything_goes(five: RunDir) -> None:
    rewind.begin(five, 3)
    done = prune(five, keep_latest=1)
    assert done.note == "finished an interrupted rewind to step 3"
    assert [(fate.step, fate.goes) for fate in done.fates] == [(1, True), (2, True), (3, False)]
    assert checkpoints.list_steps(RunDir(five.abandoned_root / "rewind_0")) == [4, 5]


def test_a_survey_says_the_same_and_changes_nothing(five: RunDir) -> None:
    rewind.begin(five, 3)
    run_id, rules = store.read_identity(five).id, Rules(keep_latest=1)
    with recorded() as calls:
        found = tidying.survey(five, run_id, rules)
    assert calls == []
    assert found.note == "a rewind to step 3 would be finished first"
    assert found.fates == prune(five, keep_latest=1).fates


def test_a_step_that_is_read_keeps_a_rewind_from_being_finished(five: RunDir) -> None:
    rewind.begin(five, 3)
    with pins.hold(five.step(4)), pytest.raises(LockedError, match="or 'rlrun prune', finishes"):
        prune(five, keep_latest=1)
    assert checkpoints.list_steps(five) == [1, 2, 3, 4]
    assert not five.lock.exists()


def test_an_intent_that_does_not_read_stops_it(five: RunDir) -> None:
    five.rewind.write_text("{")
    with pytest.raises(DamagedError, match="remove it, then rewind again"):
        prune(five, keep_latest=1)
    assert checkpoints.list_steps(five) == [1, 2, 3, 4, 5]


def test_a_run_that_is_held_is_refused(five: RunDir) -> None:
    held = lock.Lock(five, lambda: 1, heartbeat_seconds=None)
    with pytest.raises(LockedError):
        prune(five, keep_latest=1)
    held.release()


def test_each_rule_that_is_given_takes_the_place_of_the_configurations(run: RunDir) -> None:
    store.update_config(run, "train:\n  max_steps: 9\n")
    with pytest.raises(UsageError, match="give --keep-latest N or --keep-every N"):
        tidying.rules_of(run, None, None)
    saving = "saving:\n  keep_latest: 2\n  keep_every: 3\n"
    store.update_config(run, f"train:\n  max_steps: 9\n{saving}")
    assert tidying.rules_of(run, None, None) == Rules(2, 3)
    assert tidying.rules_of(run, 1, None) == Rules(1, 3)


def test_a_disk_without_room_for_who_holds_the_run_is_made_room_on(
    five: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _path: Path, _data: bytes) -> None:
        raise NoSpaceError("no room")

    monkeypatch.setattr(files, "replace_contents", refuse)
    assert [fate.goes for fate in prune(five, keep_latest=1).fates] == [True] * 4 + [False]
    assert checkpoints.list_steps(five) == [5]
    assert not five.lock.exists()
    with pytest.raises(NoSpaceError):
        lock.Lock(five, lambda: 2)
