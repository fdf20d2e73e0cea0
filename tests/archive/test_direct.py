"""What carries bytes goes where boto3 goes, signed alike; what comes back reads as with boto3."""

import hashlib
import io
from typing import Any

import pytest
from support.fake_s3 import b64

from rlrun.archive import blobs
from rlrun.archive.bodies import PIECE_BYTES, Body, Pieces
from rlrun.archive.credentials import Credentials
from rlrun.archive.s3_errors import Kind, classify

boto3 = pytest.importorskip("boto3")
s3_client = pytest.importorskip("rlrun.archive.s3_client")

HERE = Credentials(access_key="A", secret_key="B", endpoint="http://127.0.0.1:9")
MOVED = (
    b'<?xml version="1.0"?><Error><Code>PermanentRedirect</Code><Bucket>bucket</Bucket>'
    b"<Endpoint>bucket.s3.eu-north-1.amazonaws.com</Endpoint></Error>"
)


class Network:
    """Stands for all of it: keeps the requests, and answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []

    def send(self, request: Any) -> Any:
        from botocore.awsrequest import AWSResponse, HeadersDict

        self.requests.append(request)
        is_put = request.method == "PUT" and self.answers
        status, headers, body = self.answers.pop(0) if is_put else (200, {"ETag": '"x"'}, b"")

        class Raw(io.BytesIO):
            def stream(self, **_: Any) -> Any:
                return iter([self.read()])

        return AWSResponse(request.url, status, HeadersDict(headers), Raw(body))

    @property
    def puts(self) -> list[Any]:
        return [one for one in self.requests if one.method == "PUT"]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    from botocore.httpsession import URLLib3Session

    found = Network()
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(URLLib3Session, "send", lambda _self, request: found.send(request))
    return found


def connected(credentials: Credentials = HERE, **options: Any) -> Any:
    return s3_client.connect(boto3, credentials, connections=2, **options)


def put(client: Any, data: bytes = b"content", operation: str = "put_object", **more: Any) -> Any:
    body = Body(blobs.of_bytes(data), 0, len(data))
    act = getattr(client, operation)
    return act(Bucket="bucket", Key="a b/ä~+", Body=body, ChecksumSHA256=b64(data), **more)


def text(request: Any, name: str) -> str:
    value = request.headers[name]
    return value.decode() if isinstance(value, bytes) else value


def described(request: Any) -> dict[str, str]:
    """Return what a store sees of a request; all but the moment that its signature is of."""
    body = (
        request.body if isinstance(request.body, bytes) else b"".join(iter(request.body.read, b""))
    )
    names = ("x-amz-content-sha256", "x-amz-checksum-sha256", "Content-Length")
    scope = text(request, "Authorization").partition(",")[0]
    told = {name: text(request, name) for name in names}
    return told | {"url": request.url, "scope": scope, "body": hashlib.sha256(body).hexdigest()}


@pytest.mark.parametrize(
    "credentials",
    [
        HERE,
        Credentials(access_key="A", secret_key="B", region="eu-west-1"),
        Credentials(access_key="A", secret_key="B", session_token="C", region="us-west-2"),
    ],
)
def test_an_object_goes_where_boto3_would_send_it(
    network: Network, credentials: Credentials
) -> None:
    put(connected(credentials))
    put(connected(credentials, is_plain=True))
    ours, theirs = network.puts
    assert described(ours) == described(theirs)
    if credentials.session_token:
        assert text(ours, "X-Amz-Security-Token") == text(theirs, "X-Amz-Security-Token") == "C"


def test_boto3_accepts_the_signature_as_its_own(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same request, signed by botocore from the body, has the same signature."""
    from botocore import auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Keys

    put(connected())
    [sent] = network.puts
    names = sent.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    headers = {name: text(sent, name) for name in names.split(";") if name in sent.headers}
    again = AWSRequest("PUT", sent.url, data=sent.body, headers=headers)
    monkeypatch.setattr(
        auth, "get_current_datetime", lambda *_, **__: _moment(text(sent, "X-Amz-Date"))
    )
    auth.S3SigV4Auth(Keys("A", "B"), "s3", "us-east-1").add_auth(again)
    assert again.headers["Authorization"] == sent.headers["Authorization"]


def _moment(stamp: str) -> Any:
    from datetime import UTC, datetime

    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def test_a_part_names_its_upload(network: Network) -> None:
    data = bytes(PIECE_BYTES + 1)
    answer = put(connected(), data, "upload_part", UploadId="u/1", PartNumber=7)
    [request] = network.puts
    assert request.url.endswith("?partNumber=7&uploadId=u%2F1")
    assert isinstance(request.body, Pieces)
    assert request.headers["Content-Length"] == str(len(data))
    assert answer == {"ETag": '"x"'}


def test_where_boto3_was_redirected_to_is_gone_to(network: Network) -> None:
    client = connected(Credentials(access_key="A", secret_key="B", region="eu-west-1"))
    real = network.send

    def send(request: Any) -> Any:
        answer = real(request)
        if request.method == "GET" and "eu-west-1" in request.url:
            answer.status_code, answer.headers["x-amz-bucket-region"] = 301, "eu-north-1"
            answer._content = MOVED
        return answer

    network.send = send  # type: ignore[method-assign]
    client.list_objects_v2(Bucket="bucket")
    put(client)
    [request] = network.puts
    assert request.url.startswith("https://bucket.s3.eu-north-1.amazonaws.com/")
    assert "/eu-north-1/s3/aws4_request" in text(request, "Authorization")


def test_a_bucket_that_is_signed_for_otherwise_is_left_to_boto3(network: Network) -> None:
    client = connected()

    def sign_otherwise(request: Any, **_: Any) -> None:
        scope = text(request, "Authorization").replace("/s3/", "/s3express/")
        request.headers["Authorization"] = scope

    client.meta.events.register_first("before-send.s3.ListObjectsV2", sign_otherwise)
    assert put(client)["ETag"] == '"x"'
    assert client._address is None
    assert len(network.puts) == 1


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
    network: Network, status: int, headers: dict[str, str], body: bytes, kind: Kind
) -> None:
    network.answers = [(status, headers, body)]
    with pytest.raises(Exception) as caught:
        put(connected())
    problem = classify(caught.value)
    assert problem is not None
    assert problem.kind is kind
    assert problem.retry_after == (3.0 if headers else None)


def test_a_checksum_that_the_store_tells_is_handed_on(network: Network) -> None:
    network.answers = [(200, {"ETag": '"y"', "x-amz-checksum-sha256": "AAAA"}, b"")]
    assert put(connected()) == {"ETag": '"y"', "ChecksumSHA256": "AAAA"}


def test_without_keys_nothing_is_sent(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connected()
    client.list_objects_v2(Bucket="bucket")
    client._credentials = lambda: None
    with pytest.raises(Exception, match="credentials") as caught:
        put(client)
    problem = classify(caught.value)
    assert problem is not None
    assert problem.kind is Kind.DENIED
    assert network.puts == []
