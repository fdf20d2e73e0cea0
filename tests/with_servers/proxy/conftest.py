"""Fixtures of this room: a proxy in front of a store that believes everything."""

from collections.abc import Callable, Iterator

import pytest
from support.fault_plan import Fault, Plan
from support.fault_proxy import FaultProxy
from support.tiny_store import DATA, KEY, TinyClient, TinyStore, tiny_store


@pytest.fixture
def store() -> Iterator[TinyStore]:
    with tiny_store() as one:
        one.objects[KEY] = DATA
        yield one


@pytest.fixture
def proxy(store: TinyStore) -> Iterator[FaultProxy]:
    with FaultProxy(store.endpoint, stall_seconds=10) as one:
        yield one


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[TinyClient]:
    one = TinyClient(proxy.endpoint)
    yield one
    one.connection.close()


@pytest.fixture
def fault(proxy: FaultProxy) -> Callable[..., None]:
    """Plan a fault for the first request, or as told."""
    return lambda kind, at=0, times=1: proxy.restart(Plan([Fault(kind, at, times)]))
