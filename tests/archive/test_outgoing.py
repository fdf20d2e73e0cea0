from pathlib import Path
from typing import Any

import pytest

from rlrun.archive import blobs, catalog, keys, snapshot
from rlrun.archive.blobs import BytesBlob
from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.outgoing import Outgoing
from rlrun.archive.snapshot import Source
from rlrun.errors import ArchiveError
from rlrun.runs import checkpoints


def listing(*sources: Source) -> Archived:
    entries = (
        Entry(one.path, keys.shared(one.blob.seal.sha256, one.path), one.blob.seal)
        for one in sources
    )
    return Archived("sums", "id", tuple(entries))


def source(path: str, data: bytes) -> Source:
    return Source(path, blobs.of_bytes(data))


def test_what_was_sent_is_known_to_be_there_for_the_rest_of_the_push(spy: Any) -> None:
    out = Outgoing(spy, "sums")
    out.look()
    one, other = source("run/a", b"1"), source("run/b", b"22")
    out.send(listing(one), [one], at_once=1)
    spy.calls.clear()
    out.send(listing(one, other), [one, other], at_once=1)
    assert [key.rsplit("/")[-1] for call, key in spy.calls if call == "put"] == ["b"]
    assert (out.num_objects, out.num_bytes) == (2, 3)


def test_what_lies_there_is_proved_once_and_not_sent(spy: Any) -> None:
    one = source("run/a", b"1")
    Outgoing(spy, "sums").send(listing(one), [one], at_once=1)
    out = Outgoing(spy, "sums")
    assert out.look()
    assert not out.look()
    spy.calls.clear()
    out.send(listing(one), [one], at_once=1)
    out.send(listing(one), [one], at_once=1)
    assert (spy.count("stat"), spy.count("put"), out.num_objects) == (1, 0, 0)


def test_what_an_earlier_push_proved_is_not_asked_for(spy: Any) -> None:
    one = source("run/a", b"1")
    Outgoing(spy, "sums").send(listing(one), [one], at_once=1)
    out = Outgoing(spy, "sums")
    out.look()
    out.trust(listing(one))
    spy.calls.clear()
    out.send(listing(one), [one], at_once=1)
    assert spy.calls == []


def test_an_entry_of_other_bytes_than_the_file_here_is_not_sent(spy: Any) -> None:
    out = Outgoing(spy, "sums")
    out.send(listing(source("run/a", b"theirs")), [source("run/a", b"ours")], at_once=1)
    assert spy.count("put") == 0


def test_no_file_of_a_checkpoint_stays_in_memory(storage: Any, made: Any) -> None:
    out = Outgoing(storage, "sums")
    for number in (10, 20, 30):
        step = checkpoints.inspect(made.run, number, run_id=made.id, with_hashes=False)
        sources = snapshot.of_step(step)
        assert any(isinstance(one.blob, BytesBlob) for one in sources)
        out.send(snapshot.archived_step(made.run, step, sources), sources, at_once=1)
    assert len(out._needed) == 6
    assert not [blob for blob in out._needed.values() if isinstance(blob, BytesBlob)]


def test_what_a_prune_took_is_sent_again_from_disk(storage: Any, made: Any) -> None:
    out = Outgoing(storage, "sums")
    step = checkpoints.inspect(made.run, 10, run_id=made.id, with_hashes=False)
    sources = snapshot.of_step(step)
    out.send(snapshot.archived_step(made.run, step, sources), sources, at_once=1)
    (weights,) = storage.folder.rglob("weights")
    weights.unlink()
    out.see_that_all_stays()
    assert weights.read_bytes() == b"12345"


def test_what_goes_again_and_again_is_told(spy: Any) -> None:
    out = Outgoing(spy, "sums")
    one = source("run/a", b"1")
    out.send(listing(one), [one], at_once=1)

    def take(call: str, key: str) -> None:
        if call == "list" and key == "sums/":
            for path in Path(spy.folder).rglob("a"):
                path.unlink()

    spy.before = take
    with pytest.raises(ArchiveError, match="is gone again"):
        out.see_that_all_stays()


def test_a_manifest_is_listed_under_its_name(storage: Any) -> None:
    one = source("run/a", b"1")
    found = listing(one)
    out = Outgoing(storage, "sums")
    out.send(found, [one], at_once=1)
    out.put_manifest(found, found.records_key(1))
    assert catalog.fetch(storage, "sums", found.records_key(1)) == found
