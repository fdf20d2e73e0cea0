"""Several transfers at once, with bounded memory, and how far they are."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from rlrun.archive import stopping

SMALL_BYTES = 256 * 1024
SMALL_AT_ONCE = 4  # times as many small objects as others: what they take is mostly waiting
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _unseen(_progress: "Progress") -> None: ...


@dataclass(slots=True)
class Progress:
    """How many bytes of how many have been moved; safe from any thread."""

    watch: Callable[["Progress"], None] = _unseen  # called by whoever moved some, one at a time
    total_bytes: int = 0
    done_bytes: int = 0
    label: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def expect(self, num_bytes: int) -> None:
        """Say that so many bytes more are to be moved."""
        with self._lock:
            self.total_bytes += num_bytes
            self.watch(self)

    def note(self, num_bytes: int) -> None:
        """Say that so many bytes more were moved."""
        stopping.check()
        with self._lock:
            self.done_bytes += num_bytes
            self.watch(self)

    def heed(self, _num_bytes: int) -> None:
        """Let whoever watches end the work, where bytes pass that were counted, or will be."""
        self.note(0)

    def begin(self, label: str) -> None:
        """Say what is moved from now on."""
        with self._lock:
            self.label = label
            self.watch(self)


def each(act: Callable[[_Item], _Result], items: Iterable[_Item], *, at_once: int) -> list[_Result]:
    """Return what `act` returns for each item, in order, that many at a time.

    The first error is raised when what was begun has ended; nothing more is begun after it.  On
    Ctrl-C what was begun ends as soon as it waits, or moves a byte.
    """
    ordered = list(items)
    if at_once == 1 or len(ordered) <= 1:
        return [act(item) for item in ordered]
    results: dict[int, _Result] = {}
    waiting = iter(enumerate(ordered))
    running: dict[Future[_Result], int] = {}
    with ThreadPoolExecutor(min(at_once, len(ordered))) as pool, stopping.passed_on():
        try:
            while True:
                for number, item in waiting:
                    running[stopping.submit(pool, act, item)] = number
                    if len(running) >= 2 * at_once:
                        break
                if not running:
                    break
                for future in stopping.first_done(running):
                    results[running.pop(future)] = future.result()
        finally:
            for future in running:
                future.cancel()
    return [results[number] for number in range(len(ordered))]
