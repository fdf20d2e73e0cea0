"""What anybody does to a folder is seen at the next look, without reading a byte of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rlrun.runs import unchanged


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "model").mkdir(parents=True)
    (folder / "info").write_bytes(b"{}")
    (folder / "model" / "weights").write_bytes(b"12345")
    return folder


def rewrite(folder: Path) -> None:
    """Write other bytes, as many, and put the time of change back."""
    path = folder / "model" / "weights"
    before = path.stat()
    path.write_bytes(b"54321")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(folder: Path) -> None:
    (folder / "new").write_bytes(b"12345")
    (folder / "new").rename(folder / "model" / "weights")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file put in": (lambda one: (one / "model" / "x").write_bytes(b""), "model/x is new"),
    "a link put in": (lambda one: (one / "x").symlink_to("nowhere"), "x is new"),
    "a file removed": (lambda one: (one / "info").unlink(), "info is gone"),
    "a file that grew": (lambda one: (one / "info").write_bytes(b"{} "), "info has changed"),
    "other bytes, the time put back": (rewrite, "model/weights has changed"),
    "a file in its place": (replace, "model/weights has changed"),
}


def test_a_folder_that_was_only_read_or_renamed_is_unchanged(folder: Path) -> None:
    before = unchanged.look(folder)
    (folder / "info").read_bytes()
    moved = folder.rename(folder.with_name("moved"))
    assert unchanged.difference(before, unchanged.look(moved)) is None
    assert set(before) == {"info", "model/weights"}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_told(kind: str, folder: Path) -> None:
    act, told = CHANGES[kind]
    before = unchanged.look(folder)
    act(folder)
    assert unchanged.difference(before, unchanged.look(folder)) == told
