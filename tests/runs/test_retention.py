"""Which checkpoints stay, and that a removal takes nothing that it must not."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.calls import recorded

from rlrun.errors import DamagedError, RunNotFoundError
from rlrun.runs import checkpoints, files, jsonl, manifest, pins, retention
from rlrun.runs.layout import RunDir
from rlrun.runs.retention import Fate, Pruner, Rules, plan, reasons_to_stay

RUN_ID = "me"

numbers = st.integers(0, 60)
step_sets = st.sets(numbers, max_size=20)
rule_sets = st.builds(
    Rules,
    keep_latest=st.none() | st.integers(1, 8),
    keep_every=st.none() | st.integers(1, 12),
)


@pytest.fixture
def six(run: RunDir) -> RunDir:
    """A run with the steps 1 to 6."""
    for step in range(1, 7):
        save(run, step)
    return run


def save(run: RunDir, step: int) -> None:
    info = {"run_id": RUN_ID, "step": step, "session": 1}
    checkpoints.publish(run, step, {"model/weights": b"%05d" % step}, info)


def damage(run: RunDir, step: int) -> None:
    """Change a byte, so that only a hash can tell."""
    (run.step(step) / "model" / "weights").write_bytes(b"xxxxx")


def pruner(run: RunDir, *published: int) -> Pruner:
    made = Pruner(run, RUN_ID)
    for step in published:
        made.note_published(step)
    return made


def step_of(run: RunDir, number: int) -> checkpoints.Step:
    return checkpoints.inspect(run, number, run_id=RUN_ID, with_hashes=False)


def gone(fates: list[Fate]) -> list[int]:
    return [fate.step for fate in fates if fate.goes]


# ---- the plan


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(), []),
        (Rules(keep_latest=1), [1, 2, 3, 4, 5]),
        (Rules(keep_latest=2), [1, 2, 3, 4]),
        (Rules(keep_latest=9), []),
        (Rules(keep_every=2), [1, 3, 5]),
        (Rules(keep_every=4), [1, 2, 3, 5]),
        (Rules(keep_latest=2, keep_every=3), [1, 2, 4]),
    ],
)
def test_of_six_steps_these_go(rules: Rules, expected: list[int]) -> None:
    assert plan(range(1, 7), rules=rules) == expected


@given(step_sets, step_sets, step_sets, rule_sets)
def test_what_must_stay_never_goes(
    steps: set[int], pinned: set[int], in_use: set[int], rules: Rules
) -> None:
    going = set(plan(steps, pinned=pinned, in_use=in_use, rules=rules))
    newest = sorted(steps)[-rules.num_latest :]
    assert going <= steps - set(newest) - pinned - in_use
    assert not any(rules.keep_every and step % rules.keep_every == 0 for step in going)


@given(step_sets, step_sets, step_sets, rule_sets)
def test_when_a_plan_is_carried_out_nothing_more_goes(
    steps: set[int], pinned: set[int], in_use: set[int], rules: Rules
) -> None:
    left = steps - set(plan(steps, pinned=pinned, in_use=in_use, rules=rules))
    assert plan(left, pinned=pinned, in_use=in_use, rules=rules) == []


@given(step_sets, step_sets, st.integers(1, 8), st.none() | st.integers(1, 12))
def test_who_keeps_more_of_the_newest_loses_no_more(
    steps: set[int], pinned: set[int], latest: int, every: int | None
) -> None:
    more = plan(steps, pinned=pinned, rules=Rules(latest, every))
    fewer = plan(steps, pinned=pinned, rules=Rules(latest + 1, every))
    assert set(fewer) <= set(more)


@given(step_sets, step_sets, rule_sets)
def test_a_later_step_saves_no_earlier_one(steps: set[int], pinned: set[int], rules: Rules) -> None:
    going = plan(steps, pinned=pinned, rules=rules)
    assert set(going) <= set(plan({*steps, 61}, pinned=pinned, rules=rules))


@given(step_sets, step_sets, rule_sets)
def test_every_step_that_stays_has_a_reason_and_no_other_has(
    steps: set[int], pinned: set[int], rules: Rules
) -> None:
    reasons = reasons_to_stay(steps, pinned=pinned, rules=rules)
    assert set(reasons) == steps
    assert [s for s in sorted(steps) if not reasons[s]] == plan(steps, pinned=pinned, rules=rules)


def test_a_step_can_have_several_reasons() -> None:
    reasons = reasons_to_stay([4, 8], pinned={8}, rules=Rules(2, 4))
    assert reasons == {
        8: ("the newest", "divisible by 4", "pinned"),
        4: ("one of the newest 2", "divisible by 4"),
    }


def test_rules_say_themselves_as_they_are_set() -> None:
    assert str(Rules(2, 10)) == "keep_latest=2, keep_every=10"
    assert not Rules()


# ---- pruning a run


def test_pruning_leaves_what_the_rules_keep(six: RunDir) -> None:
    fates = pruner(six).prune(Rules(2, 3))
    assert gone(fates) == [1, 2, 4]
    assert checkpoints.list_steps(six) == [3, 5, 6]
    assert all(step_of(six, step).is_valid for step in (3, 5, 6))
    assert pruner(six).prune(Rules(2, 3)) == [
        Fate(3, False, "divisible by 3", fates[2].num_bytes),
        Fate(5, False, "one of the newest 2", fates[4].num_bytes),
        Fate(6, False, "the newest, divisible by 3", fates[5].num_bytes),
    ]


def test_a_survey_changes_nothing(six: RunDir) -> None:
    with recorded() as calls:
        assert gone(pruner(six).survey(Rules(1))) == [1, 2, 3, 4, 5]
    assert calls == []


def test_a_newest_step_that_only_looks_good_lets_no_good_one_go(six: RunDir) -> None:
    damage(six, 6)
    fates = pruner(six).prune(Rules(1))
    assert gone(fates) == [1, 2, 3, 4]
    assert (
        fates[-1].reason == "does not verify (model/weights does not match its SHA-256); left alone"
    )
    assert checkpoints.list_steps(six) == [5, 6]


def test_as_many_steps_must_be_proven_as_are_to_stay(six: RunDir) -> None:
    for step in (3, 4, 6):
        damage(six, step)
    assert gone(pruner(six).prune(Rules(3))) == []
    assert gone(pruner(six).prune(Rules(2))) == [1]
    assert checkpoints.list_steps(six) == [2, 3, 4, 5, 6]


def test_steps_that_do_not_verify_and_other_tools_steps_are_never_touched(six: RunDir) -> None:
    (six.step(2) / "model" / "weights").write_bytes(b"short")
    (six.step(2) / "model" / "weights").write_bytes(b"")
    six.step(40).mkdir()
    save_other(six, 7)
    fates = pruner(six).prune(Rules(1))
    assert gone(fates) == [1, 3, 4, 5]
    assert checkpoints.list_steps(six) == [2, 6, 7, 40]
    assert fates[-1].reason == "another tool's; left alone"


def save_other(run: RunDir, step: int) -> None:
    checkpoints.publish(
        run, step, {"weights": b"theirs"}, {"run_id": "another", "step": step, "session": 1}
    )


def test_pinned_steps_and_steps_in_use_stay(six: RunDir) -> None:
    pins.write_pin(six, 2)
    with pins.hold(six.step(3)):
        fates = pruner(six).prune(Rules(1))
    assert checkpoints.list_steps(six) == [2, 3, 6]
    assert [fate.reason for fate in fates if fate.step in (2, 3)] == ["pinned", "in use"]


def test_without_a_rule_everything_stays(six: RunDir) -> None:
    assert gone(pruner(six).prune(Rules())) == []
    assert len(checkpoints.list_steps(six)) == 6


# ---- what pruning costs a session


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    whole = manifest._sha256_of_file

    def note(path: Path) -> str:
        names.append(path.parents[1].name)
        return whole(path)

    monkeypatch.setattr(manifest, "_sha256_of_file", note)
    return names


def test_the_step_that_was_just_published_is_not_read_again(
    six: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = hashed(monkeypatch)
    assert gone(pruner(six, 6).prune_quickly(Rules(1))) == [1, 2, 3, 4, 5]
    assert names == []


def test_a_step_is_read_in_full_once_in_a_session(
    six: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, one = hashed(monkeypatch), pruner(six, 6)
    assert gone(one.prune_quickly(Rules(3))) == [1, 2, 3]
    assert names == ["step_5", "step_4"]
    save(six, 7)
    one.note_published(7)
    assert gone(one.prune_quickly(Rules(3))) == [4]
    assert names == ["step_5", "step_4"]


def test_a_step_that_was_written_anew_is_proven_anew(
    six: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = pruner(six, 6)
    six.step(6).rename(six.path / "old")
    info = {"run_id": RUN_ID, "step": 6, "session": 2}
    checkpoints.publish(six, 6, {"model/weights": b"other"}, info)
    names = hashed(monkeypatch)
    one.prune_quickly(Rules(1))
    assert names == ["step_6"]


def test_no_folder_is_opened_when_nothing_can_go(
    six: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("it was inspected")

    monkeypatch.setattr(checkpoints, "inspect", refuse)
    assert Pruner(six, RUN_ID).prune_quickly(Rules(6)) == []


# ---- removing one step


def test_a_removal_is_on_record_before_it_happens_and_each_move_is_synced(six: RunDir) -> None:
    with recorded() as calls:
        assert retention.remove_step(six, step_of(six, 2), "keep_latest=1")
    assert calls == [
        "open removals.jsonl",
        "fsync logs",
        "write removals.jsonl",
        "fsync removals.jsonl",
        "close removals.jsonl",
        "rename .step_2.removed.tmp",
        "fsync training_state",
        "unlink weights",
        "rmdir model",
        "unlink training_info.json",
        "rmdir .step_2.removed.tmp",
        "fsync training_state",
    ]
    (record,) = jsonl.read(six.removals)
    assert (record["step"], record["reason"]) == (2, "keep_latest=1")
    assert set(record) == {"step", "manifest_hash", "reason", "time"}


def test_a_record_that_was_torn_is_cut_before_the_next(six: RunDir) -> None:
    six.removals.write_text('{"step":1}\n{"step":')
    retention.remove_step(six, step_of(six, 2), "keep_latest=1")
    assert [json.loads(line)["step"] for line in six.removals.read_text().splitlines()] == [1, 2]


def test_a_step_that_is_pinned_or_in_use_is_refused_before_anything_is_written(
    six: RunDir,
) -> None:
    pins.write_pin(six, 2)
    with recorded() as calls, pins.hold(six.step(3)):
        assert not retention.remove_step(six, step_of(six, 2), "")
        assert not retention.remove_step(six, step_of(six, 3), "")
    assert calls == []


@pytest.mark.parametrize("objects_to", [".step_2.removed.tmp", "step_2"])
def test_a_guard_that_objects_keeps_the_step_where_it_was(six: RunDir, objects_to: str) -> None:
    asked = []

    def guard(folder: Path) -> None:
        asked.append(folder.name)
        if folder.name == objects_to:
            raise DamagedError("it is another by now")

    with recorded() as calls, pytest.raises(DamagedError, match="another by now"):
        retention.remove_step(six, step_of(six, 2), "", guard=guard)
    assert asked == ["step_2", ".step_2.removed.tmp"][: asked.index(objects_to) + 1]
    assert six.step(2).is_dir()
    assert not six.removed_step(2).exists()
    assert calls[-2:] == (["rename step_2", "fsync training_state"] if asked[1:] else [])
    assert not pins.is_in_use(six.step(2))


def test_what_an_earlier_removal_left_is_removed_with_the_step(six: RunDir) -> None:
    six.step(2).rename(six.removed_step(2))
    save(six, 2)
    assert retention.remove_step(six, step_of(six, 2), "")
    assert not six.step(2).exists()
    assert not six.removed_step(2).exists()


# ---- pinning against removing


class Killed(BaseException):
    """The process ends here."""


def at_calls(*acts: tuple[int, Callable[[], None]]) -> Callable[[str, Path], None]:
    """Return a watcher that acts in front of the n-th calls, from 0, and of no call of its own."""
    state = {"calls": 0, "is_acting": False}

    def watch(operation: str, path: Path) -> None:
        if state["is_acting"]:
            return
        state["is_acting"] = True
        for number, act in acts:
            if number == state["calls"]:
                act()
        state["is_acting"] = False
        state["calls"] += 1

    return watch


def pin(run: RunDir, step: int = 2) -> bool:
    """Pin a step; return whether that was possible."""
    try:
        retention.pin(run, step, run_id=RUN_ID, sleep=lambda _: None)
    except (RunNotFoundError, DamagedError):
        return False
    return True


NUM_REMOVAL_CALLS = 12


@pytest.mark.parametrize("call", range(NUM_REMOVAL_CALLS))
def test_a_pin_at_any_moment_of_a_removal_holds_or_is_refused(
    call: int, six: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remover's kernel lock is taken away, so that the pin alone must decide."""
    monkeypatch.setattr(pins.fcntl, "flock", lambda *_: None)
    results: list[bool] = []
    with files.watched(at_calls((call, lambda: results.append(pin(six))))):
        removed = retention.remove_step(six, step_of(six, 2), "")
    (is_pinned,) = results
    assert step_of(six, 2).is_valid == is_pinned == (not removed)
    assert pins.is_pinned(six, 2) == is_pinned
    assert not six.removed_step(2).exists()


