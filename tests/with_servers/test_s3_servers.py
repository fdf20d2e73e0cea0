"""That servers under test come up, say why they do not, and leave nothing when they go."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fault_proxy import FaultProxy
from support.s3_places import Place
from support.s3_servers import STARTS, TOOLS_VARIABLE, ServerFailedError
from support.server_processes import Group, free_ports

TESTS = Path(__file__).parents[1]
SECONDS = 10


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and that nobody asked for does not."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for_end(pid: int) -> None:
    give_up = time.monotonic() + SECONDS
    while is_alive(pid):
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path / "output.log")


def test_ports_are_different_and_free() -> None:
    assert len(set(free_ports(20))) == 20


def test_what_a_server_started_goes_with_it(group: Group, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    group.start(
        ["/bin/sh", "-c", f"sleep 1000 & echo $! >{noted}.new; mv {noted}.new {noted}; wait"]
    )
    give_up = time.monotonic() + SECONDS
    while not noted.exists():
        assert time.monotonic() < give_up
        time.sleep(0.01)
    child = int(noted.read_text())
    assert is_alive(child)
    group.stop()
    assert group.ended() == [-signal.SIGKILL]
    wait_for_end(child)


def test_a_server_dies_with_who_started_it(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from support.server_processes import Group; "
        f"group = Group(pathlib.Path({str(tmp_path / 'log')!r})); "
        "group.start(['/bin/sleep', '1000']); print(group.pids[0], flush=True); sys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS,
    )  # fmt: skip
    with starter:
        assert starter.stdout is not None
        server = int(starter.stdout.readline())
        assert is_alive(server)
        starter.kill()
    wait_for_end(server)


def test_a_server_that_ends_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "weed"
    broken.write_text("#!/bin/sh\necho out of luck\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv(TOOLS_VARIABLE, str(tmp_path))
    with pytest.raises(ServerFailedError, match=r"(?s)SeaweedFS ended with \[3\].*out of luck"):
        STARTS["seaweedfs"](tmp_path / "seaweedfs")


@pytest.mark.parametrize("name", STARTS)
def test_a_server_that_is_not_installed_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOOLS_VARIABLE, str(tmp_path))
    with pytest.raises(ServerFailedError, match=f"(?i){name}"):
        STARTS[name](tmp_path / "server")


def test_without_the_environment_the_way_to_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOOLS_VARIABLE, raising=False)
    with pytest.raises(ServerFailedError, match="make test-s3"):
        STARTS["seaweedfs"](tmp_path / "server")


def test_a_bucket_of_its_own_is_empty(bucket: Place) -> None:
    assert bucket.keys() == []
    bucket.put("a/b", b"1")
    assert bucket.keys() == ["a/b"]


def test_places_in_a_bucket_do_not_see_each_other(
    place: Place, new_place: Callable[..., Place]
) -> None:
    place.put("k", b"1")
    assert new_place(place.server).keys() == []


def test_signatures_hold_through_a_proxy(
    place: Place, start_proxy: Callable[..., FaultProxy]
) -> None:
    proxy = start_proxy(place.server.endpoint)
    client = place.server.client(endpoint=proxy.endpoint)
    where = {"Bucket": place.bucket, "Key": place.full("k")}
    data = os.urandom(3 * 2**20)
    client.put_object(**where, Body=data)
    assert client.get_object(**where)["Body"].read() == data
    assert [(request.operation, request.status) for request in proxy.requests] == [
        ("put", 200),
        ("get", 200),
    ]


def test_a_spoiled_object_is_one_that_the_store_believes(place: Place) -> None:
    place.put("k", b"abc")
    place.spoil("k", at=1)
    assert place.read("k") == b"acc"


@pytest.mark.s3
@pytest.mark.parametrize("name", ["seaweedfs", "swift"])  # moto keeps everything in memory
def test_what_a_server_stored_outlives_its_being_killed(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="killed-") as folder:
        first = STARTS[name](Path(folder) / name)
        try:
            first.client().create_bucket(Bucket="kept")
            before = Place(first, "kept", "")
            before.put("k", b"abc")
        finally:
            first.stop()
        second = STARTS[name](Path(folder) / name)
        try:
            assert Place(second, "kept", "").read("k") == b"abc"
        finally:
            second.stop()
