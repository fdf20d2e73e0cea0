"""What a machine that goes down may leave of a directory: a small model of a file system.

Only what was synced is sure: the contents of a file up to its last fsync, and the names of a folder
up to its own.  Of the rest each operation may have reached the disk or not, in any order, and a
write in part; a rename is one operation, done or not.  Files and folders have numbers, so that a
name can be lost without what it stood for.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.system_calls import SystemCall

ROOT = 0  # the number of the folder itself
Entry = tuple[int, str]
"""A name in a folder."""


@dataclass(frozen=True)
class Operation:
    """One change: of names (`old` and `new` entries of `node`), or of a file's bytes."""

    text: str  # for a person
    node: int = -1
    old: Entry | None = None  # the name it loses
    new: Entry | None = None  # the name it gets
    offset: int | None = None  # where `data` goes, or where the file ends if there is none
    data: bytes | None = None
    synced: int | None = None  # the file or folder that is made durable: no change at all

    @property
    def is_data(self) -> bool:
        return self.offset is not None

    @property
    def touched(self) -> set[int]:
        """The files or folders that must be synced for it to last."""
        if self.is_data:
            return {self.node}
        return {entry[0] for entry in (self.old, self.new) if entry is not None}


@dataclass
class Disk:
    """Names and contents."""

    names: dict[Entry, int] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)  # of files
    links: dict[int, str] = field(default_factory=dict)  # symbolic ones

    def copy(self) -> "Disk":
        return Disk(dict(self.names), dict(self.contents), self.links)

    def apply(self, operation: Operation) -> None:
        """Make a change; one whose beginnings are not there has no effect."""
        if operation.offset is not None:
            before = self.contents.get(operation.node, b"")
            data = operation.data
            padded = before.ljust(operation.offset, b"\0")
            self.contents[operation.node] = (
                padded[: operation.offset]
                if data is None
                else padded[: operation.offset] + data + padded[operation.offset + len(data) :]
            )
            return
        if operation.old is not None and self.names.get(operation.old) != operation.node:
            return
        if operation.old is not None:
            del self.names[operation.old]
        if operation.new is not None:
            self.names[operation.new] = operation.node

    def tree(self) -> dict[str, bytes | str | None]:
        """Return file contents, link texts, and None for folders, by path."""
        children: dict[int, list[tuple[str, int]]] = {}
        for (folder, name), node in self.names.items():
            children.setdefault(folder, []).append((name, node))
        found: dict[str, bytes | str | None] = {}
        pending = [("", ROOT)]
        while pending:
            prefix, folder = pending.pop()
            for name, node in children.get(folder, ()):
                path = f"{prefix}{name}"
                found[path] = self.links.get(node, self.contents.get(node))
                if found[path] is None:
                    pending.append((f"{path}/", node))
        return found


