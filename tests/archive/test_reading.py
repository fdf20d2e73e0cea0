from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rlrun.archive import blobs, reading
from rlrun.archive.folder_storage import FolderStorage
from rlrun.errors import ArchiveError, DamagedError, InterruptedReadError

DATA = bytes(range(200))


class Breaking(FolderStorage):
    """Gives so many bytes and breaks off; flips the first byte so many times."""

    def __init__(self, folder: Any, most: int, flips: int = 0) -> None:
        super().__init__(folder)
        self.most, self.flips = most, flips
        self.starts: list[int] = []

    @contextmanager
    def read(self, key: str, start: int = 0) -> Iterator[Iterator[bytes]]:
        self.starts.append(start)
        yield self._some((self.folder / key).read_bytes(), start)

    def _some(self, data: bytes, start: int) -> Iterator[bytes]:
        piece = data[start : start + self.most]
        if self.flips and start == 0:
            self.flips -= 1
            piece = bytes([piece[0] ^ 1]) + piece[1:]
        if piece:
            yield piece
        if start + self.most < len(data):
            raise InterruptedReadError("the body broke off")


def stored(storage: FolderStorage) -> FolderStorage:
    storage.put("a", blobs.of_bytes(DATA), lambda _: None)
    return storage


def test_what_breaks_off_is_gone_on_with(tmp_path: Any) -> None:
    storage: Any = stored(Breaking(tmp_path, 30))
    assert b"".join(reading.chunks(storage, "a", 10)) == DATA[10:]
    assert storage.starts == [10, 40, 70, 100, 130, 160, 190]


def test_what_never_gives_a_byte_is_given_up(tmp_path: Any) -> None:
    storage: Any = stored(Breaking(tmp_path, 0))
    with pytest.raises(InterruptedReadError):
        list(reading.chunks(storage, "a"))
    assert len(storage.starts) == reading.NUM_TRIES


def test_a_whole_object_must_not_be_larger_than_it_can_be(tmp_path: Any) -> None:
    storage = stored(FolderStorage(tmp_path))
    assert reading.read_whole(storage, "a", most_bytes=200) == DATA
    with pytest.raises(ArchiveError, match="too large"):
        reading.read_whole(storage, "a", most_bytes=199)


def test_bytes_that_changed_on_the_way_are_read_again(tmp_path: Any) -> None:
    seal = blobs.of_bytes(DATA).seal
    storage = stored(Breaking(tmp_path, 500, flips=2))
    assert reading.read_back(storage, "a", seal, lambda _: None) is None
    storage = stored(Breaking(tmp_path, 500, flips=99))
    assert reading.read_back(storage, "a", seal, lambda _: None) == "has other bytes than were sent"


def test_a_sealed_object_comes_as_it_was_sent_or_is_damage(tmp_path: Any) -> None:
    storage = stored(FolderStorage(tmp_path))
    assert reading.read_sealed(storage, "a", blobs.of_bytes(DATA).seal) == DATA
    for other in (DATA[1:], DATA + b"1"):  # one that is larger too
        with pytest.raises(DamagedError, match=r"other bytes than were sent; .*--repair"):
            reading.read_sealed(storage, "a", blobs.of_bytes(other).seal)
    with pytest.raises(DamagedError, match=r"is not there; .*--repair"):
        reading.read_sealed(storage, "b", blobs.of_bytes(DATA).seal)
