"""Each kind of fault at each request of push, cleanup, restore and remote prune, on real servers.

Whatever happens: no listed manifest lacks an object, no checkpoint goes here that is not there in
full, a restored run is whole or not there, and the same command ends what was begun.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.archiving import COMMANDS, Access, Command, Models, destination_of
from support.fault_plan import Fault, Kind, Plan
from support.fault_proxy import FaultProxy
from support.s3_servers import Server

from rlrun.errors import RlrunError

LASTING = (Kind.DROP_AFTER, Kind.ERROR_500, Kind.EXPIRED_403, Kind.FLIP_UP, Kind.FLIP_DOWN,
           Kind.STALE_LISTING)  # fmt: skip
SHORT_PATIENCE = 0.3  # seconds, where a fault lasts
EVERY = {"SeaweedFS": 1, "moto": 1, "Swift": 8}  # of so many requests one is spoiled: it is slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Models]:
    @cache
    def of_command(name: str) -> Models:
        return Models(tmp_path_factory.mktemp("models"), COMMANDS[name])

    return of_command


class Trials:
    """Cases of one command on one server."""

    def __init__(self, command: Command, proxy: FaultProxy) -> None:
        self.command = command
        self.proxy = proxy
        server = command.server
        self.straight = Access.to(server)
        self.spoiled = Access.to(server, proxy.endpoint)
        self.hasty = Access.to(server, proxy.endpoint, seconds=SHORT_PATIENCE)
        self.num_cases = 0
        self._number = 0

    def learn_the_store(self) -> None:
        """Find out what the store can do, through the proxy too: it counts as another endpoint."""
        known = self.command.folder / "stores"
        for access in (self.straight, self.spoiled):
            root = self.command.folder / f"learning{len(access.endpoint)}"
            access.storage(destination_of(self.command.full_place), root).has_checksums()
            shutil.copytree(root / "archive" / "stores", known, dirs_exist_ok=True)
            shutil.rmtree(root)

    def spoilable(self) -> list[int]:
        """Return the numbers of the requests that are to be spoiled, one by one."""
        self.proxy.restart(Plan())
        root, place = self._world()
        self.command.act(root, self.spoiled.storage(destination_of(place), root))
        self.command.judge_end(root, place)
        wanted = self.command.operations
        return [
            request.index
            for request in self.proxy.requests
            if not wanted or request.operation in wanted
        ]

    def _world(self) -> Any:
        self._number += 1
        return self.command.world(self._number)

    def try_one(self, fault: Fault) -> None:
        """Spoil requests, judge, then run the command again with nothing in its way, and judge."""
        root, place = self._world()
        access = self.spoiled if fault.times else self.hasty
        self.proxy.restart(Plan([fault]))
        with suppress(RlrunError):  # a sentence is an outcome; anything else is not
            self.command.act(root, access.storage(destination_of(place), root))
        if not self.proxy.num_applied:
            shutil.rmtree(root)
            return
        self.num_cases += 1
        self.command.judge(root, place)
        self.command.act(root, self.straight.storage(destination_of(place), root))
        self.command.judge_end(root, place)
        shutil.rmtree(root)


@pytest.fixture
def trials(
    server: Server,
    models: Callable[[str], Models],
    memory: Path,
    start_proxy: Callable[..., FaultProxy],
) -> Callable[[str], Trials]:
    def make(name: str) -> Trials:
        found = Trials(COMMANDS[name](models(name), server, memory), start_proxy(server.endpoint))
        found.learn_the_store()
        return found

    return make


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: what is synced there costs nothing."""
    parent = Path("/dev/shm")
    usable = parent if os.access(parent, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=usable) as name:
        yield Path(name)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_fault_at_any_request_costs_nothing_and_the_same_command_goes_on(
    name: str, kind: Kind, server: Server, trials: Any, counted: Any
) -> None:
    found = trials(name)
    every = EVERY[server.name]
    requests = found.spoilable()
    for at in requests[list(Kind).index(kind) % every :: every]:
        found.try_one(Fault(kind, at))
    if kind in LASTING and server.name != "Swift":
        for at in requests[::3]:
            found.try_one(Fault(kind, at, times=None))
    found.command.close()
    counted(f"faults in requests to {server.name}", found.num_cases)
