"""What each kind of fault does, and that it says so where it does nothing."""

import threading
import time
from collections.abc import Callable
from http.client import HTTPException, IncompleteRead

import pytest
from support.fault_plan import Fault, Kind, Plan, Request
from support.fault_proxy import FaultProxy
from support.tiny_store import DATA, KEY, LISTING, TinyClient, TinyStore


def settled(proxy: FaultProxy, until: Callable[[], bool]) -> None:
    """Wait for what a server does after the client has gone."""
    give_up = time.monotonic() + 5
    while not until() and time.monotonic() < give_up:
        time.sleep(0.005)
    assert until()


def num_flipped_bits(one: bytes, other: bytes) -> int:
    assert len(one) == len(other)
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


def test_refused_requests_reach_nobody(
    client: TinyClient, fault: Callable[..., None], proxy: FaultProxy, store: TinyStore
) -> None:
    fault(Kind.REFUSE)
    with pytest.raises(ConnectionResetError):
        client.ask("GET", KEY)
    assert store.acts == []
    assert proxy.requests == [
        Request(0, "GET", KEY, "", 0, None, Kind.REFUSE, applied=True),
    ]
    assert client.ask("GET", KEY)[0] == 200


def test_a_request_dropped_before_is_not_done(
    client: TinyClient, fault: Callable[..., None], proxy: FaultProxy, store: TinyStore
) -> None:
    fault(Kind.DROP_BEFORE)
    with pytest.raises((HTTPException, ConnectionError)):
        client.ask("PUT", "/bucket/new", DATA)
    assert "/bucket/new" not in store.objects
    assert proxy.requests[0].num_bytes == len(DATA)


def test_a_request_dropped_after_is_done_and_not_answered(
    client: TinyClient, fault: Callable[..., None], store: TinyStore
) -> None:
    fault(Kind.DROP_AFTER)
    with pytest.raises((HTTPException, ConnectionError)):
        client.ask("PUT", "/bucket/new", DATA)
    assert store.objects["/bucket/new"] == DATA


def test_a_reset_in_an_upload_leaves_nothing(
    client: TinyClient, fault: Callable[..., None], proxy: FaultProxy, store: TinyStore
) -> None:
    fault(Kind.RESET_IN_REQUEST_BODY)
    with pytest.raises(ConnectionError):
        client.ask("PUT", "/bucket/new", DATA)
    assert 0 < proxy.requests[0].num_bytes <= len(DATA)
    assert "/bucket/new" not in store.objects


@pytest.mark.parametrize("target", [KEY, f"{KEY}?chunked"])
def test_a_reset_in_a_download_comes_after_the_head(
    client: TinyClient, fault: Callable[..., None], proxy: FaultProxy, target: str
) -> None:
    fault(Kind.RESET_IN_RESPONSE_BODY)
    with pytest.raises((ConnectionResetError, IncompleteRead)):
        client.ask("GET", target)
    assert proxy.requests[0].status == 200


