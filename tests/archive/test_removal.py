"""Objects are removed a thousand at a time, and those that stay are named."""

from typing import Any

import pytest
from support.fake_s3 import FakeS3, Refusal

from rlrun.archive.bucket import Bucket
from rlrun.archive.destination import S3Destination
from rlrun.archive.removal import delete
from rlrun.archive.retries import Patience
from rlrun.errors import ArchiveError


def bucket_of(fake: Any) -> Bucket:
    patience = Patience(sleep=lambda _: None)
    return Bucket(S3Destination("bucket", "p"), "the file", lambda _: fake, patience)


def filled(fake: FakeS3, num_objects: int) -> list[str]:
    keys = [f"{number:05}" for number in range(num_objects)]
    fake.objects |= {f"p/{key}": (b"", None) for key in keys}
    return keys


class Partly(FakeS3):
    """Removes all but what it has an error for, once each."""

    def __init__(self, **errors: str) -> None:
        super().__init__()
        self.errors = {f"p/{key[1:]}": code for key, code in errors.items()}

    def _delete_objects(self, Delete: Any) -> Any:
        keys = [one["Key"] for one in Delete["Objects"]]
        failed = [{"Key": k, "Code": self.errors.pop(k)} for k in keys if k in self.errors]
        gone = {one["Key"] for one in failed}
        for key in keys:
            if key not in gone:
                self.objects.pop(key, None)
        return {"Errors": failed} if failed else {}


def test_hundreds_go_with_one_request() -> None:
    fake = FakeS3()
    delete(bucket_of(fake), filled(fake, 2001))
    assert fake.objects == {}
    assert fake.calls == {"delete_objects": 9}


def test_what_may_go_away_is_tried_again_for_those_that_are_left() -> None:
    fake = Partly(_00001="InternalError", _00003="SlowDown", _00004="NoSuchKey")
    delete(bucket_of(fake), filled(fake, 4))
    assert fake.objects == {}
    assert fake.calls == {"delete_objects": 2}


def test_what_stays_is_named() -> None:
    fake = Partly(**{f"_{number:05}": "AccessDenied" for number in range(5)})
    with pytest.raises(ArchiveError, match=r"5 objects of s3://bucket/p cannot be removed: "
                       r"00000 \(AccessDenied\), .*, \.\.\. and 2 more; check"):  # fmt: skip
        delete(bucket_of(fake), filled(fake, 5))


def test_a_store_that_removes_one_at_a_time_is_asked_so() -> None:
    fake = FakeS3()
    keys = filled(fake, 3)
    fake.fail("delete_objects", Refusal("NotImplemented", 501), times=99)
    fake.fail("delete_object", Refusal("NoSuchKey", 404))
    fake.fail("delete_object", Refusal("SlowDown", 503))
    delete(bucket_of(fake), [*keys[1:], "absent"])
    assert len(fake.objects) == 2  # one that is there, and one that the store said is not


def test_a_denial_names_the_deed() -> None:
    fake = FakeS3()
    fake.fail("delete_objects", Refusal("AccessDenied", 403))
    with pytest.raises(ArchiveError, match="cannot remove 2 objects of s3://bucket/p: "):
        delete(bucket_of(fake), filled(fake, 2))
