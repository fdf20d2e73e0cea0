"""The journal of uploads of several parts, so that one that was killed goes on where it was.

Each has a file of its own, written before its first part and removed when it is complete.  The file
only spares sending again: when it cannot be written, the upload goes on without.
"""

import hashlib
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rlrun.archive.blobs import Seal
from rlrun.errors import RlrunError
from rlrun.runs import files, jsonl


@dataclass(slots=True)
class Upload:
    """An upload that was begun, and the parts of it that the store has accepted, by number."""

    upload: str
    etags: dict[int, str] = field(default_factory=dict)


class Uploads:
    """The journals under a folder, of one place in one store; safe from any thread."""

    def __init__(self, folder: Path, endpoint: str, place: str) -> None:
        self._folder = folder
        self._where = f"{endpoint} {place}"
        self._lock = threading.Lock()

    def path(self, key: str, seal: Seal) -> Path:
        """Return where the upload of these bytes to this key is noted."""
        name = f"{self._where} {key} {seal.size} {seal.sha256}"
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.jsonl"

    def find(self, key: str, seal: Seal) -> Upload | None:
        """Return the upload of these bytes that was begun, None if there is no trace of one."""
        try:
            first, *parts = jsonl.read(self.path(key, seal), checked=True)
            upload = Upload(str(first["upload"]))
            for part in parts:
                upload.etags[int(part["part"])] = str(part["etag"])
        except (RlrunError, OSError, ValueError, KeyError, TypeError):
            return None
        return upload

    def begin(self, key: str, seal: Seal, upload: str) -> None:
        """Note, durably, that an upload was begun."""
        path = self.path(key, seal)
        new = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}.tmp")
        record = {"key": key, "sha256": seal.sha256, "size": seal.size, "upload": upload}
        with suppress(RlrunError, OSError), self._lock:
            files.ensure_dir(self._folder)
            new.unlink(missing_ok=True)
            files.write_new(new, jsonl.encode(record, checked=True))
            files.rename(new, path)
            files.sync_dir(self._folder)

    def accepted(self, key: str, seal: Seal, part: int, etag: str) -> None:
        """Note that the store has a part; a note that is lost costs sending it again."""
        line = jsonl.encode({"part": part, "etag": etag}, checked=True)
        with suppress(OSError), self._lock:
            descriptor = os.open(self.path(key, seal), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)

    def forget(self, key: str, seal: Seal) -> None:
        """Remove the journal of an upload that is over."""
        with suppress(RlrunError, FileNotFoundError), self._lock:
            path = self.path(key, seal)
            if path.exists():
                files.unlink(path)
