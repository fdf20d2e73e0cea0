import fcntl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlrun.archive import blobs, catalog
from rlrun.archive.fetching import Fetcher, staging
from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.transfers import Progress
from rlrun.errors import LockedError, NoSpaceError, RunExistsError


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


def free_bytes(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(f_bavail=number, f_frsize=1)
    monkeypatch.setattr("rlrun.archive.fetching.os.statvfs", lambda _: disk)


@pytest.mark.parametrize(("num_fetched", "needed"), [(0, 4000), (400, 3600), (2000, 2000)])
def test_room_is_for_what_is_not_fetched_yet_and_for_a_copy_of_all(
    num_fetched: int, needed: int, fetched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher, _ = fetched
    data = bytes(2000)
    entry = Entry("x", "step_1-0/x", blobs.of_bytes(data).seal)
    path = fetcher.path_of(entry)
    whole = path if num_fetched == len(data) else path.with_name(f"{path.name}.part")
    whole.write_bytes(data[:num_fetched])
    (fetcher.folder / ("f" * 64)).write_bytes(bytes(9000))  # another fetch's: of no help here
    free_bytes(round(needed * 1.025) - 1, monkeypatch)
    with pytest.raises(NoSpaceError):
        fetcher.check_space([Archived("sums", "0", (entry,))])
    free_bytes(round(needed * 1.025), monkeypatch)
    fetcher.check_space([Archived("sums", "0", (entry,))])


def test_a_staging_folder_goes_with_a_refusal_that_came_before_anything_was_fetched(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "archive" / "restoring" / "sums-000000000000"

    def be_refused(num_fetched: int) -> None:
        with staging(tmp_path, "sums", "0" * 32) as found:
            for number in range(num_fetched):
                (found / str(number)).write_bytes(b"1")
            raise RunExistsError("it differs")

    for num_fetched in (0, 1):
        with pytest.raises(RunExistsError):
            be_refused(num_fetched)
        assert folder.exists() == bool(num_fetched)


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


def test_what_is_whole_comes_and_the_rest_is_told(fetched: Any, storage: Any) -> None:
    fetcher, found = fetched
    lost, *others = found.entries
    (storage.folder / "sums" / lost.key).unlink()
    ((entry, problem),) = fetcher.fetch_what_is_whole(found)
    assert entry == lost
    assert "is not there" in problem
    assert all(fetcher.path_of(other).is_file() for other in others)
    assert not fetcher.path_of(lost).exists()
