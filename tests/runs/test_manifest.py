"""A folder is a step if its manifest says so and everything in it agrees; else it says why not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.runs import canonical, manifest
from rlrun.runs.manifest import NotAStepError

CONTENTS = {"model/weights": b"weights", "optimizer.pt": b"moments", "empty": b""}


@pytest.fixture
def step_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "step_3"
    (folder / "model").mkdir(parents=True)
    for name, data in CONTENTS.items():
        (folder / name).write_bytes(data)
    entries = {name: manifest.describe_bytes(data) for name, data in CONTENTS.items()}
    write_manifest(folder, {"step": 3, "seconds": 1.7976931348623157e308, "files": entries})
    return folder


def write_manifest(folder: Path, body: dict[str, Any]) -> None:
    (folder / manifest.FILE_NAME).write_text(canonical.pretty(manifest.sealed(body)))


def problem_of(step_dir: Path, *, with_hashes: bool = True) -> tuple[str, bool] | None:
    """Return (reason, is foreign), or None for a valid folder."""
    try:
        manifest.check_files(step_dir, manifest.read(step_dir), with_hashes=with_hashes)
    except NotAStepError as error:
        return error.reason, error.is_foreign
    return None


def test_a_file_is_described_by_its_size_and_hash() -> None:
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert manifest.describe_bytes(b"abc") == {"size": 3, "sha256": sha256}
    assert manifest.describe_bytes(memoryview(b"abc")) == {"size": 3, "sha256": sha256}


def test_a_manifest_has_a_format_version_and_the_hash_of_the_rest() -> None:
    sealed = manifest.sealed({"step": 3})
    assert sealed == {
        "step": 3,
        "format_version": 1,
        "manifest_hash": canonical.sha256_of({"step": 3, "format_version": 1}),
    }


def test_a_folder_of_exactly_the_listed_files_is_valid(step_dir: Path) -> None:
    assert problem_of(step_dir) is None
    assert manifest.read(step_dir)["step"] == 3


def remove(folder: Path) -> None:
    (folder / "model" / "weights").unlink()


def add(folder: Path) -> None:
    (folder / "model" / "other").touch()


def shorten(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(b"moment")


def make_a_link(folder: Path) -> None:
    (folder / "optimizer.pt").rename(folder.parent / "elsewhere")
    (folder / "optimizer.pt").symlink_to(folder.parent / "elsewhere")


def make_a_folder(folder: Path) -> None:
    (folder / "empty").unlink()
    (folder / "empty").mkdir()


def link_a_folder(folder: Path) -> None:
    (folder / "more").symlink_to(folder / "model")


def dangle(folder: Path) -> None:
    (folder / "dangling").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (remove, "model/weights is missing"),
        (add, "model/other is not in the manifest"),
        (shorten, "optimizer.pt has 6 bytes, not 7"),
        (make_a_link, "optimizer.pt is missing"),
        (make_a_folder, "empty is missing"),
        (link_a_folder, "more is not in the manifest"),
        (dangle, "dangling is not in the manifest"),
    ],
)
def test_a_file_that_is_not_as_listed_is_a_problem_even_without_hashes(
    spoil: Callable[[Path], None], reason: str, step_dir: Path
) -> None:
    spoil(step_dir)
    assert problem_of(step_dir, with_hashes=False) == (reason, False)
    assert problem_of(step_dir, with_hashes=True) == (reason, False)


@pytest.mark.parametrize("bit", range(8 * len(b"moments")))
def test_every_flipped_bit_of_a_file_shows_in_its_hash_and_only_there(
    bit: int, step_dir: Path
) -> None:
    data = bytearray(b"moments")
    data[bit // 8] ^= 1 << bit % 8
    (step_dir / "optimizer.pt").write_bytes(data)
    assert problem_of(step_dir, with_hashes=False) is None
    assert problem_of(step_dir) == ("optimizer.pt does not match its SHA-256", False)


def test_every_flipped_bit_of_a_manifest_makes_it_none_or_changes_nothing(step_dir: Path) -> None:
    path = step_dir / manifest.FILE_NAME
    data, before = path.read_bytes(), manifest.read(step_dir)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            found = manifest.read(step_dir)
        except NotAStepError:
            continue
        assert found == before, bit  # white space, or 1e+308 as 1E+308


@pytest.mark.parametrize(
    ("text", "reason", "is_foreign"),
    [
        ("", "is not JSON", False),
        ('{"format_version": 1', "is not JSON", False),
        ("[1]", "has no format_version", True),
        ('{"step": 3, "loss": 0.5}', "has no format_version", True),
        ('{"format_version": 1}', "does not match its own hash", False),
        ('{"format_version": 1, "x": NaN}', "does not match its own hash", False),
        ('{"format_version": 1, "x": 1e999}', "does not match its own hash", False),
    ],
)
def test_another_text_is_no_manifest(
    text: str, reason: str, is_foreign: bool, step_dir: Path
) -> None:
    (step_dir / manifest.FILE_NAME).write_text(text)
    assert problem_of(step_dir) == (f"training_info.json {reason}", is_foreign)


def test_a_later_format_is_never_touched_and_asks_for_an_update(step_dir: Path) -> None:
    (step_dir / manifest.FILE_NAME).write_text('{"format_version": 2}')
    assert problem_of(step_dir) == (
        "training_info.json has format version 2, this rlrun reads 1; update rlrun",
        True,
    )


def test_a_folder_without_a_manifest_is_somebody_elses(step_dir: Path) -> None:
    (step_dir / manifest.FILE_NAME).unlink()
    assert problem_of(step_dir) == ("training_info.json is missing", True)


def test_a_manifest_behind_a_link_does_not_count(step_dir: Path) -> None:
    path = step_dir / manifest.FILE_NAME
    path.rename(step_dir.parent / "elsewhere")
    path.symlink_to(step_dir.parent / "elsewhere")
    assert problem_of(step_dir) == ("training_info.json is missing", False)


def test_a_huge_file_is_not_read_as_a_manifest(step_dir: Path) -> None:
    with (step_dir / manifest.FILE_NAME).open("wb") as file:
        file.truncate(17 * 2**20)
    assert problem_of(step_dir) == ("training_info.json is too large to be a manifest", False)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_sealing_twice_gives_the_same_manifest(body: dict[str, Any]) -> None:
    body.pop("manifest_hash", None)
    sealed = manifest.sealed(body)
    assert sealed == manifest.sealed(dict(reversed(body.items())))
    assert json.loads(canonical.pretty(sealed)) == sealed
