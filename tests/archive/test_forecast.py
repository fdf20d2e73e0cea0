from typing import Any

import pytest
from support.calls import recorded

from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.forecast import forecast
from rlrun.archive.push import Pusher
from rlrun.errors import ArchiveError


def test_it_tells_what_the_push_then_sends(made: Any, root: Any, storage: FolderStorage) -> None:
    with recorded() as calls:
        found = forecast(Pusher(made.run, root, storage))
    assert calls == []
    assert not storage.folder.exists()
    pushed = Pusher(made.run, root, storage).push()
    assert (found.num_objects, found.num_bytes) == (pushed.num_objects, pushed.num_bytes)
    assert [step.step for step in found.plan.new_steps] == [key.step for key in pushed.new_steps]
    assert found.has_new_records


def test_what_is_there_is_not_sent_again(made: Any, root: Any, push: Any, storage: Any) -> None:
    push()
    found = forecast(Pusher(made.run, root, storage))
    assert (found.num_objects, found.num_bytes, found.has_new_records) == (0, 0, False)
    made.saves(40)
    found = forecast(Pusher(made.run, root, storage))
    pushed = push()
    assert [step.step for step in found.plan.new_steps] == [40]
    assert (found.num_objects, found.num_bytes) == (pushed.num_objects, pushed.num_bytes)


def test_what_a_broken_push_has_sent_is_not_counted(
    made: Any, root: Any, push: Any, storage: Any
) -> None:
    push()
    made.saves(40)
    whole = forecast(Pusher(made.run, root, storage))
    size = (made.run.step(40) / "model" / "weights").stat().st_size
    key = made.run.step(40)
    short = whole.plan.new_steps[0].manifest["manifest_hash"][:12]
    there = storage.folder / "sums" / f"step_40-{short}" / "model" / "weights"
    there.parent.mkdir(parents=True)
    there.write_bytes((key / "model" / "weights").read_bytes())
    rest = forecast(Pusher(made.run, root, storage))
    assert whole.num_objects - rest.num_objects == 1
    assert whole.num_bytes - rest.num_bytes == size


def test_what_a_push_would_refuse_is_refused(made: Any, root: Any, push: Any, storage: Any) -> None:
    made.steps(31, 32)
    push()
    with made.run.train_log.open("rb+") as log:
        log.truncate(log.seek(0, 2) // 2)
    with pytest.raises(ArchiveError, match="bring this copy up"):
        forecast(Pusher(made.run, root, storage))
