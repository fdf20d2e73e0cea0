"""The real client: what it sends, and what it never writes down."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest
from support.fake_network import FakeNetwork, network
from support.fake_s3 import b64

from rlrun.archive import blobs
from rlrun.archive.bodies import PIECE_BYTES, Body, Pieces
from rlrun.archive.credentials import Credentials
from rlrun.archive.destination import S3Destination, open_storage
from rlrun.errors import ArchiveError

__all__ = ["network"]
boto3 = pytest.importorskip("boto3")
s3_client = pytest.importorskip("rlrun.archive.s3_client")

SECRETS = ("wJalrXUtnFEMI/K7MDENG", "IQoJb3JpZ2luX2VjEXAMPLETOKEN")
CREDENTIALS = Credentials(
    access_key="AKIDEXAMPLE",
    secret_key=SECRETS[0],
    session_token=SECRETS[1],
    endpoint="http://127.0.0.1:9",
)


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def connected(credentials: Credentials = CREDENTIALS, **options: Any) -> Any:
    return s3_client.connect(boto3, credentials, connections=2, **options)


def put(client: Any, data: bytes, operation: str = "put_object", **params: Any) -> None:
    body = Body(blobs.of_bytes(data), 0, len(data))
    getattr(client, operation)(
        Bucket="bucket", Key="a b/ä", Body=body, ChecksumSHA256=b64(data), **params
    )


def test_a_body_is_signed_by_the_hash_that_is_known_and_sent_at_once(network: FakeNetwork) -> None:
    client = connected()
    put(client, b"content")
    [request] = network.others
    assert request.url == "http://127.0.0.1:9/bucket/a%20b/%C3%A4"
    assert request.body == b"content"
    assert request.text("x-amz-content-sha256") == hashlib.sha256(b"content").hexdigest()
    assert request.text("x-amz-checksum-sha256") == b64(b"content")
    assert request.text("Content-Length") == "7"
    assert request.text("Expect") is None


def test_a_large_body_is_sent_in_pieces_of_known_length(network: FakeNetwork) -> None:
    client = connected()
    data = bytes(PIECE_BYTES + 1)
    put(client, data, "upload_part", UploadId="u", PartNumber=1)
    [request] = network.others
    assert isinstance(request.body, Pieces)
    assert b"".join(request.body) == data
    assert request.text("Content-Length") == str(len(data))
    assert request.text("x-amz-content-sha256") == hashlib.sha256(data).hexdigest()
    assert request.text("Transfer-Encoding") is None
    assert request.text("Expect") is None


def test_a_plain_client_signs_the_body_as_it_is(network: FakeNetwork) -> None:
    client = connected(is_plain=True)
    client.put_object(Bucket="bucket", Key="x", Body=b"content", ChecksumSHA256=b64(b"other"))
    assert network.others[0].text("x-amz-content-sha256") == hashlib.sha256(b"content").hexdigest()


def test_removing_carries_what_older_stores_want(network: FakeNetwork) -> None:
    client = connected()
    client.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "a&b"}], "Quiet": True})
    [request] = network.others
    assert request.text("Content-MD5")
    assert b"a&amp;b" in request.body


def test_a_store_of_aws_is_addressed_as_aws_wants_it(network: FakeNetwork) -> None:
    client = connected(Credentials(access_key="A", secret_key="B", region="eu-west-1"))
    put(client, b"content")
    assert network.others[0].url == "https://bucket.s3.eu-west-1.amazonaws.com/a%20b/%C3%A4"
    assert network.others[0].text("x-amz-content-sha256") == hashlib.sha256(b"content").hexdigest()


ELSEWHERE = "endpoint_url = http://store.example:9000\n"
VIRTUAL = "s3 =\n  addressing_style = virtual\n"


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("endpoint", ["http://store.example:9000", None])
@pytest.mark.parametrize(
    ("style", "url"),
    [
        ("", "http://store.example:9000/bucket/a%20b/%C3%A4"),
        ("s3 =\n  addressing_style = path\n", "http://store.example:9000/bucket/a%20b/%C3%A4"),
        ("s3 =\n  addressing_style = auto\n", "http://store.example:9000/bucket/a%20b/%C3%A4"),
        (VIRTUAL, "http://bucket.store.example:9000/a%20b/%C3%A4"),
    ],
)
def test_another_store_is_addressed_by_paths_unless_the_aws_configuration_says_otherwise(
    style: str,
    url: str,
    endpoint: str | None,
    is_plain: bool,
    network: FakeNetwork,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = "" if endpoint else ELSEWHERE  # there, or by ourselves
    (tmp_path / "config").write_text(f"[default]\nregion = eu-west-1\n{named}{style}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    given = Credentials(access_key="A", secret_key="B", endpoint=endpoint)
    put(connected(given, is_plain=is_plain), b"content")
    assert [one.url for one in network.puts] == [url]


def test_the_client_tries_once_and_notices_a_stall() -> None:
    client = connected()
    assert client.meta.config.retries["total_max_attempts"] == 1
    assert client.meta.config.read_timeout <= 30
    assert client.meta.config.connect_timeout <= 30


def test_nothing_secret_is_written_to_any_log_whatever_is_asked_for(
    caplog: pytest.LogCaptureFixture, network: FakeNetwork
) -> None:
    caplog.set_level(logging.DEBUG)
    client = connected()
    put(client, b"content")
    client.head_object(Bucket="bucket", Key="x")
    assert [record for record in caplog.records if record.levelno < logging.WARNING] == []
    assert not any(secret in caplog.text for secret in SECRETS)


def test_no_error_and_no_file_shows_a_secret(tmp_path: Path) -> None:
    root = tmp_path / "root"
    storage = open_storage(S3Destination("bucket"), CREDENTIALS, root)
    impatient = storage._bucket  # type: ignore[attr-defined]
    from rlrun.archive.retries import Patience

    impatient._patience = Patience(seconds=0, unreachable_seconds=0)
    with pytest.raises(ArchiveError, match=r"http://127\.0\.0\.1:9 cannot be reached") as caught:
        storage.put("object", blobs.of_bytes(b"content"), lambda _: None)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert not any(secret in f"{chain!r} {chain}" for secret in SECRETS)
        chain = chain.__cause__ or chain.__context__
    texts = [path.read_text() for path in root.rglob("*") if path.is_file()]
    assert not any(secret in text for text in [*texts, repr(storage)] for secret in SECRETS)


def test_a_profile_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    storage = open_storage(S3Destination("bucket"), Credentials(profile="nothing"), tmp_path)
    with pytest.raises(ArchiveError, match="cannot connect to s3://bucket"):
        list(storage.list(""))
