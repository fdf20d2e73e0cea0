"""A copy appears whole, or not at all, and only when it came back as it was."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.calls import recorded
from support.dead import left_by_the_dead

from rlrun.errors import DamagedError, RunExistsError, StorageError
from rlrun.runs import copies, files, leftovers


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(b"weights")
    (folder / "empty").write_bytes(b"")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "archive" / "kept" / "target"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_copy_is_equal_and_each_file_and_folder_is_synced_before_it_appears(
    source: Path, target: Path
) -> None:
    with recorded() as calls:
        assert copies.copy_whole(source, target)
    assert copies.hashes_of(target) == copies.hashes_of(source)
    assert names(target.parent) == ["target"]
    written = calls[: calls.index("rename target")]
    assert written.count("fsync weights") == written.count("fsync empty") == 1
    assert "fsync model" in written
    assert calls[-2:] == ["rename target", "fsync kept"]


def test_a_file_larger_than_a_chunk_is_copied_whole(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_CHUNK_BYTES", 3)
    copies.copy_whole(source, target)
    assert (target / "model" / "weights").read_bytes() == b"weights"


def test_an_equal_copy_is_left_and_a_different_one_refused(source: Path, target: Path) -> None:
    copies.copy_whole(source, target)
    with recorded() as calls:
        assert not copies.copy_whole(source, target)
    assert calls == []
    (source / "model" / "weights").write_bytes(b"changed")
    with pytest.raises(RunExistsError, match="is there already and differs"):
        copies.copy_whole(source, target)
    assert (target / "model" / "weights").read_bytes() == b"weights"


def test_a_copy_that_came_back_otherwise_never_appears(source: Path, target: Path) -> None:
    def spoil(operation: str, path: Path) -> None:
        if operation == "fsync" and path == leftovers.unfinished(target):
            (path / "model" / "weights").write_bytes(b"spoiled")

    with files.watched(spoil), pytest.raises(DamagedError, match="with other bytes"):
        copies.copy_whole(source, target)
    assert names(target.parent) == []


def test_what_a_killed_copy_left_is_removed_by_the_next(source: Path, target: Path) -> None:
    left_by_the_dead(target.with_name("other")).mkdir(parents=True)
    (leftovers.unfinished(target)).mkdir()
    copies.copy_whole(source, target)
    assert names(target.parent) == ["target"]


def test_a_copy_that_does_not_fit_is_refused_before_it_begins(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7))
    with pytest.raises(StorageError, match="free some space"):
        copies.copy_whole(source, target)
    assert names(target.parent) == []


def test_a_link_to_a_file_is_copied_as_that_file_and_any_other_is_refused(
    source: Path, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "blob").write_bytes(b"blob")
    (source / "link").symlink_to(tmp_path / "blob")
    copies.copy_whole(source, target)
    assert (target / "link").read_bytes() == b"blob"
    assert not (target / "link").is_symlink()
    (source / "folder").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="cannot be copied"):
        copies.copy_whole(source, tmp_path / "elsewhere" / "target")
