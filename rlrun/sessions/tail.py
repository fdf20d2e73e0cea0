"""The end of a file that grows: its last lines, and then each new one, without reading it again."""

import os
from pathlib import Path

_BLOCK_BYTES = 65536


def offset_of_last_lines(path: Path, count: int) -> int:
    """Return where the last `count` whole lines of a file begin, reading only from there on."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        text = b""
        while position > 0:
            block = min(_BLOCK_BYTES, position)
            position = file.seek(position - block)
            text = file.read(block) + text
            if text.count(b"\n") > count:
                break
    whole = text[: text.rfind(b"\n") + 1]
    lines = whole.split(b"\n")[:-1]  # not splitlines: a carriage return ends no line
    kept = lines[max(0, len(lines) - count) :]
    return position + len(whole) - sum(len(line) + 1 for line in kept)


class Tail:
    """The lines of a file from some place on, as they come.

    A file that is not there yet has none; one that was cut is followed from its new end, one that
    was replaced from its beginning.  A line counts when its newline is there.
    """

    def __init__(self, path: Path, *, num_last_lines: int | None = None) -> None:
        """Begin with the last `num_last_lines` lines that are there; None: with all of them."""
        self.num_replacements = 0  # how often the file became another one
        self._path = path
        self._inode: int | None = None
        self._offset = 0
        if num_last_lines is not None and path.exists():
            self._offset = offset_of_last_lines(path, num_last_lines)
            self._inode = path.stat().st_ino

    def read(self) -> list[bytes]:
        """Return the new whole lines, without their newlines."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            state = os.fstat(file.fileno())
            if self._inode not in (None, state.st_ino):
                self._offset = 0
                self.num_replacements += 1
            self._inode = state.st_ino
            self._offset = min(self._offset, state.st_size)
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
            self._offset += len(whole) + len(newline)
        return whole.split(b"\n") if newline else []
