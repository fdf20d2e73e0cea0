"""What carries bytes goes where boto3 goes, signed alike; what comes back reads as with boto3."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.fake_network import Answer, FakeNetwork, Sent, network
from support.fake_s3 import b64

from rlrun.archive import blobs
from rlrun.archive.bodies import PIECE_BYTES, Body, Pieces
from rlrun.archive.credentials import Credentials
from rlrun.archive.s3_errors import Kind, classify

__all__ = ["network"]
boto3 = pytest.importorskip("boto3")
s3_client = pytest.importorskip("rlrun.archive.s3_client")
direct = pytest.importorskip("rlrun.archive.direct")

HERE = Credentials(access_key="A", secret_key="B", endpoint="http://127.0.0.1:9")
MOVED = (
    b'<?xml version="1.0"?><Error><Code>PermanentRedirect</Code><Bucket>bucket</Bucket>'
    b"<Endpoint>bucket.s3.eu-north-1.amazonaws.com</Endpoint></Error>"
)


def connected(credentials: Credentials = HERE, **options: Any) -> Any:
    return s3_client.connect(boto3, credentials, connections=2, **options)


def put(client: Any, data: bytes = b"content", operation: str = "put_object", **more: Any) -> Any:
    body = Body(blobs.of_bytes(data), 0, len(data))
    act = getattr(client, operation)
    return act(Bucket="bucket", Key="a b/ä~+", Body=body, ChecksumSHA256=b64(data), **more)


def described(request: Sent) -> dict[str, str]:
    """Return what a store sees of a request; all but the moment that its signature is of."""
    names = ("x-amz-content-sha256", "x-amz-checksum-sha256", "Content-Length")
    told = {name: str(request.text(name)) for name in names}
    scope = str(request.text("Authorization")).partition(",")[0]
    body = hashlib.sha256(request.content).hexdigest()
    return told | {"url": request.url, "scope": scope, "body": body}


@pytest.mark.parametrize(
    "credentials",
    [
        HERE,
        Credentials(access_key="A", secret_key="B", region="eu-west-1"),
        Credentials(access_key="A", secret_key="B", session_token="C", region="us-west-2"),
    ],
)
def test_an_object_goes_where_boto3_would_send_it(
    network: FakeNetwork, credentials: Credentials
) -> None:
    put(connected(credentials))
    put(connected(credentials, is_plain=True))
    ours, theirs = network.puts
    assert described(ours) == described(theirs)
    if credentials.session_token:
        assert ours.text("X-Amz-Security-Token") == theirs.text("X-Amz-Security-Token") == "C"


def test_a_part_names_its_upload(network: FakeNetwork) -> None:
    data = bytes(PIECE_BYTES + 1)
    answer = put(connected(), data, "upload_part", UploadId="u/1", PartNumber=7)
    [request] = network.puts
    assert request.url.endswith("?partNumber=7&uploadId=u%2F1")
    assert isinstance(request.body, Pieces)
    assert request.headers["Content-Length"] == str(len(data))
    assert answer == {"ETag": '"x"'}


def test_where_boto3_was_redirected_to_is_gone_to(network: FakeNetwork) -> None:
    client = connected(Credentials(access_key="A", secret_key="B", region="eu-west-1"))
    real = network.answer

    def answer(sent: Sent) -> Answer:
        found = real(sent)
        is_moved = sent.method == "GET" and "eu-west-1" in sent.url
        return Answer(301, {"x-amz-bucket-region": "eu-north-1"}, MOVED) if is_moved else found

    network.answer = answer  # type: ignore[method-assign]
    client.list_objects_v2(Bucket="bucket")
    put(client)
    [request] = network.puts
    assert request.url.startswith("https://bucket.s3.eu-north-1.amazonaws.com/")
    assert "/eu-north-1/s3/aws4_request" in request.text("Authorization")


class Moving(FakeNetwork):
    """A bucket in another region than is asked first, which tells so to whoever lists there."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = client
        self.addresses: list[Any] = []  # that were known when somebody was redirected

    def answer(self, sent: Sent) -> Answer:
        found = super().answer(sent)
        if "eu-west-1" not in sent.url:
            return found
        self.addresses.append(self.client._address)
        return Answer(301, {"x-amz-bucket-region": "eu-north-1"}, MOVED)


