"""The status of a run, for every state that a directory can be in."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Outcome, Session, SessionEnd, SessionOpening, SessionStart
from rlrun.runs.lock import TIDYING, Owner
from rlrun.runs.store import list_runs
from rlrun.sessions.state import Status, last_that_counts, status, summarise

Make = Callable[..., Any]
OUTCOMES = get_args(Outcome)


def owner(session: int) -> Owner:
    return Owner("gpu-2", 4121, "boot", session)


def session_of(
    number: int, *, outcome: Outcome | None = None, exit_code: int = 0, has_start: bool = True
) -> Session:
    start = SessionStart(number, "", "cpu", 0, 0, 10, 10, "bitwise") if has_start else None
    end = outcome and SessionEnd(number, "", 5, 5, 0, 0, 1.0, outcome, exit_code)
    return Session(SessionOpening(number, "", "gpu-2", 4121), start, end or None)


numbers = st.integers(1, 3)
owners = st.none() | st.builds(owner, numbers)
sessions = st.builds(
    session_of,
    numbers,
    outcome=st.none() | st.sampled_from(OUTCOMES),
    exit_code=st.sampled_from([0, 2, 7, 8, 10, 75]),
    has_start=st.booleans(),
)


@given(owners, owners, st.none() | sessions)
def test_every_input_has_exactly_one_status(
    holder: Owner | None, lock_owner: Owner | None, last: Session | None
) -> None:
    assert status(holder=holder, lock_owner=lock_owner, last=last) in get_args(Status)


@given(owners, st.none() | sessions)
def test_a_run_is_running_if_and_only_if_somebody_alive_holds_it(
    lock_owner: Owner | None, last: Session | None
) -> None:
    assert status(holder=owner(1), lock_owner=lock_owner, last=last) == "running"
    assert status(holder=None, lock_owner=lock_owner, last=last) != "running"


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("finished", "finished"),
        ("steps_done", "stopped"),
        ("stopped", "stopped"),
        ("time_limit", "stopped"),
        ("stopped_now", "stopped"),
        ("failed", "failed"),
        (None, "lost"),
    ],
)
def test_without_a_holder_the_last_end_decides(outcome: Outcome | None, expected: Status) -> None:
    last = session_of(1, outcome=outcome)
    assert status(holder=None, lock_owner=None, last=last) == expected


def test_a_run_without_a_session_is_new() -> None:
    assert status(holder=None, lock_owner=None, last=None) == "new"


def test_a_dead_owner_that_the_ledger_does_not_know_was_killed_while_opening() -> None:
    finished = session_of(1, outcome="finished")
    assert status(holder=None, lock_owner=owner(2), last=finished) == "lost"
    assert status(holder=None, lock_owner=owner(1), last=None) == "lost"


def test_a_session_killed_between_its_end_and_the_lock_has_ended() -> None:
    finished = session_of(1, outcome="finished")
    assert status(holder=None, lock_owner=owner(1), last=finished) == "finished"


def test_a_refused_session_changes_nothing() -> None:
    stopped = session_of(1, outcome="stopped")
    refused = session_of(2, outcome="failed", exit_code=10, has_start=False)
    assert last_that_counts([stopped, refused]) == stopped


def test_where_all_sessions_were_refused_the_last_one_tells() -> None:
    refused = [session_of(n, outcome="failed", exit_code=3, has_start=False) for n in (1, 2)]
    assert last_that_counts(refused) == refused[1]
    assert last_that_counts([]) is None


def test_a_session_that_failed_while_loading_counts() -> None:
    stopped = session_of(1, outcome="stopped")
    failed = session_of(2, outcome="failed", exit_code=8, has_start=False)
    assert last_that_counts([stopped, failed]) == failed


def test_a_summary_has_the_last_step_the_last_reward_and_the_newest_checkpoint(
    make_run: Make,
) -> None:
    maker = make_run("a")
    maker.opens()
    maker.starts()
    maker.steps(1, 6)
    maker.steps(7, 7, reward=0.75)
    maker.saves(3)
    maker.saves(5)
    maker.ends(step=7, outcome="stopped", exit_code=75)
    one = summarise(maker.run)
    assert (one.name, one.status, one.step, one.max_steps) == ("a", "stopped", 7, 10)
    assert (one.reward, one.checkpoint_step, one.num_sessions) == (0.75, 5, 1)
    assert (one.host, one.pid) == (None, None)


def test_a_summary_names_who_holds_the_run(make_run: Make) -> None:
    maker = make_run("a")
    maker.is_held_elsewhere(pid=7, host="gpu-9")
    one = summarise(maker.run)
    assert (one.status, one.host, one.pid) == ("running", "gpu-9", 7)


def test_a_holder_that_has_been_silent_for_two_minutes_is_lost(make_run: Make) -> None:
    maker = make_run("a")
    maker.is_held_elsewhere()
    os.utime(maker.run.lock, (time.time() - 120, time.time() - 120))
    assert summarise(maker.run).status == "lost"


def test_a_killed_session_is_lost_and_a_held_one_is_running(make_run: Make) -> None:
    maker = make_run("a")
    maker.opens()
    maker.was_held_by_the_dead(1)
    assert summarise(maker.run).status == "lost"
    held = maker.is_held_here(2)
    assert summarise(maker.run).status == "running"
    held.release()


def test_a_run_of_an_older_tool_is_foreign_and_keeps_its_step(make_foreign_run: Make) -> None:
    one = summarise(make_foreign_run("old"))
    assert (one.status, one.step, one.num_sessions) == ("foreign", 40, 0)
    assert (one.checkpoint_step, one.passed_step, one.passed_verdict) == (None, 40, "foreign")


def test_a_checkpoint_that_does_not_verify_is_not_a_saved_one(make_run: Make) -> None:
    maker = make_run("a")
    for step in (2, 4, 6):
        maker.saves(step)
    for step in (4, 6):
        (maker.run.step(step) / "model" / "weights").write_bytes(b"")
    one = summarise(maker.run)
    assert (one.checkpoint_step, one.passed_step, one.passed_verdict) == (2, 6, "invalid")
    maker.saves(7)
    one = summarise(maker.run)
    assert (one.checkpoint_step, one.passed_step, one.passed_verdict) == (7, None, None)


def test_a_run_whose_identity_does_not_read_has_no_checkpoint_of_its_own(make_run: Make) -> None:
    maker = make_run("a")
    maker.saves(2)
    maker.run.identity.write_text("{")
    one = summarise(maker.run)
    assert (one.checkpoint_step, one.passed_step, one.passed_verdict) == (None, 2, "invalid")


def test_a_damaged_ledger_is_reported_in_the_summary_and_stops_no_list(make_run: Make) -> None:
    maker = make_run("a")
    maker.opens()
    maker.run.sessions.write_text("garbage\n" + maker.run.sessions.read_text())
    one = summarise(maker.run)
    assert one.status == "damaged"
    assert one.problem is not None
    assert "line 1 of" in one.problem


def test_summaries_read_only_the_ends_of_long_logs(make_run: Make) -> None:
    maker = make_run("a")
    line = b'{"step":1,"reward_mean":0.1}\n'
    maker.run.train_log.write_bytes(line * 100_000 + b'{"step":2,"reward_mean":0.2}\n')
    started = time.perf_counter()
    assert summarise(maker.run).step == 2
    assert time.perf_counter() - started < 0.1


def test_summaries_of_an_empty_root_are_none(root: Path) -> None:
    assert [summarise(run) for run in list_runs(root)] == []


def test_a_run_directory_alone_is_enough(make_run: Make, tmp_path: Path) -> None:
    maker = make_run("a")
    maker.opens()
    maker.starts()
    maker.ends(step=10, outcome="finished")
    copy = maker.run.path.rename(tmp_path / "elsewhere")
    assert summarise(RunDir(copy)).status == "finished"


@given(st.none() | sessions)
def test_a_command_that_tidies_a_run_changes_nothing_about_its_status(last: Session | None) -> None:
    alone = status(holder=None, lock_owner=None, last=last)
    tidier = owner(TIDYING)
    assert status(holder=tidier, lock_owner=tidier, last=last) == alone
    assert status(holder=None, lock_owner=tidier, last=last) == alone
