"""Parts go out several at once and no more, are noted once, and only those that lack."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.fake_s3 import FakeS3, Refusal
from support.storage_contract import PART, DyingBlob, KilledError, some_bytes

from rlrun.archive import blobs
from rlrun.archive.bucket import Bucket, CallError
from rlrun.archive.destination import S3Destination
from rlrun.archive.multipart import Sender
from rlrun.archive.probe import Abilities
from rlrun.archive.retries import Patience
from rlrun.archive.uploads import Uploads
from rlrun.errors import StorageError

DATA = some_bytes(4 * PART + 10)
BLOB = blobs.of_bytes(DATA)
PROVES = Abilities(True, True, True, True)
AT_ONCE = 2


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def sender_of(fake: Any, root: Path, pool: ThreadPoolExecutor,
              abilities: Abilities = PROVES) -> Sender:  # fmt: skip
    patience = Patience(seconds=1, sleep=lambda _: None)
    bucket = Bucket(S3Destination("bucket"), "the file", lambda _: fake, patience)
    uploads = Uploads(root, bucket.endpoint, bucket.place)
    return Sender(bucket, abilities, uploads, pool, AT_ONCE)


def test_no_more_parts_than_allowed_are_on_their_way(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    class Counting(FakeS3):
        now = most = 0
        guard = threading.Lock()

        def __getattr__(self, name: str) -> Any:
            call = super().__getattr__(name)
            if name != "upload_part":
                return call

            def counted(**params: Any) -> Any:
                with self.guard:
                    self.now += 1
                    self.most = max(self.most, self.now)
                try:
                    return call(**params)
                finally:
                    with self.guard:
                        self.now -= 1

            return counted

    fake, noted = Counting(), []
    sender_of(fake, tmp_path, pool).put("x", BLOB, noted.append)
    assert 1 <= fake.most <= AT_ONCE
    assert sorted(noted) == [10, PART, PART, PART, PART]
    assert fake.objects["x"][0] == DATA


def test_a_part_that_fails_for_good_ends_it_and_is_found_again(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    fake = FakeS3()
    fake.fail("upload_part", Refusal("AccessDenied", 403), skip=3, times=9)
    with pytest.raises(CallError):
        sender_of(fake, tmp_path, pool).put("x", BLOB, lambda _: None)
    assert fake.calls["upload_part"] <= 3 + AT_ONCE
    again = FakeS3()
    again.uploads = fake.uploads
    sender_of(again, tmp_path, pool).put("x", BLOB, lambda _: None)
    assert again.objects["x"][0] == DATA
    assert again.calls["upload_part"] == 2
    assert list(tmp_path.iterdir()) == []


def test_without_a_store_that_checks_parts_all_are_sent_again(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    fake = FakeS3(strict=False)
    with pytest.raises(KilledError):
        sender_of(fake, tmp_path, pool, Abilities()).put(
            "x", DyingBlob(BLOB, 3 * PART), lambda _: None
        )
    fake.calls.clear()
    sender_of(fake, tmp_path, pool, Abilities()).put("x", BLOB, lambda _: None)
    assert fake.calls["upload_part"] == 5


def test_a_store_that_knows_no_checksums_gets_a_plain_upload(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    class Plain(FakeS3):
        def _create_multipart_upload(self, Key: str, ChecksumAlgorithm: str = "") -> Any:
            if ChecksumAlgorithm:
                raise Refusal("NotImplemented", 501)
            return super()._create_multipart_upload(Key)

    fake = Plain(strict=False)
    sender_of(fake, tmp_path, pool, Abilities()).put("x", BLOB, lambda _: None)
    assert fake.objects["x"][0] == DATA


def test_a_lost_upload_whose_object_is_another_begins_anew(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    fake, noted = FakeS3(), []
    fake.objects["x"] = (b"something else", None)
    fake.fail("complete_multipart_upload", Refusal("NoSuchUpload", 404))
    sender_of(fake, tmp_path, pool).put("x", BLOB, noted.append)
    assert fake.objects["x"][0] == DATA
    assert sum(noted) == len(DATA)


def test_a_file_that_changed_is_not_tried_again(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    blob = blobs.of_file(path)
    path.write_bytes(DATA[:-1] + b"!")
    fake = FakeS3()
    with pytest.raises(StorageError, match="changed meanwhile"):
        sender_of(fake, tmp_path / "uploads", pool).put("x", blob, lambda _: None)
    assert "x" not in fake.objects


def test_an_upload_that_is_refused_after_an_answer_was_lost_is_looked_for(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    fake = FakeS3()
    fake.fail("complete_multipart_upload", TimeoutError(), acts=True)
    fake.fail("complete_multipart_upload", Refusal("InvalidArgument", 400))
    sender_of(fake, tmp_path, pool).put("x", BLOB, lambda _: None)
    assert fake.objects["x"][0] == DATA
    assert fake.calls["create_multipart_upload"] == 1


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("AccessDenied", 403),
        Refusal("NotImplemented", 501),
        Refusal("MethodNotAllowed", 405),
        Refusal("NoSuchKey", 404),
    ],
    ids=lambda one: str(one),
)
def test_who_may_not_list_the_parts_of_a_killed_upload_begins_it_anew(
    refusal: Refusal, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    fake, noted = FakeS3(), []
    fake.fail("list_parts", refusal, times=99)
    with pytest.raises(KilledError):
        sender_of(fake, tmp_path, pool).put("x", DyingBlob(BLOB, 3 * PART), lambda _: None)
    with pytest.raises(KilledError):  # again, in the upload that was begun then
        sender_of(fake, tmp_path, pool).put("x", DyingBlob(BLOB, 3 * PART), lambda _: None)
    sender_of(fake, tmp_path, pool).put("x", BLOB, noted.append)
    assert fake.objects["x"][0] == DATA
    assert sum(noted) == len(DATA)
    assert len(fake.uploads) == 2  # for a prune
    assert list(tmp_path.iterdir()) == []


def test_keys_that_cannot_begin_an_upload_either_leave_the_killed_one_noted(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    fake = FakeS3()
    with pytest.raises(KilledError):
        sender_of(fake, tmp_path, pool).put("x", DyingBlob(BLOB, 3 * PART), lambda _: None)
    for operation in ("list_parts", "create_multipart_upload"):
        fake.fail(operation, Refusal("AccessDenied", 403))
    with pytest.raises(CallError):
        sender_of(fake, tmp_path, pool).put("x", BLOB, lambda _: None)
    fake.calls.clear()
    sender_of(fake, tmp_path, pool).put("x", BLOB, lambda _: None)
    assert fake.calls["create_multipart_upload"] == 0


def test_a_listing_of_parts_that_fails_otherwise_is_no_reason_to_begin_anew(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    fake = FakeS3()
    with pytest.raises(KilledError):
        sender_of(fake, tmp_path, pool).put("x", DyingBlob(BLOB, 3 * PART), lambda _: None)
    fake.fail("list_parts", Refusal("NoSuchBucket", 404))
    with pytest.raises(CallError):
        sender_of(fake, tmp_path, pool).put("x", BLOB, lambda _: None)
    assert len(fake.uploads) == 1