def test_nobody_goes_where_boto3_is_still_to_be_redirected_from(
    network: FakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connected(Credentials(access_key="A", secret_key="B", region="eu-west-1"))
    moving, together = Moving(client), threading.Barrier(8, timeout=20)
    moving.install(monkeypatch)

    def begin(_: int) -> Any:
        together.wait()
        return put(client)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(begin, range(8))) == [{"ETag": '"x"'}] * 8
    assert len(moving.puts) == 8
    assert all("eu-north-1" in one.url for one in moving.puts)
    assert moving.addresses == [None]  # one thread asked for all


def test_where_a_listing_failed_nothing_is_known(network: FakeNetwork) -> None:
    client = connected()
    real, answers = network.answer, [Answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")]
    network.answer = lambda sent: answers.pop() if answers else real(sent)  # type: ignore[method-assign]
    with pytest.raises(Exception, match="AccessDenied"):
        client.list_objects_v2(Bucket="bucket")
    assert client._address is None
    put(client)
    assert [one.method for one in network.requests] == ["GET", "PUT"]


def test_a_bucket_that_is_signed_for_otherwise_is_left_to_boto3(network: FakeNetwork) -> None:
    client = connected()

    def sign_otherwise(request: Any, **_: Any) -> None:
        scope = request.headers["Authorization"].decode().replace("/s3/", "/s3express/")
        request.headers["Authorization"] = scope

    client.meta.events.register_first("before-send.s3.ListObjectsV2", sign_otherwise)
    assert put(client)["ETag"] == put(client)["ETag"] == '"x"'
    assert client._address is None
    assert [one.method for one in network.requests] == ["GET", "PUT", "PUT"]


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (503, {}, b"<Error><Code>SlowDown</Code></Error>", Kind.TRANSIENT),
        (503, {"Retry-After": "3"}, b"", Kind.TRANSIENT),
        (400, {}, b"<Error><Code>BadDigest</Code></Error>", Kind.DAMAGED),
        (404, {}, b"<Error><Code>NoSuchUpload</Code></Error>", Kind.LOST_UPLOAD),
        (403, {}, b"<Error><Code>ExpiredToken</Code></Error>", Kind.EXPIRED),
        (412, {}, b"<Error><Code>PreconditionFailed</Code></Error>", Kind.CONFLICT),
        (500, {}, b"<html>no XML <", Kind.TRANSIENT),
        (307, {}, b"", Kind.REFUSED),
        (200, {}, b"", Kind.TRANSIENT),  # spoiled: every store gives an ETag
    ],
)
def test_a_bad_answer_is_told_apart_as_boto3s(
    network: FakeNetwork, status: int, headers: dict[str, str], body: bytes, kind: Kind
) -> None:
    network.answers = [Answer(status, headers, body)]
    with pytest.raises(Exception) as caught:
        put(connected())
    problem = classify(caught.value)
    assert problem is not None
    assert problem.kind is kind
    assert problem.retry_after == (3.0 if headers else None)


def test_a_checksum_that_the_store_tells_is_handed_on(network: FakeNetwork) -> None:
    network.answers = [Answer(200, {"ETag": '"y"', "x-amz-checksum-sha256": "AAAA"})]
    assert put(connected()) == {"ETag": '"y"', "ChecksumSHA256": "AAAA"}


def test_without_keys_nothing_is_sent(
    network: FakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connected()
    client.list_objects_v2(Bucket="bucket")
    client._credentials = lambda: None
    with pytest.raises(Exception, match="credentials") as caught:
        put(client)
    problem = classify(caught.value)
    assert problem is not None
    assert problem.kind is Kind.DENIED
    assert network.puts == []


def test_where_a_proxy_is_in_between_boto3_does_it_all(
    network: FakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    remote = Credentials(access_key="A", secret_key="B", region="eu-west-1")
    assert not isinstance(connected(remote), direct.DirectClient)
    monkeypatch.setenv("no_proxy", "amazonaws.com")
    assert isinstance(connected(remote), direct.DirectClient)
