import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlrun.archive import blobs, catalog, keys
from rlrun.archive.remote_check import Checker
from rlrun.archive.remote_prune import GRACE_SECONDS, KEPT_RECORDS, RemotePruner
from rlrun.errors import ArchiveError, DamagedError, LockedError
from rlrun.runs import leftovers

SPARE = f"sums/shared/{'0' * 64}/x"
BROKEN_OFF = "sums/step_40-0123456789ab/model/weights"


def put(storage: Any, key: str, *, age: float = 2 * GRACE_SECONDS) -> None:
    storage.put(key, blobs.of_bytes(b"12345"), lambda _: None)
    then = time.time() - age
    os.utime(storage.folder / key, (then, then))


def all_keys(storage: Any) -> set[str]:
    return {one.key for one in storage.list("")}


@pytest.fixture
def prune(push: Any, storage: Any) -> Callable[..., Any]:
    push()
    return lambda where=storage, **options: RemotePruner(where, "sums", **options).prune()


def test_what_no_manifest_needs_goes_and_nothing_else(prune: Any, storage: Any) -> None:
    before = all_keys(storage)
    put(storage, SPARE)
    put(storage, BROKEN_OFF)
    put(storage, "sums/notes.txt")
    put(storage, "other/thing")
    found = prune()
    assert {one.key for one in found.leftovers} == {SPARE, BROKEN_OFF}
    assert all_keys(storage) == before | {"sums/notes.txt", "other/thing"}


def test_a_claim_goes_when_its_run_was_never_archived(prune: Any, storage: Any) -> None:
    before = all_keys(storage)
    stray, young = (keys.owner("sums", letter * 32, "0" * 12) for letter in "ab")
    put(storage, stray)
    put(storage, young, age=60)
    found = prune()
    assert [(one.key, one.what) for one in found.leftovers] == [
        (stray, "claim of a run that was never archived")
    ]
    assert found.num_too_young == 1
    assert all_keys(storage) == before | {young}


def test_a_name_whose_first_push_came_to_nothing_is_free_again(push: Any, storage: Any) -> None:
    put(storage, keys.owner("sums", "a" * 32, "0" * 12))
    with pytest.raises(ArchiveError, match="removes its claim a day later"):
        push()
    RemotePruner(storage, "sums").prune()
    assert len(push().new_steps) == 3


def test_what_is_young_stays(prune: Any, storage: Any) -> None:
    put(storage, SPARE, age=GRACE_SECONDS - 600)
    found = prune()
    assert (found.leftovers, found.num_too_young) == ((), 1)
    assert SPARE in all_keys(storage)


def test_a_survey_changes_nothing(prune: Any, storage: Any) -> None:
    put(storage, SPARE)
    before = all_keys(storage)
    found = RemotePruner(storage, "sums").survey(time.time())
    assert [one.key for one in found.leftovers] == [SPARE]
    assert all_keys(storage) == before


def test_superseded_records_go_with_what_they_alone_need(
    push: Any, storage: Any, made: Any
) -> None:
    for step in range(31, 37):
        made.steps(step, step)
        push()
    then = time.time() - 2 * GRACE_SECONDS
    for path in storage.folder.rglob("*"):
        os.utime(path, (then, then))
    RemotePruner(storage, "sums").prune()
    assert len(catalog.read(storage, "sums").records) == KEPT_RECORDS
    logs = [key for key in all_keys(storage) if key.endswith("train_log.jsonl")]
    assert len(logs) == KEPT_RECORDS
    assert Checker(storage, "sums", with_data=True).check().damage == ()


def test_a_manifest_that_does_not_read_lets_nothing_go(prune: Any, storage: Any) -> None:
    put(storage, SPARE)
    key = catalog.read(storage, "sums").steps[0]
    (storage.folder / "sums" / key.manifest).write_bytes(b"{")
    before = all_keys(storage)
    with pytest.raises(DamagedError):
        prune()
    assert all_keys(storage) == before


def test_a_push_that_ends_meanwhile_lets_nothing_go(prune: Any, spy: Any, made: Any) -> None:
    put(spy, SPARE)
    name = "sums/manifests/records_2-0123456789ab.5.json"

    def arrive(call: str, key: str) -> None:
        if (call, key) == ("list", "sums/"):
            spy.before = lambda _call, _key: None
            spy.put(name, blobs.of_bytes(b"{}"), lambda _: None)

    spy.before = arrive
    with pytest.raises(LockedError, match="meanwhile"):
        prune(spy)
    assert SPARE in all_keys(spy)


def test_another_prune_at_work_is_waited_for(prune: Any, storage: Any) -> None:
    put(storage, keys.prune_mark("sums", "0" * 8, 1, "0" * 12), age=60)
    put(storage, SPARE)
    with pytest.raises(LockedError, match="another 'rlrun prune --remote'"):
        prune()
    assert SPARE in all_keys(storage)
    assert len(catalog.read(storage, "sums").marks) == 1


def test_the_mark_of_a_killed_one_goes(prune: Any, storage: Any) -> None:
    put(storage, keys.prune_mark("sums", "0" * 8, 1, "0" * 12))
    put(storage, keys.prune_mark("sums", leftovers.here(), 2**22 + 1, "1" * 12), age=0)
    put(storage, SPARE)
    prune()
    assert SPARE not in all_keys(storage)
    assert catalog.read(storage, "sums").marks == ()


def test_killed_at_any_request_it_leaves_a_whole_archive(
    push: Any, spy: Any, made: Any, tmp_path: Path
) -> None:
    import shutil

    push(spy)
    put(spy, SPARE)
    put(spy, BROKEN_OFF)
    template = tmp_path / "template"
    shutil.copytree(spy.folder, template)
    spy.calls.clear()
    RemotePruner(spy, "sums").prune()
    num_calls = len(spy.calls)
    expected = all_keys(spy)
    for number in range(num_calls):
        other = type(spy)(tmp_path / f"store{number}")
        shutil.copytree(template, other.folder)

        def die(_call: str, _key: str, other: Any = other, number: int = number) -> None:
            if len(other.calls) == number + 1:
                raise KeyboardInterrupt

        other.before = die
        with pytest.raises(KeyboardInterrupt):
            RemotePruner(other, "sums").prune()
        other.before = lambda _call, _key: None
        assert Checker(other, "sums", with_data=True).check().damage == ()
        RemotePruner(other, "sums").prune()
        assert all_keys(other) == expected


def test_it_gives_up_when_it_takes_too_long_to_be_safe(prune: Any, storage: Any) -> None:
    put(storage, SPARE)
    times = iter([0.0, 1e6])
    with pytest.raises(ArchiveError, match="too long"):
        prune(clock=lambda: next(times))
    assert SPARE in all_keys(storage)


def test_old_unfinished_uploads_go(prune: Any, storage: Any) -> None:
    left = storage.folder / "sums" / ".x.0123.tmp"
    left.write_bytes(b"1")
    young = storage.folder / "sums" / ".y.0123.tmp"
    young.write_bytes(b"1")
    os.utime(left, (1, 1))
    found = prune()
    assert [one.what for one in found.leftovers] == ["unfinished upload"]
    assert young.exists()
    assert not left.exists()
