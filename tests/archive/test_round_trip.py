"""A run goes to an archive, its machine is lost, and it comes back."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from rlrun.archive import catalog
from rlrun.archive.cleanup import Cleaner
from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.push import Pusher
from rlrun.archive.remote_check import Checker
from rlrun.archive.remote_prune import RemotePruner
from rlrun.archive.restore import Restorer
from rlrun.runs import checkpoints
from rlrun.runs.retention import Rules


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and "archived.jsonl" not in path.name
    }


@pytest.fixture
def made(make_run: Any) -> Any:
    made = make_run("sums")
    made.opens(1)
    made.starts(1)
    made.steps(1, 30)
    for step in (10, 20, 30):
        made.saves(step)
    made.ends(1, step=30, outcome="steps_done")
    return made


def test_it_comes_back_with_the_same_bytes(made: Any, root: Path, tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "store")
    pushed = Pusher(made.run, root, storage).push()
    assert [key.step for key in pushed.new_steps] == [10, 20, 30]
    assert pushed.has_new_records
    again = Pusher(made.run, root, storage).push()
    assert again.is_unchanged
    assert again.num_objects == 0
    before = tree(made.run.path)
    cleaned = Cleaner(made.run, storage, Rules(keep_latest=1)).clean()
    assert cleaned.doubts == ()
    assert checkpoints.list_steps(made.run) == [30]
    shutil.rmtree(made.run.path)
    restored = Restorer(storage, root, "sums").restore("all")
    assert restored.new_steps == (10, 20, 30)
    after = tree(made.run.path)
    after.pop("logs/removals.jsonl", None)
    assert after == before
    check = Checker(storage, "sums", with_data=True).check()
    assert check.damage == ()
    assert RemotePruner(storage, "sums").prune().leftovers == ()
    assert len(catalog.read(storage, "sums").steps) == 3
    third = Pusher(made.run, root, storage).push()
    assert third.is_unchanged
    model = Restorer(storage, root, "sums").restore_model(20)
    assert (model / "model" / "weights").read_bytes() == b"12345"
