"""A body is read as often as it must be sent, and says itself what goes wrong here."""

from pathlib import Path

import pytest

from rlrun.archive import blobs
from rlrun.archive.bodies import PIECE_BYTES, Body
from rlrun.errors import StorageError

DATA = bytes(range(256)) * 4096  # 1 MiB


def test_a_body_is_a_stretch_of_a_blob_that_can_be_read_again() -> None:
    body = Body(blobs.of_bytes(DATA), 100, 5000)
    assert len(body) == 5000
    assert body.read(10) == DATA[100:110]
    assert body.tell() == 10
    assert body.read() == DATA[110:5100]
    assert body.read() == b""
    assert body.seek(0, 2) == 5000
    assert body.seek(-1, 1) == 4999
    assert body.seek(0) == 0
    assert body.read(None) == DATA[100:5100]


def test_pieces_are_small_and_begin_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    pieces = Body(blobs.of_file(path), 0, len(DATA)).pieces()
    for _ in range(2):
        found = list(pieces)
        assert b"".join(found) == DATA
        assert max(map(len, found)) == PIECE_BYTES
        assert pieces.seek(0) == 0


def test_what_goes_wrong_here_is_kept_for_who_asks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    blob = blobs.of_file(path)
    path.write_bytes(b"short")
    body = Body(blob, 0, 7)
    with pytest.raises(StorageError, match="became shorter"):
        body.read()
    assert isinstance(body.failure, StorageError)
    path.unlink()
    body = Body(blob, 0, 7)
    with pytest.raises(StorageError, match="cannot read"):
        body.read()
    assert body.failure is not None
