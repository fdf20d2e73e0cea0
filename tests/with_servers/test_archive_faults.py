"""Each kind of fault at each request of push, cleanup, restore and remote prune, on real servers.

Whatever happens: no listed manifest lacks an object, no checkpoint goes here that is not there in
full, a restored run is whole or not there, and the same command ends what was begun.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache, cached_property
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


BODY_KINDS = (Kind.FLIP_UP, Kind.FLIP_DOWN, Kind.RESET_IN_REQUEST_BODY, Kind.TRUNCATED_BODY,
              Kind.RESET_IN_RESPONSE_BODY, Kind.DUPLICATE)  # fmt: skip


class Trials:
    """Cases of one command on one server, one after the other."""

    def __init__(self, command: Command, proxy: FaultProxy) -> None:
        self.command = command
        self.proxy = proxy
        server = command.server
        self.straight = Access.to(server)
        self.spoiled = Access.to(server, proxy.endpoint)
        self.hasty = Access.to(server, proxy.endpoint, seconds=SHORT_PATIENCE)
        self.num_cases = 0
        self._number = 0
        self._learn_the_store()

    def _learn_the_store(self) -> None:
        """Find out what the store can do, through the proxy too: it counts as another endpoint."""
        known = self.command.folder / "stores"
        for number, access in enumerate((self.straight, self.spoiled)):
            root = self.command.folder / f"learning{number}"
            access.storage(destination_of(self.command.full_place), root).has_checksums()
            shutil.copytree(root / "archive" / "stores", known, dirs_exist_ok=True)
            shutil.rmtree(root)

    @cached_property
    def spoilable(self) -> list[int]:
        """The numbers of the requests that are to be spoiled, one by one."""
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
        self.command.looks_at_bytes = fault.kind in BODY_KINDS or self._number % 4 == 0
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


@pytest.fixture(scope="module")
def trials(memory_of_module: Path) -> Iterator[Callable[[Server, str], Trials]]:
    """Return the trials of a command on a server; what they need is made once."""
    with ExitStack() as proxies:

        @cache
        def proxy_of(endpoint: str) -> FaultProxy:
            return proxies.enter_context(FaultProxy(endpoint))

        @cache
        def models_of(name: str) -> Models:
            return Models(memory_of_module / "models" / name.replace(" ", "-"), COMMANDS[name])

        found: dict[tuple[str, str], Trials] = {}

        def trials_of(server: Server, name: str) -> Trials:
            if (server.name, name) not in found:
                folder = memory_of_module / server.name / name.replace(" ", "-")
                folder.mkdir(parents=True)
                command = COMMANDS[name](models_of(name), server, folder)
                found[server.name, name] = Trials(command, proxy_of(server.endpoint))
            return found[server.name, name]

        yield trials_of


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_fault_at_any_request_costs_nothing_and_the_same_command_goes_on(
    name: str, kind: Kind, server: Server, trials: Any, counted: Any
) -> None:
    found = trials(server, name)
    found.num_cases = 0
    every = EVERY[server.name]
    requests = found.spoilable
    for at in requests[list(Kind).index(kind) % every :: every]:
        found.try_one(Fault(kind, at))
    if kind in LASTING and server.name != "Swift":
        for at in requests[::3]:
            found.try_one(Fault(kind, at, times=None))
    found.command.close()
    counted(f"faults in requests to {server.name}", found.num_cases)
