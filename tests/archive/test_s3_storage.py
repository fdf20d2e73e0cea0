"""S3 as a store keeps the contract of all stores, and settles what is unclear by looking."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_s3 import FakeS3, Refusal, b64
from support.storage_contract import *  # noqa: F403
from support.storage_contract import got, put, some_bytes

from rlrun.archive import blobs
from rlrun.archive.credentials import Credentials
from rlrun.archive.destination import S3Destination
from rlrun.archive.retries import Patience
from rlrun.archive.s3_storage import S3Storage
from rlrun.errors import ArchiveError, InterruptedReadError

IMPATIENT = Patience(sleep=lambda _: None)
STORES = {
    "strict": lambda: FakeS3(),
    "tells of parts": lambda: FakeS3(tells_parts=True),
    "credulous": lambda: FakeS3(strict=False),
    "silent": lambda: FakeS3(strict=False, echoes=False),
}


def storage_of(fake: FakeS3, root: Path, patience: Patience = IMPATIENT) -> S3Storage:
    destination = S3Destination("bucket", "some/prefix")
    return S3Storage(
        destination, Credentials(), root, client_maker=lambda _: fake, patience=patience
    )


@pytest.fixture(params=STORES.values(), ids=STORES)
def fake(request: pytest.FixtureRequest) -> FakeS3:
    make: Callable[[], FakeS3] = request.param
    return make()


@pytest.fixture
def storage(fake: FakeS3, tmp_path: Path) -> S3Storage:
    return storage_of(fake, tmp_path)


@pytest.fixture
def strict() -> FakeS3:
    return FakeS3()


@pytest.fixture
def on_strict(strict: FakeS3, tmp_path: Path) -> S3Storage:
    storage = storage_of(strict, tmp_path)
    assert storage.has_checksums()
    strict.calls.clear()
    return storage


def test_a_store_that_only_repeats_a_checksum_is_not_believed(tmp_path: Path) -> None:
    storage = storage_of(FakeS3(strict=False), tmp_path)
    put(storage, "object", b"content")
    stored = storage.stat("object")
    assert stored is not None
    assert stored.checksum is None


def test_a_small_object_takes_one_request(strict: FakeS3, on_strict: S3Storage) -> None:
    put(on_strict, "object", b"content")
    assert strict.calls == {"put_object": 1}


def test_listing_asks_for_a_page_a_time_and_tries_nothing(strict: FakeS3, tmp_path: Path) -> None:
    for number in range(2001):
        strict.objects[f"some/prefix/{number:04}"] = (b"", None)
    strict.fail("list_objects_v2", Refusal("SlowDown", 503), skip=1)
    assert len(list(storage_of(strict, tmp_path).list(""))) == 2001
    assert strict.calls == {"list_objects_v2": 4}


def test_a_put_whose_answer_was_lost_is_looked_for_not_repeated(
    strict: FakeS3, on_strict: S3Storage
) -> None:
    strict.fail("put_object", TimeoutError(), acts=True)
    assert put(on_strict, "object", b"content") == 7
    assert strict.calls == {"put_object": 1, "head_object": 1}


@pytest.mark.parametrize("code", ["PreconditionFailed", "OperationAborted", "SlowDown"])
def test_a_put_that_did_not_arrive_is_repeated(
    strict: FakeS3, on_strict: S3Storage, code: str
) -> None:
    strict.fail("put_object", Refusal(code, 409), times=3)
    put(on_strict, "object", b"content")
    assert got(on_strict, "object") == b"content"


@pytest.mark.parametrize(
    "error", [TimeoutError(), ConnectionResetError(), Refusal("InternalError", 500)]
)
@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize(
    "operation", ["create_multipart_upload", "upload_part", "complete_multipart_upload"]
)
def test_an_upload_is_whole_whatever_fails_once(
    fake: FakeS3, storage: S3Storage, operation: str, acts: bool, error: Exception
) -> None:
    storage.has_checksums()
    data = some_bytes(3 * 2**23 + 1)
    fake.fail(operation, error, acts=acts)
    assert put(storage, "large", data) == len(data)
    assert got(storage, "large") == data


def test_an_upload_that_the_store_lost_begins_anew(strict: FakeS3, on_strict: S3Storage) -> None:
    strict.fail("upload_part", Refusal("NoSuchUpload", 404), skip=2)
    data = some_bytes(3 * 2**23 + 1)
    assert put(on_strict, "large", data) == len(data)
    assert strict.calls["create_multipart_upload"] == 2


def test_an_upload_that_is_complete_although_the_answer_was_lost_is_not_sent_again(
    strict: FakeS3, on_strict: S3Storage
) -> None:
    strict.fail("complete_multipart_upload", TimeoutError(), acts=True)
    put(on_strict, "large", some_bytes(2**23 + 1))
    assert strict.calls["upload_part"] == 2
    assert strict.calls["create_multipart_upload"] == 1


def test_an_upload_that_is_lost_for_good_ends_with_a_sentence(
    strict: FakeS3, on_strict: S3Storage
) -> None:
    strict.fail("complete_multipart_upload", Refusal("NoSuchUpload", 404), times=99)
    with pytest.raises(ArchiveError, match=r"cannot store s3://bucket/some/prefix/large: the store "
                       "does not know the upload any more"):  # fmt: skip
        put(on_strict, "large", some_bytes(2**23 + 1))


@pytest.mark.parametrize("tells_parts", [True, False])
def test_a_part_that_is_not_the_one_that_was_accepted_is_sent_again(
    tmp_path: Path, tells_parts: bool
) -> None:
    fake = FakeS3(tells_parts=tells_parts)
    storage = storage_of(fake, tmp_path)
    fake.fail("complete_multipart_upload", Refusal("AccessDenied", 403), skip=1)  # the trial's
    data = some_bytes(3 * 2**23)
    with pytest.raises(ArchiveError):
        put(storage, "large", data)
    [upload] = fake.uploads.values()
    upload.parts[2] = some_bytes(2**23, seed=1)
    fake.calls.clear()
    put(storage_of(fake, tmp_path), "large", data)
    assert fake.calls["upload_part"] == 1
    assert got(storage, "large") == data


def test_a_denial_is_not_tried_again_and_names_the_way_out(
    strict: FakeS3, on_strict: S3Storage
) -> None:
    strict.fail("put_object", Refusal("AccessDenied", 403), times=9)
    with pytest.raises(ArchiveError, match="refuses these credentials"):
        put(on_strict, "object", b"content")
    assert strict.calls == {"put_object": 1}


def test_expired_credentials_are_renewed_once(tmp_path: Path) -> None:
    fake, made = FakeS3(), []
    destination = S3Destination("bucket")

    def make(is_plain: bool) -> FakeS3:
        made.append(is_plain)
        return fake

    storage = S3Storage(destination, Credentials(), tmp_path, client_maker=make, patience=IMPATIENT)
    fake.fail("list_objects_v2", Refusal("ExpiredToken", 400))
    assert list(storage.list("")) == []
    assert made == [False, False]
    fake.fail("list_objects_v2", Refusal("ExpiredToken", 400), times=2)
    with pytest.raises(ArchiveError, match="the credentials have expired"):
        list(storage.list(""))


def test_a_file_that_changed_since_it_was_sealed_is_named_as_such(
    on_strict: S3Storage, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    blob = blobs.of_file(path)
    path.write_bytes(b"another")
    with pytest.raises(Exception, match="changed meanwhile"):
        on_strict.put("object", blob, lambda _: None)


def test_a_file_that_became_shorter_is_named_as_such(on_strict: S3Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    blob = blobs.of_file(path)
    path.write_bytes(b"")
    with pytest.raises(Exception, match="became shorter"):
        on_strict.put("object", blob, lambda _: None)


def test_a_body_that_breaks_off_can_be_read_on(strict: FakeS3, on_strict: S3Storage) -> None:
    data = some_bytes(5 * 2**20)
    put(on_strict, "object", data)
    strict.broken_reads = 1
    begin: list[bytes] = []
    with on_strict.read("object") as chunks, pytest.raises(InterruptedReadError, match="broke off"):
        begin.extend(chunks)
    assert b"".join(begin) == data[: len(data) // 2]
    assert b"".join(begin) + got(on_strict, "object", len(data) // 2) == data


def test_a_range_that_is_ignored_is_no_range(strict: FakeS3, on_strict: S3Storage) -> None:
    put(on_strict, "object", b"content")
    whole = strict.get_object

    class Ignoring(FakeS3):
        def _get_object(self, Key: str, Range: str = "") -> object:
            return whole(Bucket="bucket", Key=Key) | {"ContentRange": None}

    with pytest.raises(ArchiveError, match="a range is ignored"):
        got(storage_of(Ignoring(), Path("unused")), "object", 2)


def test_a_put_into_a_store_that_stays_away_ends_when_patience_does(tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    fake = FakeS3()
    patience = Patience(clock=lambda: now[0], sleep=sleep)
    storage = storage_of(fake, tmp_path, patience)
    storage.has_checksums()
    fake.fail("put_object", TimeoutError(), times=10**6)
    with pytest.raises(ArchiveError, match=r"gives no good answer \(TimeoutError\); nothing local"):
        put(storage, "object", b"content")
    assert 119 < now[0] < 125


def test_what_the_wrong_bytes_are_told_by(strict: FakeS3, on_strict: S3Storage) -> None:
    put(on_strict, "object", b"content")
    strict.objects["some/prefix/object"] = (b"CONTENT", b64(b"CONTENT"))
    stored = on_strict.stat("object")
    assert stored is not None
    assert not blobs.of_bytes(b"content").seal.is_proved_by(stored.checksum)
