"""The journal of uploads finds again what was begun, and never stands in the way."""

from pathlib import Path

import pytest
from support.calls import recorded

from rlrun.archive import blobs
from rlrun.archive.uploads import Upload, Uploads

SEAL = blobs.of_bytes(b"content").seal
OTHER = blobs.of_bytes(b"other").seal


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", "https://store.example", "s3://bucket/prefix")


def test_what_was_begun_is_found_again_with_its_parts(uploads: Uploads, tmp_path: Path) -> None:
    assert uploads.find("key", SEAL) is None
    uploads.begin("key", SEAL, "id-1")
    uploads.accepted("key", SEAL, 2, '"etag"')
    uploads.accepted("key", SEAL, 1, '"other"')
    again = Uploads(tmp_path / "uploads", "https://store.example", "s3://bucket/prefix")
    assert again.find("key", SEAL) == Upload("id-1", {1: '"other"', 2: '"etag"'})


def test_another_key_content_place_or_store_is_another_upload(
    uploads: Uploads, tmp_path: Path
) -> None:
    uploads.begin("key", SEAL, "id-1")
    assert uploads.find("other", SEAL) is None
    assert uploads.find("key", OTHER) is None
    for endpoint, place in (
        ("https://other", "s3://bucket/prefix"),
        ("https://store.example", "x"),
    ):
        assert Uploads(tmp_path / "uploads", endpoint, place).find("key", SEAL) is None


def test_a_new_beginning_forgets_the_parts_of_the_last(uploads: Uploads) -> None:
    uploads.begin("key", SEAL, "id-1")
    uploads.accepted("key", SEAL, 1, "etag")
    uploads.begin("key", SEAL, "id-2")
    assert uploads.find("key", SEAL) == Upload("id-2")


def test_what_is_over_leaves_nothing(uploads: Uploads, tmp_path: Path) -> None:
    uploads.begin("key", SEAL, "id-1")
    uploads.forget("key", SEAL)
    uploads.forget("key", SEAL)
    uploads.accepted("key", SEAL, 1, "etag")  # the last part of another process
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_beginning_is_durable_before_it_returns(uploads: Uploads) -> None:
    with recorded() as calls:
        uploads.begin("key", SEAL, "id-1")
    names = [call.split()[0] if isinstance(call, str) else call[0] for call in calls]
    assert names.index("fsync") < names.index("rename") < len(names) - 1
    assert names[-1] == "fsync"


@pytest.mark.parametrize("content", [b"", b"torn", b"{}\n", b"\xff\n"])
def test_a_journal_that_is_not_legible_is_none(uploads: Uploads, content: bytes) -> None:
    uploads.begin("key", SEAL, "id-1")
    uploads.path("key", SEAL).write_bytes(content)
    assert uploads.find("key", SEAL) is None


def test_a_torn_note_costs_only_that_note(uploads: Uploads) -> None:
    uploads.begin("key", SEAL, "id-1")
    uploads.accepted("key", SEAL, 1, "etag")
    path = uploads.path("key", SEAL)
    whole = path.read_bytes()
    uploads.accepted("key", SEAL, 2, "etag")
    path.write_bytes(path.read_bytes()[:-3])
    assert uploads.find("key", SEAL) == Upload("id-1", {1: "etag"})
    assert path.read_bytes().startswith(whole)


def test_where_nothing_can_be_written_nothing_is_noted(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("a file")
    uploads = Uploads(tmp_path / "uploads", "https://store.example", "s3://bucket")
    uploads.begin("key", SEAL, "id-1")
    uploads.accepted("key", SEAL, 1, "etag")
    uploads.forget("key", SEAL)
    assert uploads.find("key", SEAL) is None
