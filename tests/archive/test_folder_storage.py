from pathlib import Path
from typing import Any

import pytest
from support.dying import dying_at

from rlrun.archive import blobs
from rlrun.archive.folder_storage import FolderStorage
from rlrun.errors import ArchiveError, MissingObjectError
from rlrun.runs import files


def put(storage: FolderStorage, key: str, data: bytes) -> list[int]:
    notes: list[int] = []
    storage.put(key, blobs.of_bytes(data), notes.append)
    return notes


def read(storage: FolderStorage, key: str, start: int = 0) -> bytes:
    with storage.read(key, start) as chunks:
        return b"".join(chunks)


def test_what_was_put_is_read_from_anywhere(storage: FolderStorage) -> None:
    assert sum(put(storage, "a/b", b"12345")) == 5
    assert read(storage, "a/b") == b"12345"
    assert read(storage, "a/b", 3) == b"45"
    assert read(storage, "a/b", 5) == b""
    found = storage.stat("a/b")
    assert found is not None
    assert (found.key, found.size, found.checksum) == ("a/b", 5, None)


def test_what_is_not_there_is_absent(storage: FolderStorage) -> None:
    put(storage, "a/b", b"")
    assert storage.stat("a") is not None or not (storage.folder / "a").is_file()
    assert storage.stat("a/b/c") is None
    assert storage.stat("x") is None
    with pytest.raises(MissingObjectError, match="is not there"), storage.read("x"):
        pass


def test_a_listing_is_by_key_and_prefix(storage: FolderStorage) -> None:
    for key in ("a/b/2", "a/b/10", "a/bc", "b/x"):
        put(storage, key, b"1")
    assert [one.key for one in storage.list("a/b")] == ["a/b/10", "a/b/2", "a/bc"]
    assert [one.key for one in storage.list("a/b/")] == ["a/b/10", "a/b/2"]
    assert [one.key for one in storage.list("none/")] == []
    assert list(storage.list_folders("")) == ["a", "b"]
    assert list(storage.list_folders("a/")) == ["b"]
    assert list(storage.list_folders("none/")) == []


def test_what_is_removed_leaves_no_empty_folders(storage: FolderStorage) -> None:
    put(storage, "a/b/c", b"1")
    put(storage, "a/d", b"1")
    storage.delete(["a/b/c", "a/never"])
    assert [path.name for path in (storage.folder / "a").iterdir()] == ["d"]
    storage.delete(["a/d"])
    assert list(storage.folder.iterdir()) == []


def test_killed_at_any_file_operation_the_old_object_or_the_new_is_there(
    storage: FolderStorage,
) -> None:
    put(storage, "a/b", b"old")
    for number in range(20):
        try:
            with dying_at(number):
                put(storage, "a/b", b"new")
        except KeyboardInterrupt:
            assert read(storage, "a/b") in (b"old", b"new")
        else:
            break
    else:
        raise AssertionError("a put has more file operations than were tried")
    assert [one.key for one in storage.list("")] == ["a/b"]


def test_what_a_killed_process_left_is_unfinished_and_can_be_discarded(
    storage: FolderStorage,
) -> None:
    put(storage, "a/b", b"1")
    left = storage.folder / "a" / ".c.0123.tmp"
    left.write_bytes(b"part")
    (upload,) = storage.unfinished("a/")
    assert [one.key for one in storage.list("")] == ["a/b"]
    storage.discard(upload)
    storage.discard(upload)
    assert not left.exists()


@pytest.mark.parametrize("key", ["../x", "a/../../x", "", "a//b", "/x"])
def test_a_key_that_leaves_the_folder_is_refused(key: str, storage: FolderStorage) -> None:
    with pytest.raises(ArchiveError, match="cannot be the key"):
        put(storage, key, b"1")


def test_links_are_not_followed(storage: FolderStorage, tmp_path: Path) -> None:
    put(storage, "a/b", b"1")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_bytes(b"1")
    (storage.folder / "a" / "link").symlink_to(tmp_path / "outside")
    assert [one.key for one in storage.list("")] == ["a/b"]


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    storage: Any = FolderStorage(tmp_path / "none")
    assert list(storage.list("")) == list(storage.list_folders("")) == []
    assert list(storage.unfinished("")) == []
    assert not storage.has_checksums()


def test_a_folder_that_is_filled_while_it_is_removed_stays(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage, "a/b", b"1")
    real = Path.rmdir

    def rmdir(path: Path) -> None:
        if path == storage.folder / "a":
            put(storage, "a/c", b"2")
        real(path)

    monkeypatch.setattr(Path, "rmdir", rmdir)
    storage.delete(["a/b"])
    assert [one.key for one in storage.list("")] == ["a/c"]


def test_a_folder_that_is_removed_while_something_comes_is_made_again(
    storage: FolderStorage,
) -> None:
    put(storage, "a/b", b"1")

    def remove(operation: str, path: Path) -> None:
        if operation == "open" and path.parent.name == "a":
            storage.delete(["a/b"])

    with files.watched(remove):
        put(storage, "a/c", b"2")
    assert [one.key for one in storage.list("")] == ["a/c"]


def test_what_is_finished_meanwhile_is_not_unfinished(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = storage.folder / "a" / ".b.tmp"
    monkeypatch.setattr(Path, "rglob", lambda _path, _pattern: iter([gone]))
    assert list(storage.unfinished("")) == []
