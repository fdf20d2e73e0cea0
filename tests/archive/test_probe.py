"""A store is believed what it was seen to do, for 30 days; a disturbance decides nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.fake_s3 import FakeS3, Refusal

from rlrun.archive import probe
from rlrun.archive.bucket import Bucket
from rlrun.archive.destination import S3Destination
from rlrun.archive.probe import Abilities
from rlrun.archive.retries import Patience
from rlrun.errors import ArchiveError

ALL = Abilities(True, True, True, True, False)
OPERATIONS = [
    "put_object",
    "head_object",
    "create_multipart_upload",
    "upload_part",
    "complete_multipart_upload",
    "delete_object",
]


def bucket_of(fake: Any, name: str = "bucket") -> Bucket:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    patience = Patience(clock=lambda: now[0], sleep=sleep)
    return Bucket(S3Destination(name, "p"), "the file", lambda _: fake, patience)


class NoParts(FakeS3):
    """Strict on whole objects, and without uploads in parts."""

    def _create_multipart_upload(self, **_: Any) -> Any:
        raise Refusal("NotImplemented", 501)


class CredulousWithParts(FakeS3):
    """Strict on whole objects; a part may be anything."""

    def _upload_part(self, **params: Any) -> Any:
        self.strict = False
        try:
            return super()._upload_part(**params)
        finally:
            self.strict = True


class Liar(FakeS3):
    """Refuses what is wrong, and tells another checksum later."""

    def _head_object(self, **params: Any) -> Any:
        return super()._head_object(**params) | {"ChecksumSHA256": "AAAA"}


@pytest.mark.parametrize(
    ("fake", "found", "proves", "wants_md5"),
    [
        (FakeS3(), ALL, True, False),
        (FakeS3(strict=False), Abilities(False, False, True, False, True), False, True),
        (FakeS3(strict=False, echoes=False), Abilities(refuses_wrong_md5=True), False, True),
        (NoParts(), Abilities(True, False, True, False, True), False, True),
        (CredulousWithParts(), Abilities(True, False, True, True, True), False, True),
        (Liar(), Abilities(True, True, False, False, False), False, False),
    ],
)
def test_what_a_store_does_is_seen(
    fake: FakeS3, found: Abilities, proves: bool, wants_md5: bool
) -> None:
    abilities = probe.probe(bucket_of(fake))
    assert abilities == found
    assert (abilities.proves, abilities.wants_md5) == (proves, wants_md5)
    assert fake.objects == {}


def test_nothing_is_believed_before_it_was_seen() -> None:
    assert not Abilities().proves
    assert not Abilities().wants_md5


@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("skip", [0, 1, 2])
@pytest.mark.parametrize(
    "error", [TimeoutError(), Refusal("SlowDown", 503), Refusal("BadDigest", 400)]
)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("strict", [True, False])
def test_a_disturbance_never_makes_a_store_believed_and_rarely_doubted(
    strict: bool, operation: str, error: Exception, skip: int, acts: bool
) -> None:
    fake = FakeS3(strict=strict)
    fake.fail(operation, error, skip=skip, acts=acts)
    found = probe.probe(bucket_of(fake))
    assert found.proves == strict


def test_a_store_that_does_not_answer_is_not_remembered(tmp_path: Path) -> None:
    fake = FakeS3()
    fake.fail("put_object", TimeoutError(), times=10**6)
    with pytest.raises(ArchiveError, match="cannot find out what the store of s3://bucket/p can"):
        probe.remembered(bucket_of(fake), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert probe.remembered(bucket_of(FakeS3()), tmp_path) == ALL


def test_credentials_that_may_not_store_see_nothing_and_nothing_is_remembered(
    tmp_path: Path,
) -> None:
    fake = FakeS3()
    fake.fail("put_object", Refusal("AccessDenied", 403), times=99)
    assert probe.remembered(bucket_of(fake), tmp_path) == Abilities()
    assert list(tmp_path.iterdir()) == []


def test_what_was_seen_is_remembered_for_30_days(tmp_path: Path) -> None:
    day = 86400.0
    assert probe.remembered(bucket_of(FakeS3()), tmp_path, lambda: 100 * day) == ALL
    changed = FakeS3(strict=False)
    assert probe.remembered(bucket_of(changed), tmp_path, lambda: 129.9 * day) == ALL
    assert changed.calls == {}
    assert not probe.remembered(bucket_of(changed), tmp_path, lambda: 130 * day).proves
    assert not probe.remembered(bucket_of(FakeS3()), tmp_path, lambda: 131 * day).proves
    assert probe.remembered(bucket_of(FakeS3()), tmp_path, lambda: 100 * day) == ALL  # clock set


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"bucket": "other"},
        {"endpoint": "https://other"},
        {"found": {"proves": True}},
        {"found": {"refuses_wrong_object": "yes"}},
        {"found_at": "today"},
    ],
)
def test_a_memory_of_something_else_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    probe.remembered(bucket_of(FakeS3()), tmp_path)
    [path] = tmp_path.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    fake = FakeS3()
    assert probe.remembered(bucket_of(fake), tmp_path) == ALL
    assert fake.calls["put_object"] > 0


def test_a_memory_that_is_torn_or_cannot_be_written_is_none(tmp_path: Path) -> None:
    probe.remembered(bucket_of(FakeS3()), tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:20])
    assert probe.remembered(bucket_of(FakeS3()), tmp_path) == ALL
    assert probe.remembered(bucket_of(FakeS3()), path) == ALL  # a file is no folder
