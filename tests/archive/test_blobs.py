import base64
import hashlib
from pathlib import Path

import pytest

from rlrun.archive import blobs
from rlrun.archive.blobs import LEAST_PART_BYTES, MAX_PARTS, Seal
from rlrun.errors import StorageError

SIZES = [0, 1, LEAST_PART_BYTES - 1, LEAST_PART_BYTES, LEAST_PART_BYTES + 1, 2 * LEAST_PART_BYTES]


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("size", SIZES)
def test_a_seal_is_of_the_whole_and_of_its_parts(size: int, tmp_path: Path) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    path = tmp_path / "file"
    path.write_bytes(data[:size])
    seal = blobs.of_file(path).seal
    parts = [data[:size][at : at + LEAST_PART_BYTES] for at in range(0, size, LEAST_PART_BYTES)]
    assert seal.size == size
    assert seal.sha256 == hashlib.sha256(data[:size]).hexdigest()
    assert seal.part_sha256s == tuple(hashlib.sha256(p).hexdigest() for p in parts or [b""])
    assert blobs.of_bytes(data[:size]).seal == seal


def test_a_store_that_computed_the_hash_of_the_whole_proves_it() -> None:
    seal = blobs.of_bytes(b"weights").seal
    assert seal.is_proved_by(base64_of(hashlib.sha256(b"weights").digest()))
    assert not seal.is_proved_by(base64_of(hashlib.sha256(b"weighty").digest()))
    assert not seal.is_proved_by(None)


def test_a_store_that_hashed_the_hashes_of_the_parts_proves_it() -> None:
    one, two = hashlib.sha256(b"a"), hashlib.sha256(b"b")
    seal = Seal(2, "00" * 32, (one.hexdigest(), two.hexdigest()))
    joined = hashlib.sha256(one.digest() + two.digest()).digest()
    assert seal.is_proved_by(f"{base64_of(joined)}-2")
    assert not seal.is_proved_by(f"{base64_of(joined)}-3")


def test_the_size_alone_decides_the_parts() -> None:
    assert blobs.num_parts(0) == blobs.num_parts(LEAST_PART_BYTES) == 1
    assert blobs.num_parts(LEAST_PART_BYTES + 1) == 2
    largest = LEAST_PART_BYTES * MAX_PARTS
    assert blobs.num_parts(largest) == MAX_PARTS
    assert blobs.part_bytes(largest + 1) == 2 * LEAST_PART_BYTES


def test_a_prefix_of_a_file_that_grows_is_a_blob(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    blob = blobs.of_file(path, size=4)
    path.write_bytes(b"one\ntwo\nthree\n")
    assert blob.seal == blobs.of_bytes(b"one\n").seal
    assert blob.read(0, 100) == b"one\n"
    assert blob.read(2, 100) == b"e\n"


def test_a_file_that_was_cut_meanwhile_is_a_blob_of_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one")
    assert blobs.of_file(path, size=10).seal == blobs.of_bytes(b"one").seal


def test_a_held_file_is_the_same_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    held = blobs.HeldBlob(path, 4)
    path.rename(tmp_path / "other")
    path.write_bytes(b"54321")
    assert held.seal == blobs.of_bytes(b"1234").seal
    assert (held.read(1, 100), held.read(0, 2)) == (b"234", b"12")


def test_a_large_file_that_is_empty_by_now_has_one_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert blobs.of_file(path, size=3 * LEAST_PART_BYTES).seal == blobs.of_bytes(b"").seal


def test_a_blob_knows_whether_its_file_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    blob = blobs.of_file(path)
    assert blobs.is_unchanged(blob)
    path.write_bytes(b"54321")
    assert not blobs.is_unchanged(blob)
    path.unlink()
    with pytest.raises(StorageError, match="went away"):
        blob.read(0, 5)


def test_a_small_file_can_be_let_go_of_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    kept = blobs.of_small_file(path)
    let_go = blobs.on_disk(kept)
    assert (let_go.seal, let_go.read(1, 3)) == (kept.seal, b"234")
    assert not hasattr(let_go, "data")
    other = blobs.of_bytes(b"1")
    assert blobs.on_disk(other) is other
