"""What every store must do, whatever it is made of.

A module of tests gives a fixture `storage`, an empty Storage, and takes the tests over with
`from support.storage_contract import *`.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlrun.archive import blobs
from rlrun.archive.blobs import LEAST_PART_BYTES, Blob, Seal
from rlrun.archive.storage import Storage
from rlrun.errors import ArchiveError, MissingObjectError

PART = LEAST_PART_BYTES
SIZES = [0, 1, 16_384, PART - 1, PART, PART + 1, 2 * PART + 4321]
ODD_KEYS = [
    "a b", "a+b", "a%20b", "a&b=c", "a?b", "a#b", "a'b\"c", "ä/ö", "日本/語.bin", "é", "e\u0301",
    "~.-_", "a:b", "a@b;c,d", "(a)[b]{c}", "A", "x" * 200, "deep/" * 20 + "end",
]  # fmt: skip


class KilledError(BaseException):
    """The process dies here."""


@dataclass
class DyingBlob:
    """A blob whose reader dies when a byte behind `fatal` is to be read, and which counts."""

    blob: Blob
    fatal: int
    num_read: int = 0

    @property
    def seal(self) -> Seal:
        return self.blob.seal

    def read(self, start: int, size: int) -> bytes:
        size = min(size, self.seal.size - start)
        if start + size > self.fatal:
            raise KilledError
        self.num_read += size
        return self.blob.read(start, size)


def some_bytes(size: int, seed: int = 0) -> bytes:
    block = hashlib.shake_256(seed.to_bytes(4, "big")).digest(65_521)  # a prime: no two parts agree
    return (block * (size // len(block) + 1))[:size]


def put(storage: Storage, key: str, data: bytes) -> int:
    """Store some bytes; return how many were noted."""
    noted: list[int] = []
    storage.put(key, blobs.of_bytes(data), noted.append)
    return sum(noted)


def got(storage: Storage, key: str, start: int = 0) -> bytes:
    with storage.read(key, start) as chunks:
        return b"".join(chunks)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_is_there_and_every_byte_was_noted(storage: Storage, size: int) -> None:
    data = some_bytes(size)
    assert put(storage, "folder/object", data) == size
    stored = storage.stat("folder/object")
    assert stored is not None
    assert (stored.key, stored.size) == ("folder/object", size)
    assert got(storage, "folder/object") == data


@pytest.mark.parametrize("size", SIZES)
def test_a_checksum_that_a_store_computes_proves_the_bytes(storage: Storage, size: int) -> None:
    blob = blobs.of_bytes(some_bytes(size))
    storage.put("object", blob, lambda _: None)
    stored = storage.stat("object")
    assert stored is not None
    assert blob.seal.is_proved_by(stored.checksum) == storage.has_checksums()
    assert (stored.checksum is not None) == storage.has_checksums()


def test_a_file_is_put_as_far_as_it_was_sealed(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(some_bytes(3 * PART))
    storage.put("object", blobs.of_file(path, size=2 * PART + 5), lambda _: None)
    assert got(storage, "object") == some_bytes(3 * PART)[: 2 * PART + 5]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_key_may_have_any_letters(storage: Storage, key: str) -> None:
    put(storage, f"odd/{key}", b"content")
    assert [one.key for one in storage.list("odd/")] == [f"odd/{key}"]
    assert got(storage, f"odd/{key}") == b"content"
    assert storage.stat(f"odd/{key}") is not None
    storage.delete([f"odd/{key}"])
    assert storage.stat(f"odd/{key}") is None


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/", "../a", "a/../b", "a\0b"])
def test_a_key_that_leads_elsewhere_is_refused(storage: Storage, key: str) -> None:
    with pytest.raises(ArchiveError, match="cannot be the key"):
        put(storage, key, b"")
    with pytest.raises(ArchiveError, match="cannot be the key"):
        storage.stat(key)


def test_what_is_not_there_is_absent_and_cannot_be_read(storage: Storage) -> None:
    assert storage.stat("nothing") is None
    assert list(storage.list("")) == []
    assert list(storage.list_folders("")) == []
    storage.delete(["nothing", "nor/this"])
    with pytest.raises(MissingObjectError, match="nothing"):
        got(storage, "nothing")


def test_reading_begins_where_it_is_told(storage: Storage) -> None:
    data = some_bytes(100_000)
    put(storage, "object", data)
    assert got(storage, "object", 99_000) == data[99_000:]
    assert got(storage, "object", 100_000) == b""


def test_chunks_are_small_and_reading_may_stop_early(storage: Storage) -> None:
    data = some_bytes(2 * PART + 1)
    put(storage, "object", data)
    with storage.read("object") as chunks:
        assert len(next(chunks)) <= 2**20
    with storage.read("object", 5) as chunks:
        assert max(map(len, chunks)) <= 2**20


def test_an_object_is_replaced(storage: Storage) -> None:
    put(storage, "object", b"first")
    put(storage, "object", b"the second")
    assert got(storage, "object") == b"the second"
    assert [one.size for one in storage.list("")] == [10]


def test_a_list_is_by_key_and_may_begin_in_the_middle_of_a_name(storage: Storage) -> None:
    keys = ["a.b", "a/b", "a-b/x", "a/c/d", "b"]
    for key in keys:
        put(storage, key, key.encode())
    assert [one.key for one in storage.list("")] == sorted(keys)
    assert [one.key for one in storage.list("a/")] == ["a/b", "a/c/d"]
    assert [one.key for one in storage.list("a/c")] == ["a/c/d"]
    assert [one.size for one in storage.list("a/c/")] == [5]
    assert list(storage.list_folders("")) == ["a", "a-b"]
    assert list(storage.list_folders("a/")) == ["c"]


def test_a_list_of_more_than_a_page_is_whole(storage: Storage) -> None:
    keys = [f"many/{number:04}/x" for number in range(1001)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: put(storage, key, b"x"), keys))
    assert [one.key for one in storage.list("many/")] == keys
    assert list(storage.list_folders("many/")) == [key.split("/")[1] for key in keys]
    storage.delete(keys)
    assert list(storage.list("")) == []


def test_a_storage_that_was_closed_can_be_used_again(storage: Storage) -> None:
    put(storage, "object", b"content")
    for _ in range(2):
        storage.close()
    assert got(storage, "object") == b"content"
    storage.close()


def test_what_is_removed_is_gone_and_the_rest_stays(storage: Storage) -> None:
    for key in ("a/1", "a/2", "b/1"):
        put(storage, key, b"x")
    storage.delete(["a/1", "b/1", "not there"])
    assert [one.key for one in storage.list("")] == ["a/2"]
    storage.delete([])


@pytest.mark.parametrize("fatal", [0, PART, 2 * PART, 3 * PART])
def test_a_put_that_died_goes_on_and_leaves_nothing(storage: Storage, fatal: int) -> None:
    blob = blobs.of_bytes(some_bytes(3 * PART + 10))
    with pytest.raises(KilledError):
        storage.put("large", DyingBlob(blob, fatal), lambda _: None)
    assert storage.stat("large") is None
    noted: list[int] = []
    again = DyingBlob(blob, blob.seal.size)
    storage.put("large", again, noted.append)
    assert got(storage, "large") == some_bytes(3 * PART + 10)
    assert sum(noted) == blob.seal.size
    assert list(storage.unfinished("")) == []
    if storage.has_checksums():
        assert again.num_read <= blob.seal.size - fatal


def test_an_unfinished_upload_is_listed_and_can_be_given_up(storage: Storage) -> None:
    blob = blobs.of_bytes(some_bytes(2 * PART))
    for key in ("left/large", "other/large"):
        with pytest.raises(KilledError):
            storage.put(key, DyingBlob(blob, PART), lambda _: None)
    unfinished = list(storage.unfinished("left/"))
    assert all(one.key.startswith("left/") and one.begun > 0 for one in unfinished)
    for upload in unfinished:
        storage.discard(upload)
        storage.discard(upload)
    assert list(storage.unfinished("left/")) == []
    assert list(storage.list("")) == []
    storage.put("left/large", blob, lambda _: None)  # what was begun is gone: it begins anew
    assert got(storage, "left/large") == some_bytes(2 * PART)


@pytest.mark.parametrize("size", [1000, 2 * PART + 1])
def test_several_may_put_the_same_object_at_once(storage: Storage, size: int) -> None:
    blob = blobs.of_bytes(some_bytes(size))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: storage.put("object", blob, lambda _: None), range(4)))
    assert got(storage, "object") == some_bytes(size)


__all__ = [name for name in globals() if name.startswith("test_")]
