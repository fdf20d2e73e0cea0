from dataclasses import replace
from typing import Any

import pytest

from rlrun.archive import blobs, catalog
from rlrun.errors import DamagedError, RunNotFoundError


def test_one_listing_tells_all_of_a_run(push: Any, spy: Any) -> None:
    push(spy)
    spy.calls.clear()
    found = catalog.read(spy, "sums")
    assert spy.calls == [("list", "sums/manifests/")]
    assert [key.step for key in found.steps] == [10, 20, 30]
    assert found.newest_records == found.records[-1]


def test_what_is_no_manifest_is_left_out(push: Any, storage: Any) -> None:
    push()
    before = catalog.read(storage, "sums")
    storage.put("sums/manifests/readme.txt", blobs.of_bytes(b"x"), lambda _: None)
    after = catalog.read(storage, "sums")
    assert (after.steps, after.records) == (before.steps, before.records)


def test_a_name_that_was_spoiled_on_the_way_is_asked_for_again(push: Any, spy: Any) -> None:
    push(spy)
    whole = catalog.read(spy, "sums")

    class Spoiling(type(spy)):  # type: ignore[misc]
        def list(self, prefix: str) -> Any:
            found = list(super().list(prefix))
            if self.count("list") == 1:
                found[0] = replace(found[0], key=found[0].key.replace("session", "ression"))
            return iter(found)

    assert catalog.read(Spoiling(spy.folder), "sums") == whole


def test_an_unknown_run_is_an_empty_catalog(storage: Any) -> None:
    assert not catalog.read(storage, "sums")
    with pytest.raises(RunNotFoundError, match="no run at all"):
        catalog.require(storage, "sums")


def test_runs_are_listed_by_name(push: Any, storage: Any) -> None:
    push()
    storage.put(".rlrun-probe/x", blobs.of_bytes(b"x"), lambda _: None)
    assert catalog.run_names(storage) == ["sums"]
    with pytest.raises(RunNotFoundError, match="it has sums"):
        catalog.require(storage, "other")


def test_a_checkpoint_is_found_by_its_hash(push: Any, storage: Any) -> None:
    push()
    found = catalog.read(storage, "sums")
    key = found.steps[1]
    whole = catalog.fetch(storage, "sums", key).manifest_hash
    assert found.of_hash(20, str(whole)) == key
    assert found.of_hash(10, str(whole)) is None


def test_a_manifest_that_was_changed_is_refused(push: Any, storage: Any) -> None:
    push()
    key = catalog.read(storage, "sums").steps[0]
    path = storage.folder / "sums" / key.manifest
    path.write_bytes(path.read_bytes().replace(b"12", b"13", 1))
    with pytest.raises(DamagedError, match="own hash"):
        catalog.fetch(storage, "sums", key)


def test_a_manifest_in_a_folder_that_was_renamed_says_how_to_mend_that(
    push: Any, storage: Any
) -> None:
    push()
    (storage.folder / "sums").rename(storage.folder / "other")
    found = catalog.read(storage, "other")
    for key in (found.steps[0], found.records[0]):
        with pytest.raises(DamagedError, match="is of run 'sums', not 'other'; rename the folder"):
            catalog.fetch(storage, "other", key)


def test_a_step_is_found_by_its_whole_hash_alone(push: Any, storage: Any) -> None:
    push()
    found = catalog.read(storage, "sums")
    for key in found.steps:
        assert found.of_hash(key.step, key.short_hash + "0" * 52) == key
    assert found.of_hash(20, found.steps[0].short_hash) is None
    assert found.of_hash(40, "f" * 64) is None
    assert found.of_hash(5, "0" * 64) is None
