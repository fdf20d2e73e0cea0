import shutil
from pathlib import Path
from typing import Any

from rlrun.archive import blobs, holdings
from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.push import Pusher


def here(storage: FolderStorage, root: Path) -> str:
    [one] = holdings.survey(storage, root)
    return one.here


def test_a_run_is_told_with_its_steps_and_its_size(push: Any, storage: Any, root: Path) -> None:
    pushed = push()
    [one] = holdings.survey(storage, root)
    assert (one.run_name, one.steps, one.has_records) == ("sums", (10, 20, 30), True)
    assert one.num_bytes == pushed.num_bytes


def test_it_is_here_partly_or_not(push: Any, storage: Any, root: Path, made: Any) -> None:
    push()
    assert here(storage, root) == "yes"
    shutil.rmtree(made.run.step(20))
    assert here(storage, root) == "partly"
    shutil.rmtree(made.run.path)
    assert here(storage, root) == "no"


def test_without_any_checkpoint_here_the_identity_tells(
    push: Any, storage: Any, root: Path, made: Any, make_run: Any
) -> None:
    push()
    for step in (10, 20, 30):
        shutil.rmtree(made.run.step(step))
    assert here(storage, root) == "partly"
    shutil.rmtree(made.run.path)
    make_run("sums")
    assert here(storage, root) == "another run"


def test_another_tool_s_run_of_the_name_is_another_run(
    push: Any, storage: Any, root: Path, made: Any, make_foreign_run: Any
) -> None:
    push()
    shutil.rmtree(made.run.path)
    make_foreign_run("sums")
    assert here(storage, root) == "another run"


def test_a_run_here_that_is_damaged_does_not_stop_it(
    push: Any, storage: Any, root: Path, made: Any
) -> None:
    push()
    made.run.identity.write_text("{")
    assert here(storage, root) == "partly"


def test_a_run_that_was_archived_before_its_first_checkpoint(
    make_run: Any, storage: Any, root: Path
) -> None:
    Pusher(make_run("young").run, root, storage).push()
    [one] = holdings.survey(storage, root)
    assert (one.steps, one.here) == ((), "yes")


def test_a_push_that_was_broken_off_has_no_records(push: Any, storage: Any, root: Path) -> None:
    push()
    for path in (storage.folder / "sums" / "manifests").glob("records_*"):
        path.unlink()
    [one] = holdings.survey(storage, root)
    assert not one.has_records
    assert one.here == "yes"


def test_a_folder_that_is_no_runs_is_left_out(push: Any, storage: Any, root: Path) -> None:
    push()
    storage.put("docs/a/b.txt", blobs.of_bytes(b"1"), lambda _: None)
    storage.put("begun/shared/a/b", blobs.of_bytes(b"1"), lambda _: None)
    assert [one.run_name for one in holdings.survey(storage, root)] == ["begun", "sums"]
