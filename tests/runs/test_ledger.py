"""The sessions of a run as its ledger tells them, also those that were killed."""

from dataclasses import replace

import pytest
from support.calls import recorded

from rlrun.errors import DamagedError
from rlrun.runs import ledger
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Session, SessionEnd, SessionOpening, SessionStart

OPENING = SessionOpening(session=1, opened="2026-01-31T12:00:00+00:00", host="gpu-2", pid=4121)
START = SessionStart(
    session=1,
    started="2026-01-31T12:00:05+00:00",
    device="cpu",
    from_step=2,
    frontier=3,
    target_step=6,
    max_steps=6,
    promise="best effort",
    differences=("torch: 2.12 -> 2.13",),
    changes=("saving.every_steps: null -> 2", "saving.background: true -> false"),
    notes=(),
    fingerprint={"torch": "2.13", "num_threads": 1, "layers": [1, 2]},
)
END = SessionEnd(
    session=1,
    ended="2026-01-31T12:01:00+00:00",
    step=6,
    num_steps=3,
    num_replayed=1,
    num_tokens=120,
    seconds=60.5,
    outcome="finished",
    exit_code=0,
)


def test_a_run_that_nobody_worked_on_has_no_sessions(run: RunDir) -> None:
    assert ledger.read(run) == []
    assert ledger.next_session(run) == 1


def test_a_session_reads_back_as_it_was_written(run: RunDir) -> None:
    ledger.append_opening(run, OPENING)
    ledger.append_start(run, START)
    ledger.append_end(run, END)
    assert ledger.read(run) == [Session(OPENING, START, END)]


def test_each_event_is_durable_when_its_append_returns(run: RunDir) -> None:
    with recorded() as calls:
        ledger.append_opening(run, OPENING)
    assert calls == [
        "open sessions.jsonl",
        "fsync logs",
        "write sessions.jsonl",
        "fsync sessions.jsonl",
        "close sessions.jsonl",
    ]


def test_a_killed_session_has_no_end_and_perhaps_no_start(run: RunDir) -> None:
    ledger.append_opening(run, OPENING)
    ledger.append_start(run, START)
    second = replace(OPENING, session=2)
    ledger.append_opening(run, second)
    assert ledger.read(run) == [Session(OPENING, START, None), Session(second, None, None)]
    assert ledger.next_session(run) == 3


def test_a_torn_tail_is_no_session(run: RunDir) -> None:
    ledger.append_opening(run, OPENING)
    whole = run.sessions.read_bytes()
    for size in range(len(whole)):
        run.sessions.write_bytes(whole + whole[:size])
        assert ledger.read(run) == [Session(OPENING, None, None)]


def test_the_next_event_is_written_behind_the_last_whole_one(run: RunDir) -> None:
    ledger.append_opening(run, OPENING)
    whole = run.sessions.read_bytes()
    run.sessions.write_bytes(whole + b'{"event":"sta')
    ledger.append_end(run, END)
    assert run.sessions.read_bytes().startswith(whole)
    assert ledger.read(run) == [Session(OPENING, None, END)]


def test_a_damaged_line_in_the_middle_is_damage(run: RunDir) -> None:
    ledger.append_opening(run, OPENING)
    run.sessions.write_bytes(b"{not json}\n" + run.sessions.read_bytes())
    with pytest.raises(DamagedError, match=r"line 1 of .*sessions\.jsonl"):
        ledger.read(run)


@pytest.mark.parametrize(
    "line", ['{"event":"pause","session":1}', '{"session":1}', '{"event":"end"}']
)
def test_a_record_that_is_none_of_ours_is_refused_with_ways_out(line: str, run: RunDir) -> None:
    run.sessions.write_text(line + "\n")
    with pytest.raises(DamagedError, match=r"does not know .*; update rlrun, or restore the file"):
        ledger.read(run)


def test_a_record_whose_event_is_no_word_is_none_of_ours() -> None:
    for event in (["start"], {"start": 1}, None, 7):
        assert ledger.event_of({"event": event, "session": 1}) is None
        assert not ledger.is_newer({"event": event, "session": 1})
