from typing import Any

import pytest
from support.run_maker import RunMaker

from rlrun.archive import blobs, catalog, keys, owners
from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.push import Pusher
from rlrun.errors import ArchiveError

OURS, THEIRS = "a" * 32, "b" * 32


def claims(storage: FolderStorage) -> list[str]:
    return [one.key for one in storage.list("") if keys.parse_owner(one.key.rsplit("/")[-1])]


def claim(storage: Any, run_id: str) -> None:
    found = catalog.read(storage, "sums")
    owners.require(storage, found, run_id)
    owners.claim(storage, found, run_id)


def put_claim(storage: Any, run_id: str) -> None:
    key = keys.owner("sums", run_id, "0" * 32)
    storage.put(key, blobs.of_bytes(b"{}"), lambda _: None)


def test_the_first_has_the_name(storage: FolderStorage) -> None:
    claim(storage, OURS)
    claim(storage, OURS)
    assert len(claims(storage)) == 1
    with pytest.raises(ArchiveError, match=r"another run under the name 'sums' .* bbbbbbbb"):
        claim(storage, THEIRS)
    assert len(claims(storage)) == 1


def test_of_two_that_find_the_name_free_at_once_one_has_it(spy: Any) -> None:
    storage = FolderStorage(spy.folder)
    before = catalog.read(storage, "sums")

    def other_claims(call: str, _key: str) -> None:
        if call == "list":
            spy.before = lambda _call, _key: None
            with pytest.raises(ArchiveError, match="another run"):
                owners.claim(storage, before, THEIRS)

    spy.before = other_claims
    owners.claim(spy, before, OURS)  # the other has withdrawn before it looks
    claim(storage, OURS)


def test_of_two_that_have_both_claimed_neither_goes_on(storage: FolderStorage) -> None:
    before = catalog.read(storage, "sums")
    owners.claim(storage, before, OURS)
    put_claim(storage, THEIRS)
    for run_id in (OURS, THEIRS):
        with pytest.raises(ArchiveError, match="another run"):
            claim(storage, run_id)


def test_one_that_sees_another_withdraws_its_own_claim_alone(spy: Any) -> None:
    storage = FolderStorage(spy.folder)
    before = catalog.read(storage, "sums")
    owners.claim(storage, before, THEIRS)
    [theirs] = claims(storage)
    with pytest.raises(ArchiveError, match="another run"):
        owners.claim(storage, before, OURS)
    assert claims(storage) == [theirs]


def test_a_claim_that_a_killed_push_left_beside_does_not_stop_whose_it_is(
    push: Any, storage: FolderStorage, made: RunMaker
) -> None:
    push()
    put_claim(storage, THEIRS)
    assert push().is_unchanged
    found = catalog.read(storage, "sums")
    with pytest.raises(ArchiveError, match="another run"):
        owners.require(storage, found, THEIRS)


def test_an_archive_whose_claim_was_lost_is_told_by_its_manifests(
    push: Any, storage: FolderStorage, made: RunMaker
) -> None:
    push()
    storage.delete(claims(storage))
    found = catalog.read(storage, "sums")
    with pytest.raises(ArchiveError, match="another run"):
        owners.require(storage, found, THEIRS)
    assert push().is_unchanged
    assert claims(storage) == []
    made.steps(31, 31)
    push()
    assert len(claims(storage)) == 1


def test_a_push_claims_before_anything_else_is_sent(spy: Any, made: RunMaker, root: Any) -> None:
    Pusher(made.run, root, spy).push()
    puts = [key for call, key in spy.calls if call == "put"]
    assert keys.parse_owner(puts[0].rsplit("/")[-1]) == made.id
