"""One request with bytes: it carries its checksum, and nothing else is taken for what was sent."""

import hashlib
from typing import Any

import pytest
from support.fake_s3 import FakeS3, Refusal, b64

from rlrun.archive import blobs
from rlrun.archive.blobs import base64_of
from rlrun.archive.bucket import Bucket, CallError
from rlrun.archive.destination import S3Destination
from rlrun.archive.probe import Abilities
from rlrun.archive.retries import Patience
from rlrun.archive.s3_errors import Kind
from rlrun.archive.sending import Stretch, get, head, holds, put_whole, send
from rlrun.errors import StorageError

DATA = b"content"
BLOB = blobs.of_bytes(DATA)
PROVES = Abilities(True, True, True, True)
ONLY_MD5 = Abilities(refuses_wrong_md5=True)
NOTHING = Abilities()


def bucket_of(fake: Any) -> Bucket:
    patience = Patience(seconds=1, sleep=lambda _: None)
    return Bucket(S3Destination("bucket"), "the file", lambda _: fake, patience)


def stretch(data: bytes, sha256: str = BLOB.seal.sha256) -> Stretch:
    return Stretch(blobs.of_bytes(data), 0, len(data), sha256)


def test_a_hash_is_written_as_s3_does() -> None:
    assert base64_of(hashlib.sha256(DATA).hexdigest()) == b64(DATA)


def test_bytes_go_with_their_checksum_and_md5_where_that_is_all_that_counts() -> None:
    sent: list[dict[str, Any]] = []

    class Recording(FakeS3):
        def _put_object(self, **params: Any) -> Any:
            sent.append(params)
            return super()._put_object(**params)

    for abilities in (PROVES, ONLY_MD5):
        send(bucket_of(Recording()), "put_object", stretch(DATA), abilities, Key="x")
    assert [one["ChecksumSHA256"] for one in sent] == [b64(DATA)] * 2
    assert ["ContentMD5" in one for one in sent] == [False, True]


def test_an_answer_with_another_checksum_is_damage() -> None:
    class Other(FakeS3):
        def _put_object(self, **params: Any) -> Any:
            return {"ETag": "x", "ChecksumSHA256": b64(b"other")}

    with pytest.raises(CallError) as caught:
        send(bucket_of(Other()), "put_object", stretch(DATA), PROVES, Key="x")
    assert caught.value.problem.kind is Kind.DAMAGED


def test_bytes_that_were_damaged_on_the_way_are_sent_again() -> None:
    fake = FakeS3()
    fake.fail("put_object", Refusal("BadDigest", 400), times=2)
    put_whole(bucket_of(fake), "x", BLOB, PROVES)
    assert fake.objects["x"] == (DATA, b64(DATA))


def test_bytes_that_are_not_those_that_were_sealed_are_not_sent_again() -> None:
    fake = FakeS3()
    with pytest.raises(StorageError, match="changed meanwhile"):
        send(bucket_of(fake), "put_object", stretch(b"CONTENT"), PROVES, Key="x")
    assert fake.calls == {"put_object": 1}


def test_a_store_that_tells_nothing_gets_the_bytes_again_rather_than_being_asked() -> None:
    fake = FakeS3(strict=False, echoes=False)
    fake.fail("put_object", TimeoutError(), acts=True)
    put_whole(bucket_of(fake), "x", BLOB, NOTHING)
    assert fake.calls == {"put_object": 2}


@pytest.mark.parametrize("abilities", [PROVES, NOTHING])
@pytest.mark.parametrize(
    ("there", "is_held"),
    [(None, False), (DATA, True), (b"CONTENT", False), (b"longer content", False)],
)
def test_what_a_key_holds_is_seen_by_its_checksum_or_read(
    abilities: Abilities, there: bytes | None, is_held: bool
) -> None:
    fake = FakeS3()
    if there is not None:
        # the checksum is right; a store that is not believed may lie
        fake.objects["x"] = (there, b64(there) if abilities is PROVES else b64(DATA))
    assert holds(bucket_of(fake), "x", BLOB.seal, abilities) == is_held
    assert fake.calls["get_object"] == (abilities is NOTHING and there in (DATA, b"CONTENT"))


def test_an_absent_object_has_no_head_and_no_body() -> None:
    bucket = bucket_of(FakeS3())
    assert head(bucket, "x") is None
    with pytest.raises(CallError):
        get(bucket, "x", 0)
