"""Calls on a bucket: keys are below the prefix, and each failure is one sentence."""

from typing import Any

import pytest
from support.fake_s3 import FakeS3, Refusal

from rlrun.archive.bucket import Bucket, CallError
from rlrun.archive.destination import S3Destination
from rlrun.archive.retries import Patience
from rlrun.archive.s3_errors import Kind
from rlrun.errors import ArchiveError, MissingObjectError


def bucket_of(fake: Any, prefix: str = "some/prefix") -> Bucket:
    destination = S3Destination("bucket", prefix)
    return Bucket(destination, "the file", lambda _: fake, Patience(sleep=lambda _: None))


def test_keys_are_below_the_prefix() -> None:
    bucket, top = bucket_of(FakeS3()), bucket_of(FakeS3(), "")
    assert bucket.full("a/b") == "some/prefix/a/b"
    assert bucket.short("some/prefix/a/b") == "a/b"
    assert (top.full("a"), top.short("a"), top.full_prefix("")) == ("a", "a", "")
    assert bucket.full_prefix("a/") == "some/prefix/a/"


def test_a_key_that_is_too_long_or_leads_elsewhere_is_refused() -> None:
    bucket = bucket_of(FakeS3(), "p")
    assert len(bucket.full("x" * 1022)) == 1024
    for key in ("x" * 1023, "ä" * 512, "a/./b", "..", ""):
        with pytest.raises(ArchiveError, match="cannot be the key"):
            bucket.full(key)


def test_a_call_is_tried_again_and_its_failure_is_a_sentence() -> None:
    fake = FakeS3()
    fake.fail("delete_object", Refusal("SlowDown", 503), times=3)
    bucket_of(fake).call("delete_object", "try", Key="x")
    fake.fail("delete_object", Refusal("NoSuchBucket", 404))
    with pytest.raises(ArchiveError, match="cannot try: there is no bucket 'bucket' at https://st"):
        bucket_of(fake).call("delete_object", "try", Key="x")
    with pytest.raises(MissingObjectError, match="cannot look: it is not there"):
        bucket_of(fake).call("head_object", "look", Key="x", ChecksumMode="ENABLED")


def test_one_try_tells_what_failed() -> None:
    fake = FakeS3()
    fake.fail("delete_object", Refusal("SlowDown", 503))
    with pytest.raises(CallError) as caught:
        bucket_of(fake).try_once("delete_object", Key="x")
    assert caught.value.problem.kind is Kind.TRANSIENT


def test_what_is_not_the_stores_fault_is_raised_as_it_is() -> None:
    fake = FakeS3()
    fake.fail("delete_object", KeyError("a defect"))
    with pytest.raises(KeyError):
        bucket_of(fake).call("delete_object", "try", Key="x")


def test_a_client_that_cannot_be_made_is_a_sentence() -> None:
    def fail(_: bool) -> Any:
        raise ValueError("Invalid endpoint: secret")

    bucket = Bucket(S3Destination("bucket"), "the file", fail, Patience())
    with pytest.raises(ArchiveError, match="cannot connect to s3://bucket: the AWS conf") as caught:
        bucket.client()
    assert "secret" not in str(caught.value)


def test_the_client_is_made_once_and_anew_when_it_was_closed() -> None:
    made: list[bool] = []

    def make(is_plain: bool) -> FakeS3:
        made.append(is_plain)
        return FakeS3()

    bucket = Bucket(S3Destination("bucket"), "the file", make, Patience())
    assert bucket.client() is bucket.client()
    assert bucket.client(is_plain=True) is not bucket.client()
    bucket.close()
    bucket.client()
    assert made == [False, True, False]