MOMENTS = [(m, n) for m in range(NUM_REMOVAL_CALLS) for n in range(m, NUM_REMOVAL_CALLS)]


@pytest.mark.parametrize(("pinned_at", "killed_at"), MOMENTS)
def test_a_removal_that_is_killed_after_a_pin_takes_no_pinned_step(
    pinned_at: int, killed_at: int, six: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins.fcntl, "flock", lambda *_: None)
    results: list[bool] = []

    def die() -> None:
        raise Killed

    befalls = at_calls((pinned_at, lambda: results.append(pin(six))), (killed_at, die))
    with files.watched(befalls), suppress(Killed):
        retention.remove_step(six, step_of(six, 2), "")
    checkpoints.remove_leftovers(six)
    assert step_of(six, 2).is_valid or not six.step(2).exists()
    assert step_of(six, 2).is_valid or results == [False]
    assert not list(six.training_state.glob(".*.tmp"))


@pytest.mark.parametrize("call", range(4))
def test_a_removal_at_any_moment_of_pinning_is_refused_or_makes_the_pin_fail(
    call: int, six: RunDir
) -> None:
    pins.write_pin(six, 9)  # the folder is there: four calls are left
    results: list[bool] = []

    def remove() -> None:
        if six.step(2).exists():
            results.append(retention.remove_step(six, step_of(six, 2), ""))

    with files.watched(at_calls((call, remove))):
        is_pinned = pin(six)
    assert is_pinned == step_of(six, 2).is_valid
    assert is_pinned == pins.is_pinned(six, 2)
    assert results == [not is_pinned]


