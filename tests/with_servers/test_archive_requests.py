"""What the archive asks of a store when nothing is to be done, and to list 1,000 checkpoints."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.archiving import NAME, Access, Models, Push, destination_of, run_of
from support.fault_plan import Plan
from support.fault_proxy import FaultProxy
from support.s3_places import Place
from support.s3_servers import Server

from rlrun.archive import catalog
from rlrun.archive.keys import StepKey

WRITES = ("put", "put part", "begin upload", "complete upload", "delete", "delete many", "post")


def test_a_second_push_of_an_unchanged_run_lists_at_most_twice_and_stores_nothing(
    place: Place, tmp_path: Path, start_proxy: Callable[..., FaultProxy]
) -> None:
    server = place.server
    command = Push(Models(tmp_path / "models", Push), server, tmp_path)
    proxy = start_proxy(server.endpoint)
    access = Access.to(server, proxy.endpoint)
    root, place = command.world(1)
    command.act(root, access.storage(destination_of(place), root))
    proxy.restart(Plan())
    command.act(root, access.storage(destination_of(place), root))
    assert 1 <= proxy.count("list") <= 2
    assert proxy.count(*WRITES) == 0
    assert len(proxy.requests) <= 2
    assert run_of(root).path.is_dir()


def test_a_thousand_checkpoints_are_listed_with_two_requests(
    seaweedfs: Server,
    new_place: Callable[[Server], Place],
    tmp_path: Path,
    start_proxy: Callable[..., FaultProxy],
) -> None:
    place = new_place(seaweedfs)
    wanted = [StepKey(step, "0123456789ab", 1, 10) for step in range(1, 1001)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: place.put(f"{NAME}/{key.manifest}", b""), wanted))
    proxy = start_proxy(place.server.endpoint)
    access = Access.to(place.server, proxy.endpoint)
    found = catalog.read(access.storage(destination_of(place), tmp_path), NAME)
    assert list(found.steps) == wanted
    assert proxy.count("list") == len(proxy.requests) <= 2
