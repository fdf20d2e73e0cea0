"""When a session must stop: signals, and the time it was given."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

from rlrun.runs.ledger import Outcome

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopNow(BaseException):
    """The second signal: end at once, losing nothing that is journaled."""


class Stopper:
    """Knows whether to go on.  Asked before each token and each step."""

    def __init__(self, *, max_seconds: float | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self._max_seconds = max_seconds
        self._num_signals = 0
        self._longest_step = 0.0
        self._longest_update = 0.0
        self._longest_save = 0.0

    def install(self) -> None:
        """Listen to SIGINT, SIGTERM and SIGHUP; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self.on_signal)

    def on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take a signal: the first asks for a stop, the second raises StopNow."""
        self._num_signals += 1
        if self._num_signals > 1:
            for other in _SIGNALS:
                signal.signal(other, signal.SIG_IGN)
            raise StopNow

    def note_step(self, seconds: float, update_seconds: float) -> None:
        """Learn how long a step took, its batch included, and how long its update alone."""
        self._longest_update = max(self._longest_update, update_seconds)
        self._longest_step = max(self._longest_step, seconds)

    def note_save(self, seconds: float) -> None:
        """Learn how long a save took."""
        self._longest_save = max(self._longest_save, seconds)

    @property
    def seconds(self) -> float:
        """The age of the session."""
        return self._clock() - self._started

    def reason(self) -> Outcome | None:
        """Return why no further batch or step may begin, or None."""
        if self._num_signals:
            return "stopped"
        return "time_limit" if self._is_late(self._longest_step) else None

    def must_break_off(self) -> bool:
        """Return whether generation must end within a token: it can go on in another session."""
        return self._num_signals > 0 or self._is_late(self._longest_update)

    def _is_late(self, needed_seconds: float) -> bool:
        needed = needed_seconds + self._longest_save
        return self._max_seconds is not None and self.seconds + needed >= self._max_seconds
