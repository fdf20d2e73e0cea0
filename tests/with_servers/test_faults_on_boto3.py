"""What boto3 makes of each fault in front of a real server: the proxy's words are those of S3."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError, ReadTimeoutError
from support.fault_plan import Fault, Kind, Plan
from support.fault_proxy import FaultProxy
from support.s3_places import Place
from support.s3_servers import Server

DATA = bytes(range(256)) * 800
READ_SECONDS = 0.5
RETRIED = (  # by boto3 itself, whatever the request is
    Kind.REFUSE,
    Kind.DROP_BEFORE,
    Kind.DROP_AFTER,
    Kind.ERROR_500,
    Kind.SLOW_DOWN_503,
    Kind.THROTTLED_429,
)


class Spoiled:
    """A place with one object, reached through a proxy by a client that tries three times."""

    def __init__(self, place: Place, proxy: FaultProxy) -> None:
        self.place, self.proxy = place, proxy
        self._client = place.server.client(
            endpoint=proxy.endpoint,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        self._where = {"Bucket": place.bucket, "Key": place.full("k")}
        place.put("k", DATA)

    def plan(self, kind: Kind) -> None:
        self.proxy.restart(Plan([Fault(kind, 0)]))

    def put(self) -> Any:
        return self._client.put_object(**self._where, Body=DATA)

    def read(self) -> bytes:
        data: bytes = self._client.get_object(**self._where)["Body"].read()
        return data

    def size(self) -> int:
        size: int = self._client.head_object(**self._where)["ContentLength"]
        return size

    def num_listed(self) -> int:
        number: int = self._client.list_objects_v2(
            Bucket=self.place.bucket, Prefix=self.place.full("")
        )["KeyCount"]
        return number

    def uploads(self) -> list[Any]:
        answer = self._client.list_multipart_uploads(Bucket=self.place.bucket)
        uploads: list[Any] = answer.get("Uploads", [])
        return uploads


@pytest.fixture
def spoiled(
    seaweedfs: Server,
    new_place: Callable[[Server], Place],
    start_proxy: Callable[..., FaultProxy],
) -> Iterator[Spoiled]:
    return Spoiled(new_place(seaweedfs), start_proxy(seaweedfs.endpoint))


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    code: str = caught.value.response["Error"]["Code"]
    return code


@pytest.mark.parametrize("kind", RETRIED)
def test_what_goes_away_is_tried_again(spoiled: Spoiled, kind: Kind) -> None:
    calls = {spoiled.put: None, spoiled.read: DATA, spoiled.size: len(DATA), spoiled.num_listed: 1}
    for call, expected in calls.items():
        spoiled.plan(kind)
        answer = call()
        assert expected is None or answer == expected
        assert [request.applied for request in spoiled.proxy.requests] == [True, False]


def test_a_reset_upload_is_sent_again(spoiled: Spoiled) -> None:
    spoiled.plan(Kind.RESET_IN_REQUEST_BODY)
    spoiled.put()
    assert spoiled.proxy.count("put") == 2
    assert spoiled.place.read("k") == DATA


@pytest.mark.parametrize("kind", [Kind.RESET_IN_RESPONSE_BODY, Kind.TRUNCATED_BODY])
def test_a_download_that_breaks_off_is_an_error_of_the_connection(
    spoiled: Spoiled, kind: Kind
) -> None:
    spoiled.plan(kind)
    with pytest.raises(HTTPClientError):
        spoiled.read()
    assert spoiled.proxy.num_applied == 1


def test_a_download_that_stalls_times_out(spoiled: Spoiled) -> None:
    spoiled.plan(Kind.STALL_IN_RESPONSE)
    with pytest.raises(ReadTimeoutError):
        spoiled.read()


def test_an_answer_that_stalls_is_asked_for_again(spoiled: Spoiled) -> None:
    spoiled.plan(Kind.STALL_IN_RESPONSE)
    assert spoiled.size() == len(DATA)
    assert spoiled.proxy.count("head") == 2


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.EXPIRED_403, "ExpiredToken"),
        (Kind.PRECONDITION_412, "PreconditionFailed"),
        (Kind.CONFLICT_409, "OperationAborted"),
        (Kind.FLIP_UP, "BadDigest"),  # said by the server, not by the proxy
    ],
)
def test_what_does_not_go_away_is_told_at_once(spoiled: Spoiled, kind: Kind, code: str) -> None:
    spoiled.plan(kind)
    assert code_of(spoiled.put) == code
    assert spoiled.proxy.count("put") == 1


def test_what_is_there_can_be_not_found(spoiled: Spoiled) -> None:
    spoiled.plan(Kind.NOT_FOUND)
    assert code_of(spoiled.read) == "NoSuchKey"
    spoiled.plan(Kind.NOT_FOUND)
    assert code_of(spoiled.size) == "404"


def test_a_listing_can_miss_what_is_there(spoiled: Spoiled) -> None:
    spoiled.plan(Kind.STALE_LISTING)
    assert spoiled.num_listed() == 0
    assert spoiled.num_listed() == 1


def test_an_empty_listing_of_uploads_can_be_read(spoiled: Spoiled) -> None:
    spoiled.plan(Kind.STALE_LISTING)
    assert spoiled.uploads() == []
    assert spoiled.proxy.num_applied == 1


def test_a_wrong_etag_is_believed(spoiled: Spoiled) -> None:
    spoiled.plan(Kind.WRONG_ETAG)
    told = spoiled.put()["ETag"]
    assert told != spoiled.place.client.head_object(
        Bucket=spoiled.place.bucket, Key=spoiled.place.full("k")
    )["ETag"]  # fmt: skip


def test_a_put_delivered_twice_is_one_object(spoiled: Spoiled) -> None:
    spoiled.plan(Kind.DUPLICATE)
    spoiled.put()
    assert spoiled.place.read("k") == DATA
    assert spoiled.place.keys() == ["k"]
