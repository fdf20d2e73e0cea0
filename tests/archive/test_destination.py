"""What the user writes as the place of an archive is read, or refused with the way out."""

import sys
from pathlib import Path

import pytest

from rlrun.archive.credentials import Credentials
from rlrun.archive.destination import (
    FolderDestination,
    S3Destination,
    open_storage,
    parse,
    shares_file_system,
)
from rlrun.archive.folder_storage import FolderStorage
from rlrun.errors import MissingExtraError, UsageError

ROOT = Path("/root/of/runs")


@pytest.mark.parametrize(
    ("text", "bucket", "prefix", "place"),
    [
        ("s3://bucket", "bucket", "", "s3://bucket"),
        ("s3://bucket/", "bucket", "", "s3://bucket"),
        ("s3://my.bucket-1/a/b/", "my.bucket-1", "a/b", "s3://my.bucket-1/a/b"),
        ("S3://bucket/ä b", "bucket", "ä b", "s3://bucket/ä b"),
    ],
)
def test_a_bucket_and_a_prefix_are_read(text: str, bucket: str, prefix: str, place: str) -> None:
    found = parse(text, ROOT)
    assert found == S3Destination(bucket, prefix)
    assert found.place == place


def test_a_folder_is_absolute_and_local_is_beside_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert parse("copies", ROOT) == FolderDestination(tmp_path / "copies")
    assert parse("~/copies", ROOT) == FolderDestination(Path("/home/me/copies"))
    assert parse("local", ROOT) == FolderDestination(ROOT / "archive" / "completed_runs")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://ab", "cannot be the name of a bucket"),
        ("s3://Bucket", "cannot be the name of a bucket"),
        ("s3://a_b_c", "cannot be the name of a bucket"),
        ("s3://a..b", "cannot be the name of a bucket"),
        ("s3://192.168.1.1", "cannot be the name of a bucket"),
        ("s3://key:secret@bucket", "keys belong into the file of --credentials"),
        ("s3://bucket/a//b", "cannot be a prefix"),
        ("s3://bucket/../b", "cannot be a prefix"),
        ("s3://bucket/a?b", "has a '\\?' or '#' in it"),
        ("gs://bucket", "a scheme that is not known"),
        ("https://bucket", "a scheme that is not known"),
        ("s3://bucket/a?signature=secret", "in it; use s3://bucket/prefix"),
        ("s3://bucket/a#secret", "in it; use s3://bucket/prefix"),
        ("https://host/bucket?signature=secret", "a scheme that is not known"),
    ],
)
def test_nonsense_is_refused_with_an_example(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        parse(text, ROOT)
    assert "secret" not in str(caught.value)


def test_folders_of_one_disk_share_it_though_they_are_not_there_yet(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    assert shares_file_system(tmp_path / "not" / "yet", run)
    assert not shares_file_system(Path("/proc/1"), run)


def test_a_folder_opens_without_asking_anything(tmp_path: Path) -> None:
    storage = open_storage(FolderDestination(tmp_path / "copies"), Credentials(), tmp_path)
    assert isinstance(storage, FolderStorage)
    assert not (tmp_path / "copies").exists()


def test_without_boto3_the_sentence_tells_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"needs boto3; install it with '.*\[s3\]"):
        open_storage(S3Destination("bucket"), Credentials(), tmp_path)


def test_a_folder_among_the_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("training_runs")
    for inside in ("training_runs", "training_runs/a", "eval_runs/b", "link/a"):
        with pytest.raises(UsageError, match="outside of"):
            parse(str(tmp_path / inside), tmp_path)
    assert parse(str(tmp_path / "archive"), tmp_path).place == str(tmp_path / "archive")
