"""When a session is told to end, and how soon it knows."""

import signal
import threading
from collections.abc import Iterator

import pytest

from rlrun.trainer.stopping import StopNow, Stopper

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Clock:
    """A clock that goes when it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the signal handlers back after the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def timed(max_seconds: float | None) -> tuple[Stopper, Clock]:
    clock = Clock()
    return Stopper(max_seconds=max_seconds, clock=clock), clock


def test_without_a_signal_or_a_limit_there_is_no_reason_to_end() -> None:
    stopper, clock = timed(None)
    clock.now += 1e9
    assert stopper.reason() is None
    assert not stopper.must_break_off()


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_the_second_stops_at_once(number: int) -> None:
    stopper, _ = timed(None)
    stopper.on_signal(number, None)
    assert stopper.reason() == "stopped"
    assert stopper.must_break_off()
    with pytest.raises(StopNow):
        stopper.on_signal(number, None)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", SIGNALS)
def test_an_installed_stopper_hears_the_signal(number: int) -> None:
    stopper, _ = timed(None)
    stopper.install()
    signal.raise_signal(number)
    assert stopper.reason() == "stopped"


@pytest.mark.usefixtures("handlers")
def test_two_different_signals_are_two() -> None:
    stopper, _ = timed(None)
    stopper.install()
    signal.raise_signal(signal.SIGHUP)
    with pytest.raises(StopNow):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("handlers")
def test_after_the_second_signal_no_other_disturbs_the_end() -> None:
    stopper, _ = timed(None)
    stopper.install()
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(StopNow):
        signal.raise_signal(signal.SIGTERM)
    for number in SIGNALS:
        signal.raise_signal(number)


@pytest.mark.usefixtures("handlers")
def test_another_thread_than_the_main_one_leaves_the_handlers_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stopper, _ = timed(None)
    thread = threading.Thread(target=stopper.install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stop_now_is_no_exception_that_somebody_catches_by_accident() -> None:
    assert not issubclass(StopNow, Exception)


def test_the_time_limit_counts_from_the_sessions_start() -> None:
    stopper, clock = timed(10.0)
    clock.now += 9.5
    assert stopper.seconds == 9.5
    assert stopper.reason() is None
    clock.now += 0.5
    assert stopper.reason() == "time_limit"
    assert stopper.must_break_off()


def test_a_step_is_begun_only_if_the_longest_so_far_would_fit() -> None:
    stopper, clock = timed(10.0)
    stopper.note_step(4.0)
    stopper.note_step(1.0)
    clock.now += 5.9
    assert stopper.reason() is None
    clock.now += 0.1  # 6 + 4 = 10
    assert stopper.reason() == "time_limit"


def test_generation_goes_on_while_a_save_still_fits() -> None:
    stopper, clock = timed(10.0)
    stopper.note_step(4.0)
    stopper.note_save(1.5)
    stopper.note_save(0.5)
    clock.now += 8.0
    assert stopper.reason() == "time_limit"
    assert not stopper.must_break_off()
    clock.now += 0.5  # 8.5 + 1.5 = 10
    assert stopper.must_break_off()


def test_a_signal_is_a_better_reason_than_the_time() -> None:
    stopper, clock = timed(10.0)
    clock.now += 20.0
    stopper.on_signal(signal.SIGTERM, None)
    assert stopper.reason() == "stopped"
