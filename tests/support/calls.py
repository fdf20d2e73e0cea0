"""The file operations that a block makes, as `operation name`, each noted before it is made."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlrun.runs import files


@contextmanager
def recorded() -> Iterator[list[str]]:
    calls: list[str] = []

    def note(operation: str, path: Path) -> None:
        calls.append(f"{operation} {path.name}")

    with files.watched(note):
        yield calls
