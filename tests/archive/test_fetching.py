import fcntl
from pathlib import Path
from typing import Any

import pytest

from rlrun.archive import blobs, catalog
from rlrun.archive.fetching import Fetcher, staging
from rlrun.archive.transfers import Progress
from rlrun.errors import LockedError, NoSpaceError


@pytest.fixture
def fetched(push: Any, storage: Any, tmp_path: Path) -> Any:
    push()
    key = catalog.read(storage, "sums").steps[0]
    folder = tmp_path / "fetched"
    folder.mkdir()
    return Fetcher(storage, folder, 2), catalog.fetch(storage, "sums", key)


def test_each_file_has_the_name_of_its_content(fetched: Any) -> None:
    fetcher, found = fetched
    fetcher.fetch([found])
    for entry in found.entries:
        assert blobs.of_file(fetcher.path_of(entry)).seal == entry.seal
    assert {path.name for path in fetcher.folder.iterdir()} == {
        entry.seal.sha256 for entry in found.entries
    }


def test_progress_ends_at_the_whole(fetched: Any) -> None:
    fetcher, found = fetched
    fetcher.progress = Progress()
    fetcher.fetch([found])
    assert fetcher.progress.done_bytes == fetcher.progress.total_bytes == found.num_bytes


def test_what_does_not_fit_is_not_begun(fetched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher, found = fetched

    class Full:
        f_bavail, f_frsize = 0, 4096

    monkeypatch.setattr("rlrun.archive.fetching.os.statvfs", lambda _: Full)
    with pytest.raises(NoSpaceError, match="free some space"):
        fetcher.fetch([found])
    assert list(fetcher.folder.iterdir()) == []


def test_a_staging_folder_goes_when_all_went_well_and_stays_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "restoring" / "sums-000000000000"

    def be_killed() -> None:
        with staging(tmp_path, "sums", "0" * 32) as found:
            (found / "x").write_bytes(b"1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_killed()
    assert (folder / "x").exists()
    with staging(tmp_path, "sums", "0" * 32) as again:
        assert again == folder
    assert not folder.exists()


def test_a_folder_that_another_removes_and_a_third_makes_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    first, third = staging(tmp_path, "sums", "0"), staging(tmp_path, "sums", "0")
    first.__enter__()

    def flock(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        first.__exit__(None, None, None)
        third.__enter__()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LockedError), staging(tmp_path, "sums", "0"):
        pass
    third.__exit__(None, None, None)
    with staging(tmp_path, "sums", "0") as folder:
        assert folder.is_dir()
