"""Every byte goes through a named call, and a refused call becomes a sentence with a way out."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.calls import recorded

from rlrun.errors import StorageError
from rlrun.runs import files


def append(path: Path) -> None:
    appender = files.Appender(path)
    appender.append(b"one\n", sync=False)
    appender.append(b"two\n", sync=True)
    appender.close()


PRIMITIVES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "mkdir": (lambda d: files.mkdir(d / "new"), ["mkdir new"]),
    "sync_dir": (lambda d: files.sync_dir(d), ["fsync folder"]),
    "rename": (lambda d: files.rename(d / "old", d / "new"), ["rename new"]),
    "symlink": (lambda d: files.symlink(d / "new", "old"), ["symlink new"]),
    "unlink": (lambda d: files.unlink(d / "old"), ["unlink old"]),
    "touch": (lambda d: files.touch(d / "old"), ["touch old"]),
    "open_lock": (lambda d: os.close(files.open_lock(d / "new")), ["open new"]),
    "remove_tree": (
        lambda d: files.remove_tree(d / "full"),
        ["unlink a", "rmdir empty", "unlink link", "rmdir full"],
    ),
    "ensure_dir": (
        lambda d: files.ensure_dir(d / "a" / "b"),
        ["mkdir a", "fsync folder", "mkdir b", "fsync a"],
    ),
    "write_new": (
        lambda d: files.write_new(d / "new", b"x"),
        ["open new", "write new", "fsync new", "close new"],
    ),
    "write_new without bytes": (
        lambda d: files.write_new(d / "new", b""),
        ["open new", "fsync new", "close new"],
    ),
    "replace": (
        lambda d: files.replace(d / "old", b"x"),
        ["open .old.tmp", "write .old.tmp", "fsync .old.tmp", "close .old.tmp", "rename old",
         "fsync folder"],
    ),
    "replace_link": (
        lambda d: files.replace_link(d / "link", "old"),
        ["symlink .link.tmp", "rename link", "fsync folder"],
    ),
    "truncate": (
        lambda d: files.truncate(d / "old", 1),
        ["open old", "truncate old", "fsync old", "close old"],
    ),
    "a new file that grows": (
        lambda d: append(d / "new"),
        ["open new", "fsync folder", "write new", "write new", "fsync new", "close new"],
    ),
    "an old file that grows": (
        lambda d: append(d / "old"),
        ["open old", "fsync folder", "write old", "write old", "fsync old", "close old"],
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file `old` and a folder `full`, which holds a file, a folder and a link."""
    folder = tmp_path / "folder"
    (folder / "full" / "empty").mkdir(parents=True)
    (folder / "old").write_bytes(b"before")
    (folder / "full" / "a").write_bytes(b"a")
    (folder / "full" / "link").symlink_to(folder)
    return folder


