"""What is to be stored, by its content: its size, its SHA-256, and those of its parts."""

import base64
import hashlib
import os
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rlrun.archive import stopping
from rlrun.errors import StorageError

MIB = 2**20
LEAST_PART_BYTES = 8 * MIB  # also the largest object that is sent with one request
MAX_PARTS = 9_000  # S3 allows 10,000
_CHUNK_BYTES = MIB
_MOST_CHUNKS_AHEAD = 4  # that one of the two hashes is behind the other


def part_bytes(size: int) -> int:
    """Return how large the parts of an object of this size are: a function of the size alone."""
    part = LEAST_PART_BYTES
    while part * MAX_PARTS < size:
        part *= 2
    return part


def num_parts(size: int) -> int:
    """Return how many parts an object of this size has: one at least."""
    return max(1, -(-size // part_bytes(size)))


@dataclass(frozen=True, slots=True)
class Seal:
    """What the bytes of an object must be; all hashes in hex."""

    size: int
    sha256: str
    part_sha256s: tuple[str, ...]  # of the parts that `part_bytes` makes; one for a small object

    def is_proved_by(self, checksum: str | None) -> bool:
        """Return whether a checksum that a store computed is that of these bytes.

        It is base64, as S3 writes it: of the whole object, or with `-N` behind it that of the
        hashes of N parts.
        """
        return checksum is not None and checksum in (base64_of(self.sha256), self.composite)

    @property
    def composite(self) -> str:
        """The checksum of the parts' hashes, as S3 writes it: base64, `-`, and their number."""
        joined = b"".join(bytes.fromhex(one) for one in self.part_sha256s)
        return f"{base64_of(hashlib.sha256(joined).hexdigest())}-{len(self.part_sha256s)}"

    @property
    def is_small(self) -> bool:
        """Whether one request carries it."""
        return len(self.part_sha256s) == 1


def base64_of(hexadecimal: str) -> str:
    """Return a hash in hex as S3 writes it."""
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


class Blob(Protocol):
    """Bytes that can be read from anywhere, again and again."""

    @property
    def seal(self) -> Seal:
        """What its bytes are."""
        ...

    def read(self, start: int, size: int) -> bytes:
        """Return that many bytes from `start`; StorageError if they are not there any more."""
        ...


@dataclass(frozen=True, slots=True)
class BytesBlob:
    """A blob in memory."""

    data: bytes
    seal: Seal

    def read(self, start: int, size: int) -> bytes:
        """Return that many bytes from `start`."""
        return self.data[start : start + size]


@dataclass(frozen=True, slots=True)
class KeptBlob(BytesBlob):
    """The bytes of a small file, read once."""

    path: Path


@dataclass(frozen=True, slots=True)
class FileBlob:
    """A file, or the first `seal.size` bytes of one that grows."""

    path: Path
    seal: Seal

    def read(self, start: int, size: int) -> bytes:
        """Return that many bytes from `start`; StorageError if the file is not there any more."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(min(size, self.seal.size - start))
        except FileNotFoundError:
            raise StorageError(
                f"cannot read {self.path}: it went away while it was archived; run the command "
                "again"
            ) from None


class HeldBlob:
    """The first bytes of a file that is kept open: the same, whatever its name is by now."""

    def __init__(self, path: Path, size: int) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self.seal = _seal(size, self._chunks(size))

    def _chunks(self, size: int) -> Iterator[bytes]:
        for start in range(0, size, _CHUNK_BYTES):
            yield os.pread(self._descriptor, min(_CHUNK_BYTES, size - start), start)

    def read(self, start: int, size: int) -> bytes:
        """Return that many bytes from `start`."""
        return os.pread(self._descriptor, min(size, self.seal.size - start), start)


def is_unchanged(blob: Blob) -> bool:
    """Return whether a blob still has the bytes that it was sealed with; reads all of them."""
    starts = range(0, blob.seal.size, _CHUNK_BYTES)
    return _seal(blob.seal.size, (blob.read(at, _CHUNK_BYTES) for at in starts)) == blob.seal


def of_bytes(data: bytes) -> BytesBlob:
    """Return the blob of some bytes."""
    return BytesBlob(data, _seal(len(data), iter([data])))


def of_small_file(path: Path) -> KeptBlob:
    """Return the blob of a file that is kept in memory: read once, not once more to be sent."""
    found = of_bytes(path.read_bytes())
    return KeptBlob(found.data, found.seal, path)


def on_disk(blob: Blob) -> Blob:
    """Return a blob of the same bytes that keeps none of them in memory if a file has them."""
    return FileBlob(blob.path, blob.seal) if isinstance(blob, KeptBlob) else blob


def of_file(path: Path, *, size: int | None = None) -> FileBlob:
    """Return the blob of a file, or of its first `size` bytes, read once from end to end.

    A file that has fewer bytes by now gives a blob of what it has.
    """
    wanted = path.stat().st_size if size is None else size
    return FileBlob(path, _seal(wanted, _chunks(path, wanted)))


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size > 0 and (chunk := file.read(min(_CHUNK_BYTES, size))):
            stopping.check()
            size -= len(chunk)
            yield chunk


def _seal(expected_size: int, chunks: Iterator[bytes]) -> Seal:
    sealer = Sealer(expected_size)
    if num_parts(expected_size) == 1:
        for chunk in chunks:
            sealer.update(chunk)
        return sealer.seal()
    with ThreadPoolExecutor(1) as helper:  # the two hashes at once: hashing lets others run
        running: deque[Future[None]] = deque()
        for chunk in chunks:
            running.append(helper.submit(sealer.update_whole, chunk))
            sealer.update_parts(chunk)
            if len(running) > _MOST_CHUNKS_AHEAD:
                running.popleft().result()
    return sealer.seal()


class Sealer:
    """Computes the seal of bytes as they come; their number must be known before.

    Whole and parts are two hashes, that two threads may compute, each for itself.
    """

    def __init__(self, expected_size: int) -> None:
        self._part_bytes = part_bytes(expected_size)
        self._size = 0
        self._whole, self._part = hashlib.sha256(), hashlib.sha256()
        self._parts: list[str] = []
        self._is_single = num_parts(expected_size) == 1

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self.update_whole(data)
        self.update_parts(data)

    def update_whole(self, data: bytes) -> None:
        """Take the next bytes into the hash of all."""
        self._whole.update(data)

    def update_parts(self, data: bytes) -> None:
        """Take the next bytes into the hashes of the parts, which of a small object is that one."""
        if self._is_single:
            self._size += len(data)
            return
        view = memoryview(data)
        while view:
            room = self._part_bytes - self._size % self._part_bytes
            piece = view[:room]
            self._part.update(piece)
            self._size += len(piece)
            view = view[len(piece) :]
            if self._size % self._part_bytes == 0:
                self._end_part()

    def _end_part(self) -> None:
        self._parts.append(self._part.hexdigest())
        self._part = hashlib.sha256()

    def seal(self) -> Seal:
        """Return the seal of what came."""
        if self._is_single:
            return Seal(self._size, self._whole.hexdigest(), (self._whole.hexdigest(),))
        if self._size % self._part_bytes:
            self._end_part()
        whole = self._whole.hexdigest()  # also the one part of a file that is empty by now
        return Seal(self._size, whole, tuple(self._parts) or (whole,))