class Recorded:
    """The operations of recorded calls, on top of a directory that was there, all of it durable."""

    def __init__(self, before: Path, root: Path, calls: Sequence[tuple[SystemCall, Any]]) -> None:
        self.before = Disk()
        self._root = root
        self._numbers = 1
        for path in sorted(before.rglob("*")):
            node = self._new_node()
            self.before.names[self._entry(self.before, root / path.relative_to(before))] = node
            if path.is_symlink():
                self.before.links[node] = str(path.readlink())
            elif path.is_file():
                self.before.contents[node] = path.read_bytes()
        self.operations: list[Operation] = []
        self._now = self.before.copy()
        self._open: dict[int, tuple[int, int, int]] = {}  # node, flags, position by descriptor
        for call, result in calls:
            for operation in self._operations_of(call, result):
                self._now.apply(operation)
                self.operations.append(operation)

    def _new_node(self) -> int:
        self._numbers += 1
        return self._numbers - 1

    def _node(self, disk: Disk, path: Path) -> int:
        node = ROOT
        for name in path.relative_to(self._root).parts:
            node = disk.names[node, name]
        return node

    def _entry(self, disk: Disk, path: Path) -> Entry:
        return self._node(disk, path.parent), path.name

    def _operations_of(self, call: SystemCall, result: Any) -> Iterator[Operation]:
        text = str(call)
        if call.name == "open":
            yield from self._opened(call, result, text)
        elif call.name in ("write", "ftruncate", "fsync"):
            yield self._on_file(call, text)
        elif call.name in ("mkdir", "symlink"):
            node = self._new_node()
            if call.name == "symlink":
                self._now.links[node] = self.before.links[node] = call.target
            yield Operation(text, node, new=self._entry(self._now, call.path))
        elif call.name in ("unlink", "rmdir", "rename"):
            new = self._entry(self._now, Path(call.target)) if call.name == "rename" else None
            node = self._node(self._now, call.path)
            yield Operation(text, node, old=self._entry(self._now, call.path), new=new)

    def _opened(self, call: SystemCall, descriptor: int, text: str) -> Iterator[Operation]:
        entry = self._entry(self._now, call.path) if call.path != self._root else None
        node = ROOT if entry is None else self._now.names.get(entry, -1)
        if node < 0:
            node = self._new_node()
            self.before.contents[node] = self._now.contents[node] = b""
            yield Operation(text, node, new=entry)
        elif call.flags & os.O_TRUNC:
            yield Operation(f"{text}, emptied", node, offset=0)
        self._open[descriptor] = node, call.flags, 0

    def _on_file(self, call: SystemCall, text: str) -> Operation:
        node, flags, position = self._open[call.descriptor]
        if call.name == "fsync":
            return Operation(text, node, synced=node)
        if call.name == "ftruncate":
            self._open[call.descriptor] = node, flags, min(position, call.size)
            return Operation(text, node, offset=call.size)
        size = len(self._now.contents[node])
        start = size if flags & os.O_APPEND else position
        self._open[call.descriptor] = node, flags, start + len(call.data)
        return Operation(text, node, offset=start, data=call.data)

    def states(self, first: int = 0) -> Iterator["State"]:
        """Yield what a crash may leave after each operation from `first` on, each tree once."""
        seen: set[int] = set()
        for point in range(first, len(self.operations) + 1):
            made = self.operations[:point]
            pending = _not_durable(made)
            for text, choice in _choices(made, pending):
                disk = self.before.copy()
                for number, operation in enumerate(made):
                    if operation.synced is None and number not in pending:
                        disk.apply(operation)
                    elif number in choice:
                        disk.apply(choice[number])
                tree = disk.tree()
                key = hash(frozenset(tree.items()))
                if key not in seen:
                    seen.add(key)
                    last = made[-1].text if made else "nothing"
                    yield State(point, f"after {point} operations, {last!r}: {text}", tree)


@dataclass(frozen=True)
class State:
    """A directory as a crash may have left it."""

    point: int  # the number of operations made
    text: str
    tree: dict[str, bytes | str | None]

    def write(self, folder: Path) -> Path:
        """Write the directory and return it."""
        folder.mkdir()
        for name in sorted(self.tree):
            content, path = self.tree[name], folder / name
            if content is None:
                path.mkdir()
            elif isinstance(content, str):
                path.symlink_to(content)
            else:
                path.write_bytes(content)
        return folder


def _not_durable(made: Sequence[Operation]) -> list[int]:
    """Return the numbers of the operations that no later sync has made durable."""
    synced: set[int] = set()
    pending = []
    for number in reversed(range(len(made))):
        operation = made[number]
        if operation.synced is not None:
            synced.add(operation.synced)
        elif not operation.touched <= synced:
            pending.append(number)
    return pending[::-1]


Choice = dict[int, Operation]
"""The operations that reached the disk, by number, though no sync had asked for it."""


def _choices(made: Sequence[Operation], pending: Sequence[int]) -> Iterator[tuple[str, Choice]]:
    everything = {number: made[number] for number in pending}
    yield "only what was synced", {}
    yield "everything", everything
    yield "names alone", {n: op for n, op in everything.items() if not op.is_data}
    yield "contents alone", {n: op for n, op in everything.items() if op.is_data}
    yield "names, and zeros for contents", {n: _torn(op, 0) for n, op in everything.items()}
    for number in pending:
        text = made[number].text
        yield f"{text!r} alone", {number: made[number]}
        yield f"all but {text!r}", {n: op for n, op in everything.items() if n != number}
    writes = [number for number in pending if made[number].data]
    for number in writes:
        size = len(made[number].data or b"")
        for kept in sorted({0, 1, size // 2, size - 1}):
            torn = _torn(made[number], kept)
            text = f"{kept} bytes of {made[number].text!r}"
            yield f"{text}, then zeros", everything | {number: torn}
            cut = Operation(
                torn.text, torn.node, offset=torn.offset, data=(torn.data or b"")[:kept]
            )
            yield text, everything | {number: cut}


def _torn(operation: Operation, kept: int) -> Operation:
    """Return a write of which only so many bytes are its own, or the operation if it is none."""
    if not operation.data:
        return operation
    data = operation.data[:kept].ljust(len(operation.data), b"\0")
    return Operation(operation.text, operation.node, offset=operation.offset, data=data)