@pytest.mark.parametrize("target", [KEY, f"{KEY}?chunked"])
def test_a_truncated_body_ends_in_good_order_before_its_end(
    client: TinyClient, fault: Callable[..., None], target: str
) -> None:
    fault(Kind.TRUNCATED_BODY)
    with pytest.raises(IncompleteRead) as caught:
        client.ask("GET", target)
    if target == KEY:  # of chunks, the client tells only how many were whole
        assert caught.value.partial == DATA[: len(DATA) // 2]


@pytest.mark.parametrize(("verb", "status"), [("GET", 200), ("HEAD", None), ("PUT", None)])
def test_a_stall_lasts_until_the_client_gives_up(
    client: TinyClient, fault: Callable[..., None], proxy: FaultProxy, verb: str, status: int | None
) -> None:
    fault(Kind.STALL_IN_RESPONSE)
    with pytest.raises(TimeoutError):
        client.ask(verb, KEY, b"" if verb == "PUT" else None)
    assert proxy.requests[0].status == status
    assert proxy.requests[0].applied


def test_a_stall_does_not_outlast_the_proxy(store: TinyStore) -> None:
    with FaultProxy(store.endpoint, Plan([Fault(Kind.STALL_IN_RESPONSE, 0)])) as proxy:
        client = TinyClient(proxy.endpoint)
        client.connection.timeout = 30

        def ask_in_vain() -> None:
            with pytest.raises((HTTPException, OSError)):
                client.ask("HEAD", KEY)

        thread = threading.Thread(target=ask_in_vain)
        thread.start()
        settled(proxy, lambda: bool(proxy.requests and proxy.requests[0].applied))
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (Kind.ERROR_500, 500, b"InternalError"),
        (Kind.SLOW_DOWN_503, 503, b"SlowDown"),
        (Kind.THROTTLED_429, 429, b"TooManyRequests"),
        (Kind.EXPIRED_403, 403, b"ExpiredToken"),
        (Kind.CONFLICT_409, 409, b"OperationAborted"),
    ],
)
def test_an_error_is_answered_in_the_servers_place(
    client: TinyClient, fault: Callable[..., None], store: TinyStore, kind: Kind, status: int,
    code: bytes,
) -> None:  # fmt: skip
    fault(kind)
    answered, body = client.ask("PUT", "/bucket/new", DATA)
    assert answered == status
    assert b"<Code>%b</Code>" % code in body
    assert store.acts == []
    assert client.ask("GET", KEY) == (200, DATA)  # on the same connection


def test_an_error_has_no_body_for_a_head(client: TinyClient, fault: Callable[..., None]) -> None:
    fault(Kind.SLOW_DOWN_503)
    assert client.ask("HEAD", KEY) == (503, b"")
    assert client.ask("GET", KEY) == (200, DATA)


@pytest.mark.parametrize("verb", ["GET", "HEAD"])
def test_what_is_there_is_not_found_once(
    client: TinyClient, fault: Callable[..., None], verb: str
) -> None:
    fault(Kind.NOT_FOUND)
    assert client.ask(verb, KEY)[0] == 404
    assert client.ask(verb, KEY)[0] == 200


def test_a_write_that_was_done_is_answered_as_if_another_had_been_first(
    client: TinyClient, fault: Callable[..., None], store: TinyStore
) -> None:
    fault(Kind.PRECONDITION_412)
    status, body = client.ask("PUT", "/bucket/new", DATA)
    assert status == 412
    assert b"PreconditionFailed" in body
    assert store.objects["/bucket/new"] == DATA


def test_a_bit_flips_on_its_way_up(
    client: TinyClient, fault: Callable[..., None], store: TinyStore
) -> None:
    fault(Kind.FLIP_UP)
    assert client.ask("PUT", "/bucket/new", DATA)[0] == 200
    assert num_flipped_bits(store.objects["/bucket/new"], DATA) == 1


def test_a_bit_of_a_chunk_flips_and_not_its_frame(
    client: TinyClient, fault: Callable[..., None], store: TinyStore
) -> None:
    fault(Kind.FLIP_UP)
    assert client.ask("PUT", "/bucket/new", iter([DATA]))[0] == 200
    assert num_flipped_bits(store.objects["/bucket/new"], DATA) == 1


def test_a_bit_of_a_signed_chunk_flips_and_not_its_frame(
    client: TinyClient, fault: Callable[..., None], store: TinyStore
) -> None:
    fault(Kind.FLIP_UP)
    framed = b"3;chunk-signature=0\r\nabc\r\n0;chunk-signature=0\r\n\r\n"
    length = {"x-amz-decoded-content-length": "3"}
    client.ask("PUT", "/bucket/new", framed, **length)
    assert store.objects["/bucket/new"] == framed.replace(b"abc", b"`bc")


@pytest.mark.parametrize("target", [KEY, f"{KEY}?chunked"])
def test_a_bit_flips_on_its_way_down(
    client: TinyClient, fault: Callable[..., None], store: TinyStore, target: str
) -> None:
    fault(Kind.FLIP_DOWN)
    status, data = client.ask("GET", target)
    assert status == 200
    assert num_flipped_bits(data, DATA) == 1
    assert store.objects[KEY] == DATA


def test_an_etag_is_replaced(client: TinyClient, fault: Callable[..., None]) -> None:
    fault(Kind.WRONG_ETAG)
    assert client.ask("GET", KEY) == (200, DATA)
    assert client.etag == '"0123456789abcdef0123456789abcdef"'
    client.ask("GET", KEY)
    assert client.etag == '"its-own"'


