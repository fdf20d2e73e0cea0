"""What is said while bytes move, and how Ctrl-C reaches the threads that move them."""

import io
import signal
import threading
from typing import Any

import pytest
from rich.console import Console

from rlrun.cli.show import Meter
from rlrun.cli.transfer_view import TransferView, watched


class Clock:
    """A clock that goes on when it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def view_of(clock: Clock, *, is_terminal: bool) -> tuple[TransferView, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=100, color_system=None)
    return TransferView(Meter(console), "run 'a'", clock=clock), screen


def test_a_terminal_shows_bytes_rate_and_time_left() -> None:
    clock = Clock()
    view, _ = view_of(clock, is_terminal=True)
    shown: list[tuple[Any, ...]] = []
    view._meter.update = lambda *words: shown.append(words)
    view.progress.expect(300_000_000)
    view.progress.begin("step 10")
    clock.now += 2
    view.progress.note(100_000_000)
    assert shown[-1] == (
        "run 'a' step 10",
        100_000_000,
        300_000_000,
        "50.0 MB/s, 4.0 s left",
        "100.0 MB of 300.0 MB",
    )


def test_the_rate_is_that_of_the_last_seconds_and_a_stall_has_no_estimate() -> None:
    clock = Clock()
    view, _ = view_of(clock, is_terminal=True)
    shown: list[tuple[Any, ...]] = []
    view._meter.update = lambda *words: shown.append(words)
    view.progress.expect(1_000_000_000)
    view.progress.note(500_000_000)
    for _ in range(4):
        clock.now += 10
        view.progress.note(10_000_000)
    assert shown[-1][3] == "1.0 MB/s, 7m 40s left"
    for _ in range(4):
        clock.now += 10
        view.progress.note(0)
    assert shown[-1][3] == "no time estimate yet"


def test_a_pipe_gets_a_sentence_now_and_then() -> None:
    clock = Clock()
    view, screen = view_of(clock, is_terminal=False)
    view.progress.expect(100)
    for _ in range(7):
        clock.now += 10
        view.progress.note(10)
    assert screen.getvalue() == (
        "run 'a': 40 B of 100 B, 1 B/s, 1m 00s left\n"
    )  # fmt: skip


def test_what_is_stopped_says_how_far_it_came() -> None:
    view, screen = view_of(Clock(), is_terminal=False)
    view.progress.note(1_500)
    view.stopped("it goes on")
    assert screen.getvalue() == "run 'a': stopped after 1.5 kB; it goes on\n"


def test_ctrl_c_reaches_a_thread_at_its_next_bytes_and_the_handler_is_put_back() -> None:
    ended: list[str] = []
    before = signal.getsignal(signal.SIGINT)

    def move(view: TransferView) -> None:
        try:
            while True:
                view.progress.note(1)
        except KeyboardInterrupt:
            ended.append("thread")

    def interrupt(view: TransferView) -> None:
        thread = threading.Thread(target=move, args=(view,))
        thread.start()
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            thread.join(timeout=10)

    with watched("run 'a'") as view, pytest.raises(KeyboardInterrupt):
        interrupt(view)
    assert ended == ["thread"]
    assert signal.getsignal(signal.SIGINT) is before


def test_who_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with watched("run 'a'"):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
