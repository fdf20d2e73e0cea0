"""Files of records that were damaged: what reads stays, what is lost is named."""

from dataclasses import asdict

import pytest
from support.calls import recorded

from rlrun.errors import DamagedError
from rlrun.runs import jsonl, ledger, mending, quarantine
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import SessionEnd, SessionOpening, SessionStart

NOW = "2026-01-31T12:00:00+00:00"
START = SessionStart(1, NOW, "cpu", 0, 0, 6, 6, "bitwise", fingerprint={"torch": "2.13"})
END = SessionEnd(1, NOW, 6, 6, 0, 120, 60.5, "finished", 0)


def opening(session: int) -> SessionOpening:
    return SessionOpening(session, NOW, "gpu-2", 4121)


@pytest.fixture
def two(run: RunDir) -> RunDir:
    """A run whose first session ended and whose second was killed."""
    ledger.append_opening(run, opening(1))
    ledger.append_start(run, START)
    ledger.append_end(run, END)
    ledger.append_opening(run, opening(2))
    return run


def spoil(run: RunDir, number: int, line: bytes = b"{\n") -> bytes:
    """Put another line in a line's place; return the file as it is then."""
    lines = run.sessions.read_bytes().splitlines(keepends=True)
    lines[number - 1] = line
    run.sessions.write_bytes(b"".join(lines))
    return run.sessions.read_bytes()


def test_a_whole_ledger_is_left_alone(two: RunDir) -> None:
    with recorded() as calls:
        assert mending.mend_ledger(two) == (3, ())
    assert calls == []


def test_the_records_that_read_stay_and_the_lost_one_is_named(two: RunDir) -> None:
    before = spoil(two, 3)
    number, said = mending.mend_ledger(two)
    assert number == 3
    assert said == (
        "line 3 of sessions.jsonl did not read: that is lost, and the rest stays; the file as it "
        "was is quarantine/sessions.jsonl.0",
    )
    assert (two.quarantine / "sessions.jsonl.0").read_bytes() == before
    (reason,) = jsonl.read(two.quarantine_reasons)
    assert (reason["reason"], reason["session"]) == ("line 3 of sessions.jsonl did not read", 3)
    first, second = ledger.read(two)
    assert (first.opening, first.start, first.end) == (opening(1), START, None)
    assert (second.opening, second.start, second.end) == (opening(2), None, None)
    assert jsonl.read(two.sessions)[2] == {
        "kept_in": "quarantine/sessions.jsonl.0", "line": 3, "session": 2
    }  # fmt: skip
    assert mending.mend_ledger(two) == (3, ())


def test_a_session_whose_opening_is_lost_is_still_one(two: RunDir) -> None:
    spoil(two, 1)
    mending.mend_ledger(two)
    first = ledger.read(two)[0]
    assert (first.opening.host, first.start, first.end) == ("unknown", START, END)


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"nap","session":1}\n',
        b'{"event":"open","session":1}\n',
        b'{"session":1}\n',
        b"[]\n",
        b"\xff\n",
        b"\0\0\0\n",
        jsonl.encode({**asdict(END), "event": "end", "outcome": "ginished"}, checked=False),
        jsonl.encode({**asdict(END), "event": "end", "session": "1"}, checked=False),
    ],
)
def test_a_line_that_tells_nothing_of_a_session_is_lost(line: bytes, two: RunDir) -> None:
    spoil(two, 3, line)
    with pytest.raises(DamagedError):
        ledger.read(two)
    assert len(ledger.read(two, is_lenient=True)) == 2
    (said,) = mending.mend_ledger(two)[1]
    assert said.startswith("line 3 of sessions.jsonl did not read")
    assert [session.end for session in ledger.read(two)] == [None, None]


def test_what_a_later_rlrun_wrote_is_no_damage(two: RunDir) -> None:
    record = {"event": "open", **asdict(opening(1)), "mood": "good"}
    before = spoil(two, 1, jsonl.encode(record, checked=False))
    with pytest.raises(DamagedError, match=r"does not know .*; update rlrun"):
        mending.mend_ledger(two)
    assert two.sessions.read_bytes() == before


def test_a_torn_tail_is_no_damage_and_goes_with_the_next_record(two: RunDir) -> None:
    whole = two.sessions.read_bytes()
    two.sessions.write_bytes(whole + b'{"event":"sta')
    assert mending.mend_ledger(two) == (3, ())
    spoil(two, 2)
    mending.mend_ledger(two)
    assert len(two.sessions.read_bytes().splitlines()) == 4


def test_a_ledger_of_which_nothing_reads_still_has_a_next_session(two: RunDir) -> None:
    two.sessions.write_bytes(b"x\n" * 4)  # the last line is a torn one
    two.event_file(2).touch()  # so there was a second session
    number, (said,) = mending.mend_ledger(two)
    assert number == 3
    assert said.startswith("lines 1 to 3 of sessions.jsonl did not read")
    assert (ledger.read(two), ledger.next_session(two)) == ([], 3)


def test_the_notes_are_mended_likewise_also_that_of_the_quarantine_itself(run: RunDir) -> None:
    for step in (3, 4):
        run.step(step).mkdir(parents=True)
        quarantine.set_aside(run, run.step(step), "bad", session=1)
    first, second = run.quarantine_reasons.read_bytes().splitlines(keepends=True)
    run.quarantine_reasons.write_bytes(first[:9] + b"\n" + second)
    run.removals.write_bytes(b'{"step":1}\n{"st\n{"step":3}\n')
    said = mending.mend_notes(run, session=2)
    assert [word.split(" did")[0] for word in said] == [
        "line 1 of reasons.jsonl",
        "line 2 of removals.jsonl",
    ]
    reasons = jsonl.read(run.quarantine_reasons)
    assert [one.get("folder") for one in reasons] == [
        None, "step_4.0", "reasons.jsonl.0", "removals.jsonl.0"
    ]  # fmt: skip
    assert reasons[0] == {"kept_in": "quarantine/reasons.jsonl.0", "line": 1}
    assert [one.get("step") for one in jsonl.read(run.removals)] == [1, None, 3]
    assert mending.mend_notes(run, session=3) == ()


def test_the_damaged_file_is_kept_durably_before_it_is_replaced(two: RunDir) -> None:
    spoil(two, 1)
    with recorded() as calls:
        mending.mend_ledger(two)
    order = ["fsync reasons.jsonl", "rename sessions.jsonl.0", "fsync quarantine",
             "rename sessions.jsonl"]  # fmt: skip
    places = [calls.index(call) for call in order[:2]]
    places += [len(calls) - 1 - calls[::-1].index(call) for call in order[2:]]
    assert places == sorted(places)


def test_numbers_are_said_as_spans() -> None:
    assert mending.listed("step", [3]) == "step 3"
    assert mending.listed("step", [3, 5, 6, 7, 9, 10]) == "steps 3, 5 to 7, 9 to 10"