@pytest.mark.parametrize("name", PRIMITIVES)
def test_every_primitive_names_its_calls_in_order(name: str, folder: Path) -> None:
    act, expected = PRIMITIVES[name]
    with recorded() as calls:
        act(folder)
    assert calls == expected


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_call_that_the_watcher_does_not_survive_is_never_made(name: str, folder: Path) -> None:
    def die(operation: str, path: Path) -> None:
        raise KeyboardInterrupt

    before = sorted(path.name for path in folder.iterdir())
    with files.watched(die), pytest.raises(KeyboardInterrupt):
        PRIMITIVES[name][0](folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert (folder / "old").read_bytes() == b"before"


def test_a_watcher_is_forgotten_at_the_end_of_its_block(folder: Path) -> None:
    with recorded() as calls:
        pass
    files.touch(folder / "old")
    assert calls == []


def test_replace_link_removes_what_an_earlier_attempt_left(folder: Path) -> None:
    (folder / ".link.tmp").symlink_to("nowhere")
    files.replace_link(folder / "link", "old")
    assert (folder / "link").readlink() == Path("old")
    assert not (folder / ".link.tmp").is_symlink()


def test_replace_link_moves_a_link_that_points_elsewhere(folder: Path) -> None:
    (folder / "link").symlink_to("full")
    files.replace_link(folder / "link", "old")
    assert (folder / "link").readlink() == Path("old")


def test_write_new_refuses_a_file_that_is_there(folder: Path) -> None:
    with pytest.raises(FileExistsError):
        files.write_new(folder / "old", b"after")
    assert (folder / "old").read_bytes() == b"before"


def test_replace_puts_the_bytes_in_place_and_leaves_nothing_behind(folder: Path) -> None:
    files.replace(folder / "old", b"after")
    assert (folder / "old").read_bytes() == b"after"
    assert not (folder / ".old.tmp").exists()


def test_truncate_keeps_the_beginning(folder: Path) -> None:
    files.truncate(folder / "old", 3)
    assert (folder / "old").read_bytes() == b"bef"


def test_an_appender_adds_behind_what_is_there(folder: Path) -> None:
    append(folder / "old")
    assert (folder / "old").read_bytes() == b"beforeone\ntwo\n"


def test_remove_tree_removes_links_and_not_what_they_point_to(folder: Path) -> None:
    (folder / "full" / "link").unlink()
    (folder / "full" / "link").symlink_to(folder / "kept")
    (folder / "kept").mkdir()
    files.remove_tree(folder / "full")
    assert (folder / "kept").is_dir()
    assert not (folder / "full").exists()


def test_ensure_dir_makes_no_call_for_a_folder_that_is_there(folder: Path) -> None:
    with recorded() as calls:
        files.ensure_dir(folder)
    assert calls == []


def test_an_open_file_is_overwritten_in_place(folder: Path) -> None:
    path = folder / "old"
    inode = path.stat().st_ino
    descriptor = files.open_lock(path)
    with recorded() as calls:
        files.replace_contents(descriptor, path, b"new")
    os.close(descriptor)
    assert calls == ["truncate old", "write old", "fsync old"]
    assert (path.read_bytes(), path.stat().st_ino) == (b"new", inode)


def test_many_bytes_are_written_in_several_calls(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_WRITE_BYTES", 4)
    with recorded() as calls:
        files.write_new(folder / "new", memoryview(b"0123456789"))
    assert calls.count("write new") == 3
    assert (folder / "new").read_bytes() == b"0123456789"


REFUSALS = [
    (errno.ENOSPC, "No space left on device; free some space, or move the root to a larger disk"),
    (errno.EROFS, "Read-only file system; the file system is read-only; remount it"),
    (errno.EDQUOT, "Disk quota exceeded; your quota is used up; free some space"),
    (errno.EIO, "Input/output error; check the disk"),
]


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize(("number", "sentence"), REFUSALS)
def test_a_refusal_of_the_system_becomes_a_sentence_with_a_way_out(
    call: str, number: int, sentence: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, call, refuse)
    with pytest.raises(StorageError) as caught:
        files.write_new(folder / "new", b"x")
    assert str(caught.value) == (
        f"cannot {call} {folder / 'new'}: {sentence}"
        + {errno.ENOSPC: " with --root", errno.EIO: ""}.get(number, ", or use another --root")
        + "; what was saved before is safe"
    )


def test_a_write_that_takes_only_some_of_the_bytes_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_write = os.write
    monkeypatch.setattr(files.os, "write", lambda fd, data: whole_write(fd, data[:3]))
    with pytest.raises(StorageError, match="only 3 of 5 bytes were taken; the disk is probably"):
        files.write_new(folder / "new", b"12345")


def test_a_replace_that_fails_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "write", refuse)
    with pytest.raises(StorageError):
        files.replace(folder / "old", b"after")
    assert (folder / "old").read_bytes() == b"before"


def test_a_rename_onto_a_full_folder_tells_that_the_name_is_taken(folder: Path) -> None:
    (folder / "new").mkdir()
    with pytest.raises(FileExistsError):
        files.rename(folder / "new", folder / "full")
    assert (folder / "full" / "a").exists()


def test_a_folder_that_is_gone_cannot_be_synced(folder: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot open .*/absent: No such file or directory"):
        files.sync_dir(folder / "absent")


def test_a_missing_file_is_named_in_the_sentence(folder: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot rename .*/new: No such file or directory"):
        files.rename(folder / "absent", folder / "new")


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_an_append_that_fails_is_cut_off_and_was_the_last(
    call: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        if call == "write":
            whole_write(appender._descriptor, b"tw")  # a part that was taken
        raise OSError(errno.EIO, "Input/output error")

    whole_write = os.write
    appender = files.Appender(folder / "old")
    appender.append(b"one\n", sync=True)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, refuse)
        with pytest.raises(StorageError, match=f"cannot {call} .*/old: Input/output error"):
            appender.append(b"two\n", sync=True)
    # the fsync that follows a cut may be refused too; the cut itself stands
    assert (folder / "old").read_bytes() == b"beforeone\n"
    for again in (lambda: appender.append(b"two\n", sync=False), appender.sync):
        with pytest.raises(StorageError, match="an earlier write to it failed; check the disk"):
            again()


def test_a_sync_that_fails_cuts_off_all_that_was_not_durable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    appender = files.Appender(folder / "old")
    for record in (b"one\n", b"two\n"):
        appender.append(record, sync=False)
    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(StorageError):
        appender.sync()
    assert (folder / "old").read_bytes() == b"before"
