"""Stopping the session that works on a run."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlrun.errors import LockedError, NothingToDoError
from rlrun.runs import lock
from rlrun.sessions.control import request_stop, wait_until_stopped

Make = Callable[..., Any]


@pytest.fixture
def held(make_run: Make) -> Iterator[Any]:
    maker = make_run("a")
    lock = maker.is_held_here(1)
    maker.lock = lock
    yield maker
    if maker.run.lock.exists():
        lock.release()


class Kills:
    """Takes the place of os.kill."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[tuple[int, int]] = []
        self._error = error

    def __call__(self, pid: int, number: int) -> None:
        if self._error:
            raise self._error
        self.sent.append((pid, number))


def test_a_stop_is_one_signal_to_the_holder(held: Any) -> None:
    kill = Kills()
    assert request_stop(held.run, at_once=False, kill=kill) == held.lock.owner
    assert kill.sent == [(os.getpid(), signal.SIGINT)]


def test_a_stop_at_once_is_two_different_signals(held: Any) -> None:
    kill = Kills()
    request_stop(held.run, at_once=True, kill=kill)
    assert kill.sent == [(os.getpid(), signal.SIGINT), (os.getpid(), signal.SIGTERM)]


def test_nobody_to_stop_is_nothing_to_do(make_run: Make) -> None:
    with pytest.raises(NothingToDoError, match="nobody is working on run 'a'"):
        request_stop(make_run("a").run, at_once=False)


def test_a_holder_on_another_host_is_named(make_run: Make) -> None:
    maker = make_run("a")
    maker.is_held_elsewhere(pid=4121, host="gpu-2")
    with pytest.raises(LockedError, match=r"pid 4121 on gpu-2, and this is .*'rlrun stop a' there"):
        request_stop(maker.run, at_once=False, kill=Kills())


def test_a_holder_whose_processes_are_numbered_otherwise_gets_no_signal(
    held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "pid_namespace", lambda: "pid:[1]")
    kill = Kills()
    with pytest.raises(LockedError, match=r"the same machine with other numbers of processes"):
        request_stop(held.run, at_once=True, kill=kill)
    assert kill.sent == []


def test_a_holder_that_ended_in_this_moment_is_no_error(held: Any) -> None:
    request_stop(held.run, at_once=False, kill=Kills(ProcessLookupError()))


def test_a_holder_of_another_user_is_refused_with_a_way_out(held: Any) -> None:
    with pytest.raises(LockedError, match="belongs to another user; ask them"):
        request_stop(held.run, at_once=False, kill=Kills(PermissionError()))


def test_waiting_returns_the_session_once_the_run_is_free(held: Any) -> None:
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            held.opens(1)
            held.ends(1, step=4, outcome="stopped")
            held.lock.release()

    session = wait_until_stopped(
        held.run, held.lock.owner, timeout_seconds=60, clock=lambda: 0.0, sleep=sleep
    )
    assert session is not None
    assert session.end is not None
    assert (session.end.step, len(naps)) == (4, 3)


def test_waiting_ends_when_another_session_holds_the_run(held: Any, make_run: Make) -> None:
    earlier = make_run("b").is_held_elsewhere(0)
    assert wait_until_stopped(held.run, earlier, timeout_seconds=0) is None


def test_waiting_in_vain_says_what_else_can_be_done(held: Any) -> None:
    times = iter([0.0, 5.0, 30.0])
    with pytest.raises(LockedError, match=r"still held by pid \d+ after 30 s.*kill -9"):
        wait_until_stopped(
            held.run,
            held.lock.owner,
            timeout_seconds=30,
            clock=lambda: next(times),
            sleep=lambda seconds: None,
        )


def test_a_command_that_tidies_is_not_stopped(make_run: Make) -> None:
    maker = make_run("a")
    held = maker.is_held_here(0)
    kill = Kills()
    with pytest.raises(LockedError, match=r"is being tidied by pid .*try again"):
        request_stop(maker.run, at_once=True, kill=kill)
    held.release()
    assert kill.sent == []
