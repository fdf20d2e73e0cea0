"""An operating system that opens no file for reading: at the n-th such call, or from then on.

Checkpoints aside: what is wrong with those is judged, not refused.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REAL = {"io": io.open, "open": os.open, "listdir": os.listdir}


@dataclass
class RefusedReads:
    """Called in a process, refuses reads under a folder; `at` is counted from 0, None: none."""

    folder: Path
    at: int | None
    number: int = 0  # what the system says
    is_lasting: bool = False
    noted: Path | None = None  # receives what was read
    seen: list[str] = field(default_factory=list)

    def __call__(self) -> None:
        io.open = self._open  # type: ignore[assignment]
        os.open = self._os_open  # type: ignore[assignment]
        os.listdir = self._listdir  # type: ignore[assignment]

    def _check(self, path: Any) -> None:
        if not isinstance(path, str | Path):
            return
        inside = f"{path}{os.sep}"
        is_ours = inside.startswith(f"{self.folder}{os.sep}") and "training_state" not in inside
        if not is_ours:
            return
        place = len(self.seen)
        self.seen.append(Path(path).name)
        if self.noted is not None:
            with REAL["io"](self.noted, "a") as file:
                file.write(f"{self.seen[-1]}\n")
        if self.at is not None and (place == self.at or (self.is_lasting and place > self.at)):
            raise OSError(self.number, os.strerror(self.number), str(path))

    def _open(self, path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+"):
            self._check(path)
        return REAL["io"](path, mode, *rest, **named)

    def _os_open(self, path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY):
            self._check(path)
        return int(REAL["open"](path, flags, *rest, **named))

    def _listdir(self, path: Any = ".") -> list[Any]:
        self._check(path)
        return list(REAL["listdir"](path))


@contextmanager
def refusing(refused: RefusedReads) -> Iterator[None]:
    refused()
    try:
        yield
    finally:
        io.open, os.open, os.listdir = REAL["io"], REAL["open"], REAL["listdir"]
