from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlrun.archive import blobs, catalog
from rlrun.archive.remote_check import Checker, RemoteCheck
from rlrun.errors import RunNotFoundError


@pytest.fixture
def check(push: Any, storage: Any) -> Callable[..., RemoteCheck]:
    push()
    return lambda **options: Checker(storage, "sums", transfers=2, **options).check()


def weights(storage: Any, number: int = 0) -> Path:
    key = catalog.read(storage, "sums").steps[number]
    found: Path = storage.folder / "sums" / key.folder / "model" / "weights"
    return found


def test_a_whole_archive_has_no_damage(check: Any) -> None:
    found = check()
    assert found.damage == ()
    assert found.depth == "sizes"
    assert [(step.step, step.is_whole) for step in found.steps] == [
        (10, True), (20, True), (30, True)
    ]  # fmt: skip
    assert check(with_data=True).depth == "data"


def test_a_missing_object_is_damage_of_its_step_alone(check: Any, storage: Any) -> None:
    weights(storage).unlink()
    found = check()
    assert [(step.step, step.is_whole) for step in found.steps][:2] == [(10, False), (20, True)]
    assert [finding.what for finding in found.damage] == ["is not there"]


def test_a_flipped_bit_is_found_by_reading(check: Any, storage: Any) -> None:
    weights(storage).write_bytes(b"12344")
    assert check().damage == ()
    found = check(with_data=True)
    assert [finding.what for finding in found.damage] == ["has other bytes than were sent"]


def test_a_manifest_that_does_not_read_is_damage(check: Any, storage: Any) -> None:
    key = catalog.read(storage, "sums").steps[1]
    (storage.folder / "sums" / key.manifest).write_bytes(b"{")
    found = check()
    assert [step.is_whole for step in found.steps] == [True, False, True]
    assert [finding.key for finding in found.damage] == [key.manifest]


def test_checkpoints_without_records_are_damage(check: Any, storage: Any) -> None:
    for key in catalog.read(storage, "sums").records:
        (storage.folder / "sums" / key.manifest).unlink()
    assert "there are no records" in check().damage[0].what


def test_what_nothing_needs_is_a_note(check: Any, storage: Any) -> None:
    storage.put(f"sums/shared/{'0' * 64}/x", blobs.of_bytes(b"1"), lambda _: None)
    found = check()
    assert found.damage == ()
    assert [finding.severity for finding in found.findings] == ["note"]


def test_a_run_that_is_not_there_is_told(storage: Any) -> None:
    with pytest.raises(RunNotFoundError):
        Checker(storage, "sums").check()
