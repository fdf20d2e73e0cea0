"""What breaks off in front of any operation of the file layer, in this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from rlrun.runs import files


def num_operations(act: Callable[[], object]) -> int:
    """Return how many operations of the file layer something takes, carried out to its end."""
    calls: list[str] = []
    with files.watched(lambda operation, _path: calls.append(operation)):
        act()
    return len(calls)


@contextmanager
def dying_at(number: int) -> Iterator[None]:
    """Break off in front of that operation, counted from 0, as Ctrl-C would: KeyboardInterrupt."""
    numbers = count()

    def die(_operation: str, _path: Path) -> None:
        if next(numbers) >= number:
            raise KeyboardInterrupt

    with files.watched(die):
        yield
