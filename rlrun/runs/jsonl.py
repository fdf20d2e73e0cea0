"""Files of one JSON record a line: write, read, cut.  A torn last line is not an error.

With `checked` lines each record carries the CRC-32 of its own text, so that a damaged line is told
from a whole one; without, a line is whole if it parses.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrun.errors import DamagedError
from rlrun.runs import canonical, files

Record = Mapping[str, Any]
KEPT_IN = "kept_in"
"""The key of a record that stands for a lost one: where the damaged file is now, None if gone."""


@dataclass(frozen=True, slots=True)
class Line:
    """A record and where it stands in its file."""

    record: Record
    start: int  # bytes
    end: int  # bytes, behind the newline


def encode(record: Record, *, checked: bool) -> bytes:
    """Return the line of a record, newline included."""
    text = canonical.dumps(record)
    if checked:
        text = canonical.dumps({**record, "crc": zlib.crc32(text.encode())})
    return text.encode() + b"\n"


def decode(line: bytes, *, checked: bool = False) -> Record | None:
    """Return the record of a line without its newline, or None if it is not whole."""
    try:
        record = json.loads(line.decode())
        if not isinstance(record, dict):
            return None
        if not checked:
            return record
        crc = record.pop("crc", None)
        is_whole = crc == zlib.crc32(canonical.dumps(record).encode())
    except ValueError:  # not JSON, or a number or letter that canonical JSON has not
        return None
    return record if is_whole else None


def read_lines(path: Path, *, checked: bool, until_damage: bool = False) -> Iterator[Line]:
    """Yield the whole records of a file in order, leaving out a torn last line.

    An absent file has no records.  Raises DamagedError for a bad line that others follow, or ends
    there if only what stands in front of damage is asked for.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    start = 0
    bad_at: int | None = None
    with file:
        for number, line in enumerate(file, start=1):
            if bad_at is not None:
                if until_damage:
                    return
                raise DamagedError(
                    f"line {bad_at} of {path} is damaged and others follow it; restore the file "
                    "from a copy"
                )
            end = start + len(line)
            record = decode(line[:-1], checked=checked) if line.endswith(b"\n") else None
            if record is None:
                bad_at = number
            else:
                yield Line(record, start, end)
            start = end


def read_raw(path: Path, *, checked: bool) -> list[tuple[bytes, Record | None]]:
    """Return every line of a file, newlines included, each with its record; None: not whole.

    An absent file has no lines.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = [(line + b"\n", decode(line, checked=checked)) for line in lines[:-1]]
    return [*found, (lines[-1], None)] if lines[-1] else found


def read(path: Path, *, checked: bool = False) -> list[Record]:
    """Return the whole records of a file."""
    return [line.record for line in read_lines(path, checked=checked)]


def whole_size(path: Path, *, checked: bool) -> int:
    """Return the number of bytes up to the end of the last whole record."""
    return max((line.end for line in read_lines(path, checked=checked)), default=0)


def append(path: Path, record: Record) -> None:
    """Append an unchecked record, durably, to a file that nobody has open; a torn tail is cut."""
    if path.exists():
        torn_at = _torn_at(path)
        if torn_at < path.stat().st_size:
            files.truncate(path, torn_at)
    appender = files.Appender(path)
    try:
        appender.append(encode(record, checked=False), sync=True)
    finally:
        appender.close()


def _torn_at(path: Path, *, tail_bytes: int = 65536) -> int:
    """Return where the last line begins if it is not whole, else where the file ends, in bytes."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        while True:
            begin = file.seek(max(0, size - tail_bytes))
            tail = file.read()
            last = tail.rfind(b"\n", 0, -1) + 1
            if last or begin == 0:
                is_whole = tail.endswith(b"\n") and decode(tail[last:-1]) is not None
                return size if is_whole else begin + last
            tail_bytes *= 16


def read_last(path: Path, *, tail_bytes: int = 65536) -> Record | None:
    """Return the last whole record, reading only the end of the file; None if there is none."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        size = file.seek(0, 2)
        while True:
            file.seek(max(0, size - tail_bytes))
            complete, newline, _ = file.read().rpartition(b"\n")
            for line in reversed(complete.split(b"\n")) if newline else ():
                record = decode(line, checked=False)
                if record is not None:
                    return record
            if tail_bytes >= size:
                return None
            tail_bytes *= 16
