"""File systems in a file: a copy of one that is in use is what a power cut leaves of it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FORMATS = {  # name -> smallest size that its maker accepts, in MiB, and the maker
    "ext4": (48, ["mkfs.ext4", "-q", "-F"]),
    "xfs": (300, ["mkfs.xfs", "-q", "-f"]),
    "btrfs": (128, ["mkfs.btrfs", "-q", "-f"]),
}
_MIB = 2**20
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_PATIENCE = 200  # readings until two agree


def make(kind: str, image: Path) -> str | None:
    """Make an empty file system in a file; return why that cannot be done here, None if it was."""
    size, maker = FORMATS[kind]
    if os.geteuid() != 0:
        return "mounting needs root"
    program = shutil.which(maker[0], path=_PATH)
    if program is None:
        return f"{maker[0]} is not installed"
    with image.open("wb") as file:
        file.truncate(size * _MIB)
    subprocess.run([program, *maker[1:], str(image)], check=True, capture_output=True)
    said = _mount(image, image.with_name("trial"))
    if said is None:
        subprocess.run(["umount", str(image.with_name("trial"))], check=True)
    return said


def _mount(image: Path, folder: Path) -> str | None:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-o", "loop", str(image), str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return None if done.returncode == 0 else f"mount: {done.stderr.strip()}"


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount a file system while the block runs; replays its journal, as after a power cut."""
    refusal = _mount(image, folder)
    assert refusal is None, refusal
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def copy_of_a_moment(image: Path, target: Path) -> None:
    """Copy what has reached the disk: nobody writes to files now, but the system may to the disk.

    Two readings that agree are one moment.
    """
    before = b""
    for _ in range(_PATIENCE):
        now = image.read_bytes()
        if now == before:
            break
        before = now
    else:
        raise AssertionError(f"{image} never stood still")
    with target.open("wb") as file:
        for start in range(0, len(now), _MIB):
            block = now[start : start + _MIB]
            if block.count(0) == len(block):
                file.seek(len(block), os.SEEK_CUR)
            else:
                file.write(block)
        file.truncate(len(now))
