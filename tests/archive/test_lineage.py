import pytest

from rlrun.archive import lineage
from rlrun.archive.keys import StepKey
from rlrun.archive.lineage import Cover
from rlrun.errors import RunNotFoundError, UsageError
from rlrun.runs import jsonl


def key(step: int, session: int, hash_: str = "a") -> StepKey:
    return StepKey(step, hash_ * 12, session, 1)


STRAIGHT = [(1, 0), (2, 20)]
KEYS = [key(10, 1), key(20, 1), key(30, 2)]


def test_latest_is_the_newest_and_all_are_all() -> None:
    assert lineage.choose(KEYS, "latest", STRAIGHT) == [key(30, 2)]
    assert lineage.choose(KEYS, "all", STRAIGHT) == KEYS
    assert lineage.choose(KEYS, 10, STRAIGHT) == [key(10, 1)]


def test_what_a_rewind_left_behind_is_not_of_the_runs_course() -> None:
    rewound = [*STRAIGHT, (3, 10)]
    assert lineage.choose(KEYS, "all", rewound) == [key(10, 1)]
    with pytest.raises(UsageError, match="went back behind step 30"):
        lineage.choose(KEYS, 30, rewound)


def test_of_two_checkpoints_of_a_step_the_later_course_counts() -> None:
    again = [*KEYS, key(20, 3, "b")]
    assert lineage.choose(again, 20, [*STRAIGHT, (3, 10)]) == [key(20, 3, "b")]


def test_a_run_without_a_checkpoint_has_no_latest() -> None:
    assert lineage.choose([], "latest", []) == []
    with pytest.raises(RunNotFoundError, match="it has none"):
        lineage.choose([], 5, [])


def test_a_step_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(RunNotFoundError, match="it has 10, 20, 30"):
        lineage.choose(KEYS, 15, STRAIGHT)


def test_a_ledger_tells_where_sessions_began() -> None:
    start = {"event": "start", "session": 2, "started": "", "device": "cpu", "from_step": 20,
             "frontier": 20, "target_step": 30, "max_steps": 30, "promise": "bitwise"}  # fmt: skip
    opening = {"event": "open", "session": 2, "opened": "", "host": "h", "pid": 1}
    text = b"".join(jsonl.encode(record, checked=False) for record in (opening, start))
    assert lineage.starts(text + b'{"event": "sta') == [(2, 20)]
    odd = [jsonl.encode(start | {"from_step": "x"}, checked=False), b'{"event": ["start"]}\n']
    assert lineage.starts(text + b"".join(odd)) == [(2, 20)]


def test_a_step_is_covered_if_the_log_reaches_it_and_its_session_is_known() -> None:
    assert Cover(2, 30).has(key(30, 2))
    assert not Cover(2, 29).has(key(30, 2))
    assert not Cover(2, 30).has(key(30, 3))
    assert Cover(2, None).has(key(30, 2))  # there is no log
    assert Cover(None, 30).has(key(30, 2))  # nor a ledger


def test_a_session_is_known_by_whatever_the_ledger_has_of_it() -> None:
    opening = {"event": "open", "session": 3, "opened": "", "host": "h", "pid": 1}
    lost = {"kept_in": None, "line": 1}
    text = b"".join(jsonl.encode(record, checked=False) for record in (lost, opening))
    assert lineage.last_session(text) == 3
    assert lineage.last_session(b"") is None


def test_what_the_records_do_not_cover_is_passed_over_or_refused() -> None:
    assert lineage.choose(KEYS, "latest", STRAIGHT, Cover(2, 25)) == [key(20, 1)]
    assert lineage.choose(KEYS, "all", STRAIGHT, Cover(2, 25)) == [key(10, 1), key(20, 1)]
    assert lineage.choose(KEYS, "latest", STRAIGHT, Cover(2, 0)) == []
    with pytest.raises(UsageError, match=r"step 30 but no records of it.*a step of 10, 20"):
        lineage.choose(KEYS, 30, STRAIGHT, Cover(2, 25))
    twice = [*KEYS, key(30, 3, "b"), key(20, 3, "0")]
    assert lineage.choose(twice, "all", STRAIGHT, Cover(2, 30)) == KEYS
    assert lineage.uncovered(twice, STRAIGHT, Cover(2, 30)) == []
    assert lineage.uncovered(KEYS, STRAIGHT, Cover(2, 25)) == [30]
    assert lineage.uncovered(KEYS, [*STRAIGHT, (3, 10)], Cover(3, 5)) == [10]
    assert lineage.uncovered(KEYS, STRAIGHT, Cover(2, 30)) == []