def test_a_stale_listing_is_the_one_before(
    client: TinyClient, fault: Callable[..., None], store: TinyStore
) -> None:
    fault(Kind.STALE_LISTING, at=2)
    before = client.ask("GET", LISTING)
    client.ask("PUT", "/bucket/some/new", b"abc")
    assert client.ask("GET", LISTING) == before
    assert client.ask("GET", LISTING) == (200, b"/bucket/some/key\n/bucket/some/new")


def test_a_first_stale_listing_is_empty(client: TinyClient, fault: Callable[..., None]) -> None:
    fault(Kind.STALE_LISTING)
    status, body = client.ask("GET", LISTING)
    assert status == 200
    assert b"<KeyCount>0</KeyCount>" in body
    assert b"<Prefix>some</Prefix>" in body


def test_a_request_is_delivered_twice_and_answered_once(
    client: TinyClient, fault: Callable[..., None], store: TinyStore
) -> None:
    fault(Kind.DUPLICATE)
    assert client.ask("PUT", "/bucket/new", DATA)[0] == 200
    assert store.acts == ["PUT /bucket/new"] * 2
    assert store.objects["/bucket/new"] == DATA
    assert client.ask("GET", KEY) == (200, DATA)


# what has no meaning


@pytest.mark.parametrize(
    ("kind", "verb", "target", "status"),
    [
        (Kind.RESET_IN_REQUEST_BODY, "GET", KEY, 200),
        (Kind.RESET_IN_RESPONSE_BODY, "HEAD", KEY, 200),
        (Kind.RESET_IN_RESPONSE_BODY, "DELETE", KEY, 204),
        (Kind.TRUNCATED_BODY, "HEAD", KEY, 200),
        (Kind.NOT_FOUND, "PUT", KEY, 200),
        (Kind.NOT_FOUND, "GET", LISTING, 200),
        (Kind.NOT_FOUND, "GET", "/bucket/absent", 404),
        (Kind.PRECONDITION_412, "GET", KEY, 200),
        (Kind.CONFLICT_409, "GET", KEY, 200),
        (Kind.FLIP_UP, "GET", KEY, 200),
        (Kind.FLIP_DOWN, "HEAD", KEY, 200),
        (Kind.FLIP_DOWN, "PUT", KEY, 200),
        (Kind.FLIP_DOWN, "GET", "/bucket/absent", 404),
        (Kind.STALE_LISTING, "GET", KEY, 200),
    ],
)
def test_a_fault_without_meaning_lets_the_request_pass_and_says_so(
    client: TinyClient, fault: Callable[..., None], proxy: FaultProxy, kind: Kind, verb: str,
    target: str, status: int,
) -> None:  # fmt: skip
    fault(kind)
    assert client.ask(verb, target)[0] == status
    assert proxy.requests[0].fault == kind
    assert not proxy.requests[0].applied
    assert proxy.num_applied == 0


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_does_something_to_a_request_of_its_own(
    client: TinyClient, fault: Callable[..., None], proxy: FaultProxy, store: TinyStore, kind: Kind
) -> None:
    uploads = (Kind.RESET_IN_REQUEST_BODY, Kind.FLIP_UP, Kind.PRECONDITION_412, Kind.CONFLICT_409)
    verb, target = ("PUT", KEY) if kind in uploads else ("GET", KEY)
    target = LISTING if kind == Kind.STALE_LISTING else target
    fault(kind)
    try:
        answer = client.ask(verb, target, DATA if verb == "PUT" else None)
        is_silent = kind in (Kind.DUPLICATE, Kind.FLIP_UP, Kind.WRONG_ETAG)
        assert is_silent or answer != (200, DATA)
    except (HTTPException, OSError):
        pass
    assert proxy.num_applied == 1


def test_a_server_that_is_gone_resets_the_client(store: TinyStore) -> None:
    with FaultProxy("http://127.0.0.1:9", Plan()) as proxy, pytest.raises(ConnectionError):
        TinyClient(proxy.endpoint).ask("GET", KEY)
