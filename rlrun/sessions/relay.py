"""Pass the signals that this process gets on to the worker, which the terminal cannot reach."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""The first, the second, the third and later.  They differ: two equal ones may arrive as one."""

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Target(Protocol):
    """A process that can be signalled; one that has ended takes no notice."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal."""
        ...


class Relay:
    """While it is entered, each signal is counted and passed on; what came before `attach` too."""

    def __init__(self) -> None:
        self.num_signals = 0
        self._target: Target | None = None
        self._previous: dict[signal.Signals, _Handler] = {}

    def attach(self, target: Target) -> None:
        """Name the process that is to have the signals."""
        self._target = target
        for number in range(self.num_signals):
            self._send(number)

    def __enter__(self) -> "Relay":
        for number in SIGNALS:
            is_ignored = signal.getsignal(number) == signal.SIG_IGN
            if number == signal.SIGHUP and is_ignored:
                continue  # nohup means what it says
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, _signum: int, _frame: FrameType | None) -> None:
        self._send(self.num_signals)
        self.num_signals += 1

    def _send(self, number: int) -> None:
        if self._target is not None:
            self._target.send_signal(_FORWARDED[min(number, len(_FORWARDED) - 1)])
