"""Fixtures of this room: real S3 servers, and proxies that spoil what goes to and from them.

Whoever asks for a server is marked `s3`.  A server that cannot start fails its tests and is named
at the end: nothing is skipped.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from support.fault_proxy import FaultProxy
from support.memory import folder_in_memory
from support.s3_places import Place
from support.s3_servers import STARTS, Server, ServerFailedError

_SHARED_BUCKET = (
    "shared"  # of those who need no bucket of their own: each costs SeaweedFS 7 volumes
)


class Servers:
    """The servers of this session: each is started when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.running: dict[str, Server] = {}
        self.failed: dict[str, str] = {}

    def get(self, name: str) -> Server:
        if name in self.failed:
            raise ServerFailedError(self.failed[name])
        if name not in self.running:
            try:
                self.running[name] = STARTS[name](self._folder / name)
            except ServerFailedError as error:
                self.failed[name] = str(error)
                raise
            self.running[name].client().create_bucket(Bucket=_SHARED_BUCKET)
        return self.running[name]

    def stop(self) -> None:
        for server in self.running.values():
            server.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "servers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.s3)


_said = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """All servers; `get(name)` starts one."""
    with tempfile.TemporaryDirectory(prefix="s3-servers-") as name:
        all_servers = Servers(Path(name))
        yield all_servers
        request.config.stash[_said] = [
            *(
                f"{server.name}: up in {server.start_seconds:.1f} s, "
                f"{server.group.peak_mib():.0f} MiB at most"
                for server in all_servers.running.values()
            ),
            *(f"{name} FAILED: {why}" for name, why in all_servers.failed.items()),
        ]
        all_servers.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in terminalreporter.config.stash.get(_said, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def seaweedfs(servers: Servers) -> Server:
    """SeaweedFS."""
    return servers.get("seaweedfs")


@pytest.fixture(scope="session")
def swift(servers: Servers) -> Server:
    """OpenStack Swift with s3api."""
    return servers.get("swift")


@pytest.fixture(scope="session")
def moto(servers: Servers) -> Server:
    """moto, which alone proves neither integrity nor authentication."""
    return servers.get("moto")


@pytest.fixture(scope="session", params=list(STARTS))
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """Each of the three in turn."""
    return servers.get(request.param)


@pytest.fixture
def new_place() -> Callable[[Server], Place]:
    """Make an empty place in a server: a prefix of its own in a bucket that tests share."""
    return lambda server: Place(server, _SHARED_BUCKET, uuid4().hex)


@pytest.fixture
def place(server: Server, new_place: Callable[[Server], Place]) -> Place:
    """An empty place in each of the three servers in turn."""
    return new_place(server)


@pytest.fixture
def bucket(server: Server) -> Iterator[Place]:
    """A bucket of its own in each of the three servers in turn; removed afterwards."""
    mine = Place(server, f"own-{uuid4().hex[:12]}", "")
    mine.client.create_bucket(Bucket=mine.bucket)
    yield mine
    mine.remove_bucket()


@pytest.fixture
def start_proxy() -> Iterator[Callable[..., FaultProxy]]:
    """Start a proxy in front of an endpoint, with a plan of faults; without, it spoils nothing."""
    with ExitStack() as proxies:
        yield lambda endpoint, plan=None, **settings: proxies.enter_context(
            FaultProxy(endpoint, plan, **settings)
        )


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, of one test."""
    with folder_in_memory() as folder:
        yield folder
