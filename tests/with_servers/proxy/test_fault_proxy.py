"""What the proxy passes on as it is, and which requests it spoils."""

import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from support.fault_plan import Fault, Kind, Plan, Request
from support.fault_proxy import FaultProxy
from support.tiny_store import DATA, KEY, TinyClient, TinyStore


def test_what_is_put_through_it_is_what_the_server_has(
    client: TinyClient, store: TinyStore
) -> None:
    assert client.ask("PUT", "/bucket/new", DATA)[0] == 200
    assert store.objects["/bucket/new"] == DATA


def test_what_is_read_through_it_is_what_the_server_has(client: TinyClient) -> None:
    assert client.ask("GET", KEY) == (200, DATA)
    assert client.ask("GET", f"{KEY}?chunked") == (200, DATA)


def test_a_head_has_a_length_and_no_body(client: TinyClient) -> None:
    assert client.ask("HEAD", KEY) == (200, b"")
    assert client.ask("GET", KEY) == (200, DATA)


def test_a_chunked_upload_passes_as_it_is(client: TinyClient, store: TinyStore) -> None:
    pieces = iter([DATA[:10], DATA[10:]])
    assert client.ask("PUT", "/bucket/new", pieces)[0] == 200
    assert store.objects["/bucket/new"] == DATA


def test_the_server_reads_the_host_that_the_client_signed(
    client: TinyClient, proxy: FaultProxy, store: TinyStore
) -> None:
    client.ask("GET", KEY)
    assert store.hosts == [urlsplit(proxy.endpoint).netloc]


def test_connections_are_kept_on_both_sides(client: TinyClient, store: TinyStore) -> None:
    for _ in range(5):
        client.ask("GET", KEY)
    assert store.num_connections == 1


def test_a_client_that_waits_to_be_told_to_send_is_told(
    client: TinyClient, proxy: FaultProxy, store: TinyStore
) -> None:
    connection = client.connection
    connection.putrequest("PUT", "/bucket/new")
    connection.putheader("Content-Length", "3")
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(b"abc")
    with connection.getresponse() as answer:
        assert answer.status == 200
    assert store.objects["/bucket/new"] == b"abc"


def test_a_large_upload_is_passed_on_before_it_has_ended(
    client: TinyClient, store: TinyStore
) -> None:
    connection = client.connection
    connection.putrequest("PUT", "/bucket/new")
    connection.putheader("Content-Length", str(8 * 2**20 + 1))
    connection.endheaders()
    connection.send(b"a" * 8 * 2**20)  # would not fit in what lies between, were it kept
    assert store.num_connections == 1
    connection.send(b"b")
    with connection.getresponse() as answer:
        assert answer.status == 200


def test_requests_are_numbered_and_told(client: TinyClient, proxy: FaultProxy) -> None:
    client.ask("PUT", "/bucket/new?partNumber=1&uploadId=u", b"abc")
    client.ask("GET", "/bucket/absent")
    assert proxy.requests == [
        Request(0, "PUT", "/bucket/new", "partNumber=1&uploadId=u", 3, 200),
        Request(1, "GET", "/bucket/absent", "", 0, 404),
    ]


def test_each_of_many_clients_has_its_own_numbers(proxy: FaultProxy, store: TinyStore) -> None:
    def ask_often() -> None:
        mine = TinyClient(proxy.endpoint)
        for _ in range(20):
            assert mine.ask("GET", KEY)[0] == 200
        mine.connection.close()

    threads = [threading.Thread(target=ask_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [request.index for request in proxy.requests] == list(range(80))
    assert len(store.acts) == 80


@pytest.mark.parametrize(
    ("verb", "target", "operation"),
    [
        ("GET", "/bucket?list-type=2&prefix=a", "list"),
        ("GET", "/bucket/?uploads", "list uploads"),
        ("POST", "/bucket?delete", "delete many"),
        ("PUT", "/bucket", "put bucket"),
        ("HEAD", "/bucket", "head bucket"),
        ("GET", "/", "get bucket"),
        ("GET", "/bucket/key", "get"),
        ("HEAD", "/bucket/key", "head"),
        ("PUT", "/bucket/key", "put"),
        ("DELETE", "/bucket/key", "delete"),
        ("POST", "/bucket/key?uploads", "begin upload"),
        ("PUT", "/bucket/key?partNumber=1&uploadId=u", "put part"),
        ("POST", "/bucket/key?uploadId=u", "complete upload"),
        ("DELETE", "/bucket/key?uploadId=u", "abort upload"),
        ("GET", "/bucket/key?uploadId=u", "list parts"),
    ],
)
def test_a_request_tells_what_it_asks_for(verb: str, target: str, operation: str) -> None:
    request = Request(0)
    request.describe(target, verb)
    assert request.operation == operation


# which request


def test_only_the_planned_request_is_spoiled(
    client: TinyClient, fault: Callable[..., None], proxy: FaultProxy
) -> None:
    fault(Kind.ERROR_500, at=1)
    assert [client.ask("GET", KEY)[0] for _ in range(3)] == [200, 500, 200]
    assert [request.applied for request in proxy.requests] == [False, True, False]


def test_a_fault_lasts_as_often_as_planned(client: TinyClient, fault: Callable[..., None]) -> None:
    fault(Kind.ERROR_500, times=2)
    assert [client.ask("GET", KEY)[0] for _ in range(4)] == [500, 500, 200, 200]


def test_a_fault_can_last_for_ever(client: TinyClient, fault: Callable[..., None]) -> None:
    fault(Kind.ERROR_500, at=1, times=None)
    assert [client.ask("GET", KEY)[0] for _ in range(4)] == [200, 500, 500, 500]


def test_a_new_plan_counts_from_0(client: TinyClient, proxy: FaultProxy) -> None:
    client.ask("GET", KEY)
    proxy.restart(Plan([Fault(Kind.ERROR_500, 0)]))
    assert client.ask("GET", KEY)[0] == 500
