"""What can befall a checkpoint: each function spoils one, and never makes it another valid one."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlrun.runs import canonical, manifest

Damage = Callable[[Path, random.Random], object]


def files_of(step: Path) -> list[Path]:
    return sorted(path for path in step.rglob("*") if path.is_file())


def flip_a_bit(step: Path, draw: random.Random) -> None:
    path = draw.choice(files_of(step))
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def cut_short(step: Path, draw: random.Random) -> None:
    path = draw.choice(files_of(step))
    os.truncate(path, draw.randrange(path.stat().st_size))


def add_bytes(step: Path, draw: random.Random) -> None:
    with draw.choice(files_of(step)).open("ab") as file:
        file.write(draw.choice([b"\0", b"\n", b" ", draw.randbytes(9), bytes(5000)]))


def put_zeros(step: Path, draw: random.Random) -> None:
    path = draw.choice(files_of(step))
    data = path.read_bytes()
    start = draw.randrange(len(data))
    path.write_bytes(data[:start] + bytes(len(data) - start))
    if path.read_bytes() == data:
        path.write_bytes(bytes(len(data) + 1))


def swap_files(step: Path, draw: random.Random) -> None:
    first, second = draw.sample(files_of(step), 2)
    other = first.with_name("other")
    first.rename(other)
    second.rename(first)
    other.rename(second)


def lose_a_file(step: Path, draw: random.Random) -> None:
    draw.choice([path for path in files_of(step) if path.name != manifest.FILE_NAME]).unlink()


def add_a_file(step: Path, draw: random.Random) -> None:
    odd = ["more", "two\nlines", b"\xff\xfe".decode(errors="surrogateescape"), ".hidden", "\x1b[2J"]
    folder = step / draw.choice(["", "model", "deep/" * 60])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / draw.choice(odd)).write_bytes(b"")


def link_a_file(step: Path, draw: random.Random) -> None:
    """Put a link in a file's place, to the same bytes elsewhere, to itself, or to nothing."""
    path, elsewhere = draw.choice(files_of(step)), step.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(draw.choice([elsewhere, path.name, "nowhere", "/dev/zero"]))


def link_a_folder(step: Path, draw: random.Random) -> None:
    """Put a link in a folder's place, to the same files elsewhere, or to itself."""
    path, elsewhere = draw.choice([step, step / "model"]), step.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(draw.choice([elsewhere, path.name]))


def put_a_special_file(step: Path, draw: random.Random) -> None:
    """Put a pipe, which nobody writes, or a folder in a file's place."""
    path = draw.choice(files_of(step))
    path.unlink()
    draw.choice([os.mkfifo, os.mkdir])(path)


def rewrite(step: Path, /, **changes: Any) -> None:
    """Change a manifest and make it its own hash again."""
    path = step / manifest.FILE_NAME
    body = {**json.loads(path.read_bytes()), **changes}
    body.pop("manifest_hash", None)
    path.write_text(canonical.pretty({**body, "manifest_hash": canonical.sha256_of(body)}))


def list_other_paths(step: Path, draw: random.Random) -> None:
    """List a file outside of the folder, as it is there."""
    outside = step.parent / "outside"
    outside.write_bytes(b"secret")
    files = json.loads((step / manifest.FILE_NAME).read_bytes())["files"]
    odd = ["../outside", str(outside), "model/../../outside", "", ".", "/dev/zero", "a\0b", "..",
           "//proc/self/mem", "model", "x" * 5000, "\n", "./optimizer.pt"]  # fmt: skip
    entry = draw.choice([manifest.describe_bytes(b"secret"), files["optimizer.pt"]])
    rewrite(step, files={**files, draw.choice(odd): entry})


def give_other_types(step: Path, draw: random.Random) -> None:
    """Give a key a value of another type."""
    body = json.loads((step / manifest.FILE_NAME).read_bytes())
    keys = [key for key in body if key not in ("manifest_hash", "format_version")]
    key = draw.choice([*keys, "format_version", "files"])
    kind = type(body[key])
    odd = [None, True, "1", 1.0, -(10**30), [], {}, [[]], {"size": 1}]
    values = [value for value in odd if type(value) is not kind]
    if key == "files":
        entry = body["files"]["optimizer.pt"]
        spoiled = [None, [], "x", {}, {**entry, "size": True}, {**entry, "size": "1"},
                   {**entry, "size": -1}, {**entry, "sha256": None}, {"size": 10**40}]  # fmt: skip
        values += [{**body["files"], "optimizer.pt": other} for other in spoiled]
    rewrite(step, **{key: draw.choice(values)})


def write_another_text(step: Path, draw: random.Random) -> None:
    """Write a manifest that JSON's readers take in different ways, or not at all."""
    path = step / manifest.FILE_NAME
    text = path.read_text()
    again = text.replace("{", '{"step": 4,', 1)
    huge = text.replace('"step": 4', f'"step": {"4" * draw.choice([500, 5000])}')
    depth = draw.choice([500, 900, 5000, 200_000])
    deep = text.replace('"step": 4', f'"step": {"[" * depth}{"]" * depth}')
    others = [again, huge, deep, "[" * depth, '{"a":' * depth, text.replace("\n", "\r\n"),
              "\ufeff" + text, text.replace('"step": 4', '"step": 4e999'), text + text,
              text.replace('"step": 4', '"step": NaN'), text.replace('"step": 4', '"step": 4.0'),
              text.replace('"step": 4', '"step": "\\ud800"'), text.replace("  ", " ")]  # fmt: skip
    encoding = draw.choice(["utf-8", "utf-8", "utf-8", "utf-16", "utf-32"])
    path.write_bytes(draw.choice(others).encode(encoding, errors="surrogatepass"))


def blow_up(step: Path, draw: random.Random) -> None:
    """Make a file longer than any memory; it takes no room."""
    os.truncate(draw.choice(files_of(step)), 2**40)


DAMAGES: dict[Damage, int] = {
    flip_a_bit: 500,
    cut_short: 150,
    add_bytes: 100,
    put_zeros: 100,
    swap_files: 60,
    lose_a_file: 40,
    add_a_file: 80,
    link_a_file: 80,
    link_a_folder: 40,
    put_a_special_file: 60,
    list_other_paths: 100,
    give_other_types: 160,
    write_another_text: 150,
    blow_up: 20,
}
"""How many cases of each a test tries."""
