"""Each way of writing, refused at every call in every way: a reader never sees a thing in between.

The same refusals as of whole sessions, where they cost microseconds, so that each number meets each
call both once and from then on.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from support import refusals, system_calls
from support.protocols import PROTOCOLS, Protocol, prepared
from support.refusals import KINDS, LOST, SHORT, Refusal, Refusing
from support.system_calls import SystemCall

from rlrun.errors import StorageError
from rlrun.runs import jsonl
from rlrun.runs.layout import RunDir

NO_ROOM = ("ENOSPC", "EDQUOT", SHORT)


def tree_of(root: Path) -> dict[str, object]:
    """Return everything under a folder, who a run is aside: that differs between creations."""
    return {path.relative_to(root).as_posix(): content_of(path) for path in root.rglob("*")}


def content_of(path: Path) -> object:
    if path.is_symlink():
        return str(path.readlink())
    if path.name == "reasons.jsonl":  # said again, at another time, when the move was refused
        return {record["folder"] for record in jsonl.read(path)}
    if path.name == "removals.jsonl":  # likewise
        return {(record["step"], record["reason"]) for record in jsonl.read(path)}
    return path.is_file() and path.name != "run.json" and path.read_bytes()


def unhindered(protocol: Protocol, root: Path) -> tuple[list[SystemCall], list[Any], Any]:
    """Return the calls of a protocol, what a reader sees before and after each, and the end."""
    run, calls, views = prepared(root, protocol), [], []

    def look(call: SystemCall, act: Any) -> Any:
        calls.append(call)
        if protocol is not PROTOCOLS["take and release the lock"]:  # looking would take it
            views.append(protocol.view(run))
        return act()

    with system_calls.handled(root, look):
        protocol.act(run)
    return calls, [*views, protocol.view(run)], tree_of(root)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_refused_protocol_shows_only_what_an_unhindered_one_shows_and_can_be_tried_again(
    name: str, memory_folder: Path, counted: Any
) -> None:
    protocol = PROTOCOLS[name]
    calls, views, end = unhindered(protocol, memory_folder / "unhindered")
    num_refusals = 0
    for at, call in enumerate(calls):
        for kind in KINDS:
            for is_lasting in (False, True):
                if refusals.applies(kind, call):
                    root = memory_folder / "refused"
                    refusal = Refusal(root, at, kind, is_lasting)
                    refuse_and_check(protocol, refusal, views, end, f"{refusal} at {call}")
                    shutil.rmtree(root)
                    num_refusals += 1
    counted("refused calls in protocols", num_refusals)
    assert num_refusals > 10


def refused(protocol: Protocol, run: RunDir) -> StorageError | None:
    """Return what a protocol fails with, None if it does its work nevertheless."""
    try:
        protocol.act(run)
    except StorageError as error:
        return error
    return None


def refuse_and_check(
    protocol: Protocol, refusal: Refusal, views: list[Any], end: Any, where: str
) -> None:
    run = prepared(refusal.folder, protocol)
    refusing = Refusing(refusal)
    with system_calls.handled(refusal.folder, refusing):
        error = refused(protocol, run)
    if error is None:  # it makes room on a full disk, and so must do without some
        assert protocol is PROTOCOLS["prune"], where
        assert refusal.kind in NO_ROOM, where
        assert protocol.view(run) == views[-1], where
        assert tree_of(refusal.folder) == end, where
        return
    assert "; " in str(error), where
    if refusal.kind == LOST and refusal.is_lasting:
        refusals.lose(refusal.folder, refusing.lost.values())  # nothing could cut it off
    assert protocol.view(run) in views, where
    refusing.relent()
    with system_calls.handled(refusal.folder, refusing):
        protocol.act(run)
    refusals.lose(refusal.folder, refusing.lost.values())  # the machine goes down later
    assert protocol.view(run) == views[-1], where
    assert tree_of(refusal.folder) == end, where
