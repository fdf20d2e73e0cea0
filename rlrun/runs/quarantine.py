"""What does not verify is put aside with its reason, never deleted (docs/design.md, 11)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from rlrun.runs import files, jsonl
from rlrun.runs.layout import RunDir


def set_aside(run: RunDir, path: Path, reason: str, *, session: int) -> Path:
    """Move a file or folder of the run into the quarantine and return where it is now.

    The reason is durable before it moves.  Only the holder of the lock may call it.
    """
    target = next(name for name in _names(run, path) if not _is_there(name))
    _take_note(run, target, reason, session)
    files.rename(path, target)
    files.sync_dir(run.quarantine)
    files.sync_dir(path.parent)
    return target


def keep_copy(run: RunDir, path: Path, reason: str, *, session: int) -> Path:
    """Copy a file of the run into the quarantine, durably, and return where the copy is.

    One that was made before what it was for was broken off is made again in its place.
    """
    data = path.read_bytes()
    names = _names(run, path)
    target = next(name for name in names if not _is_there(name) or _holds(name, data))
    _take_note(run, target, reason, session)
    files.replace(target, data)
    return target


def _names(run: RunDir, path: Path) -> Iterator[Path]:
    return (run.quarantine / f"{path.name}.{number}" for number in count())


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == data


def _take_note(run: RunDir, target: Path, reason: str, session: int) -> None:
    files.ensure_dir(run.quarantine)
    record = {
        "folder": target.name,
        "reason": reason,
        "session": session,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    jsonl.append(run.quarantine_reasons, record)
