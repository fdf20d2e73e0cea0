"""A run with three checkpoints, and a folder as its archive."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.run_maker import RunMaker

from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.push import Pushed, Pusher
from rlrun.archive.storage import Storage

STEPS = (10, 20, 30)


@pytest.fixture
def made(make_run: Callable[..., RunMaker]) -> RunMaker:
    """A run whose one session ended at step 30, with a checkpoint every 10 steps."""
    made = make_run("sums")
    made.opens(1)
    made.starts(1)
    made.steps(1, STEPS[-1])
    for step in STEPS:
        made.saves(step)
    made.ends(1, step=STEPS[-1], outcome="steps_done")
    return made


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "store")


@pytest.fixture
def push(made: RunMaker, root: Path, storage: FolderStorage) -> Callable[..., Pushed]:
    """Push the run to the folder, or to another storage."""

    def act(where: Storage = storage, **options: Any) -> Pushed:
        return Pusher(made.run, root, where, transfers=2, **options).push()

    return act


class SpyStorage(FolderStorage):
    """A folder that counts what it is asked, and may answer wrongly."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda _call, _key: None

    def _called(self, call: str, key: str) -> None:
        self.calls.append((call, key))
        self.before(call, key)

    def count(self, call: str) -> int:
        return sum(one == call for one, _ in self.calls)

    def list(self, prefix: str) -> Iterator[Any]:
        self._called("list", prefix)
        return super().list(prefix)

    def stat(self, key: str) -> Any:
        self._called("stat", key)
        return super().stat(key)

    @contextmanager
    def read(self, key: str, start: int = 0) -> Iterator[Iterator[bytes]]:
        self._called("read", key)
        with super().read(key, start) as chunks:
            yield chunks

    def put(self, key: str, blob: Any, note: Any) -> None:
        self._called("put", key)
        super().put(key, blob, note)


@pytest.fixture
def spy(tmp_path: Path) -> SpyStorage:
    return SpyStorage(tmp_path / "store")
