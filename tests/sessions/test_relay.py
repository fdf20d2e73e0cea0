"""Passing signals on to the worker."""

import os
import signal

import pytest

from rlrun.sessions.relay import SIGNALS, Relay


class Recorder:
    """Stands for the worker."""

    def __init__(self) -> None:
        self.received: list[int] = []

    def send_signal(self, sig: int) -> None:
        self.received.append(sig)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_asks_the_second_insists_the_third_kills(number: signal.Signals) -> None:
    worker = Recorder()
    with Relay() as relay:
        relay.attach(worker)
        for count in (1, 2, 3, 4):
            os.kill(os.getpid(), number)
            assert relay.num_signals == count
    kill = signal.SIGKILL
    assert worker.received == [signal.SIGINT, signal.SIGTERM, kill, kill]


def test_a_signal_before_the_worker_is_there_reaches_it_later() -> None:
    worker = Recorder()
    with Relay() as relay:
        os.kill(os.getpid(), signal.SIGINT)
        relay.attach(worker)
    assert worker.received == [signal.SIGINT]


def test_the_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Relay():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_an_interrupt_counts_even_where_a_shell_script_ignores_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Relay() as relay:
            os.kill(os.getpid(), signal.SIGINT)
            assert relay.num_signals == 1
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_hangup_stays_ignored_as_nohup_wants_it() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Relay() as relay:
            os.kill(os.getpid(), signal.SIGHUP)
            assert relay.num_signals == 0
    finally:
        signal.signal(signal.SIGHUP, before)
