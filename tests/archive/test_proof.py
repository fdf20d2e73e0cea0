from dataclasses import replace
from typing import Any

import pytest

from rlrun.archive import blobs, proof
from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.storage import Stored

BLOB = blobs.of_bytes(b"12345")
OTHER = blobs.of_bytes(b"54321")


class Summing(FolderStorage):
    """Says a checksum of each object, right or wrong; notes whether it was read."""

    checksum: str | None = None
    was_read = False

    def stat(self, key: str) -> Stored | None:
        found = super().stat(key)
        return found and replace(found, checksum=self.checksum)

    def read(self, key: str, start: int = 0) -> Any:
        self.was_read = True
        return super().read(key, start)


@pytest.fixture
def summing(tmp_path: Any) -> Summing:
    storage = Summing(tmp_path)
    storage.put("a", BLOB, lambda _: None)
    return storage


def whole(blob: Any) -> str:
    import base64

    return base64.b64encode(bytes.fromhex(blob.seal.sha256)).decode()


def test_a_checksum_that_the_store_computed_is_enough(summing: Any) -> None:
    summing.checksum = whole(BLOB)
    assert proof.doubt(summing, "a", BLOB.seal) is None
    assert not summing.was_read


def test_a_checksum_that_differs_is_a_doubt(summing: Any) -> None:
    summing.checksum = whole(OTHER)
    assert proof.doubt(summing, "a", BLOB.seal) == "has another checksum than its bytes should"


def test_without_one_the_object_is_read_back(summing: Any) -> None:
    assert proof.doubt(summing, "a", BLOB.seal) is None
    assert summing.was_read
    assert proof.doubt(summing, "a", OTHER.seal) == "has other bytes than were sent"


def test_it_is_read_in_any_case_if_that_is_asked_for(summing: Any) -> None:
    summing.checksum = whole(OTHER)
    (summing.folder / "a").write_bytes(b"54321")
    assert proof.doubt(summing, "a", OTHER.seal, with_data=True) is None
    summing.checksum = whole(BLOB)
    assert proof.doubt(summing, "a", BLOB.seal, with_data=True) == "has other bytes than were sent"


def test_what_is_absent_or_of_another_size_is_not_read(summing: Any) -> None:
    assert proof.doubt(summing, "b", BLOB.seal) == "is not there"
    longer = blobs.of_bytes(b"123456").seal
    assert proof.doubt(summing, "a", longer) == "has 5 bytes, not 6"
    assert not summing.was_read
