"""What does not verify is moved aside with its reason, never deleted (docs/design.md, 11)."""

from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from rlrun.runs import files, jsonl
from rlrun.runs.layout import RunDir


def set_aside(run: RunDir, path: Path, reason: str, *, session: int) -> Path:
    """Move a file or folder of the run into the quarantine and return where it is now.

    The reason is durable before it moves.  Only the holder of the lock may call it.
    """
    files.ensure_dir(run.quarantine)
    names = (run.quarantine / f"{path.name}.{number}" for number in count())
    target = next(name for name in names if not name.exists() and not name.is_symlink())
    record = {
        "folder": target.name,
        "reason": reason,
        "session": session,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    jsonl.append(run.quarantine_reasons, record)
    files.rename(path, target)
    files.sync_dir(run.quarantine)
    files.sync_dir(path.parent)
    return target