@pytest.mark.parametrize("call", range(NUM_REMOVAL_CALLS))
def test_no_removal_begins_under_a_reader_and_no_reading_within_a_removal(
    call: int, six: RunDir
) -> None:
    """In front of each call of the removal somebody tries to lock: nobody gets the step."""
    found: list[bool] = []

    def look() -> None:
        places = (six.step(2), six.removed_step(2))
        there = [place for place in places if (place / manifest.FILE_NAME).exists()]
        found.extend(pins.is_in_use(place) for place in there)

    with files.watched(at_calls((call, look))):
        assert retention.remove_step(six, step_of(six, 2), "")
    assert found in ([True], [])  # the remover has it, until its manifest is unlinked


# ---- pinning


def test_a_pin_needs_a_step_that_is_there_and_verifies(six: RunDir) -> None:
    damage(six, 2)
    with pytest.raises(RunNotFoundError, match="has no step 9; it has 1, 2, 3, 4, 5, 6"):
        retention.pin(six, 9, run_id=RUN_ID)
    with pytest.raises(DamagedError, match="step 2 of run 'sums' does not verify"):
        retention.pin(six, 2, run_id=RUN_ID)
    assert pins.list_pinned(six) == frozenset()


def test_a_pin_is_given_once_and_one_that_was_there_is_not_taken_away(six: RunDir) -> None:
    assert retention.pin(six, 3, run_id=RUN_ID)
    assert not retention.pin(six, 3, run_id=RUN_ID)
    damage(six, 3)
    with pytest.raises(DamagedError):
        retention.pin(six, 3, run_id=RUN_ID)
    assert pins.is_pinned(six, 3)


def test_another_tool_s_step_can_be_pinned(six: RunDir) -> None:
    six.step(40).mkdir()
    assert retention.pin(six, 40, run_id=RUN_ID)
