"""How far a transfer is: bytes, rate and time left; and Ctrl-C, which all its threads heed."""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rlrun.archive.transfers import Progress
from rlrun.cli import show, text
from rlrun.cli.show import Meter

_DRAW_SECONDS = 0.1
_LINE_SECONDS = 30.0  # between lines where there is no live display
_RATE_SECONDS = 15.0  # over which the rate is taken


class TransferView:
    """Tells a meter how far a transfer is; its methods may be called from any thread."""

    def __init__(
        self, meter: Meter, title: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.progress = Progress(self._watch)
        self.is_stopping = False
        self._meter = meter
        self._title = title
        self._clock = clock
        self._begun = self._said_at = clock()
        self._drawn_at = -_DRAW_SECONDS
        self._moments: deque[tuple[float, int]] = deque([(self._begun, 0)])

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return self._clock() - self._begun

    def stopped(self, what: str) -> None:
        """Say what is kept when the user stops it."""
        moved = text.size(self.progress.done_bytes)
        self._meter.say(f"{self._title}: stopped after {moved}; {what}")

    def _watch(self, progress: Progress) -> None:
        if self.is_stopping:
            raise KeyboardInterrupt  # in whatever thread has moved some bytes
        now = self._clock()
        if now - self._drawn_at >= _DRAW_SECONDS:
            self._drawn_at = now
            self._draw(progress, now)

    def _draw(self, progress: Progress, now: float) -> None:
        self._moments.append((now, progress.done_bytes))
        while len(self._moments) > 2 and now - self._moments[0][0] > _RATE_SECONDS:
            self._moments.popleft()
        title = f"{self._title} {progress.label}".rstrip()
        amounts = f"{text.size(progress.done_bytes)} of {text.size(progress.total_bytes)}"
        facts = self._facts(progress)
        self._meter.update(title, progress.done_bytes, progress.total_bytes, facts, amounts)
        if not self._meter.is_live and now - self._said_at > _LINE_SECONDS:
            self._said_at = now
            self._meter.say(f"{title}: {amounts}, {facts}")

    def _facts(self, progress: Progress) -> str:
        (first_at, first), (last_at, last) = self._moments[0], self._moments[-1]
        rate = (last - first) / max(last_at - first_at, 1e-9)
        if rate <= 0:
            return "no time estimate yet"
        left = max(0, progress.total_bytes - progress.done_bytes) / rate
        return f"{text.size(round(rate))}/s, {text.duration(left)} left"


@contextmanager
def watched(title: str) -> Iterator[TransferView]:
    """Show a transfer while the block works, and let Ctrl-C end it within a few bytes.

    Threads that send get no signal, so the first Ctrl-C is noted for them too; then it goes on as
    KeyboardInterrupt.
    """
    with show.meter() as meter:
        view = TransferView(meter, title)

        def stop(_signal: int, _frame: FrameType | None) -> None:
            view.is_stopping = True
            raise KeyboardInterrupt

        before = signal.getsignal(signal.SIGINT)
        if before is signal.default_int_handler:  # else somebody has decided otherwise
            signal.signal(signal.SIGINT, stop)
        try:
            yield view
        finally:
            signal.signal(signal.SIGINT, before)
