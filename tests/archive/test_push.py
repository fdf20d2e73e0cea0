import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.run_maker import RunMaker

from rlrun.archive import blobs, catalog, keys, proof
from rlrun.archive import push as push_module
from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.push import Pusher
from rlrun.archive.restore import Restorer
from rlrun.archive.transfers import Progress
from rlrun.errors import ArchiveError, LockedError, StorageError
from rlrun.runs import archived, canonical, manifest, pins
from rlrun.runs.layout import RunDir


def keys_of(storage: FolderStorage) -> list[str]:
    return [one.key for one in storage.list("")]


def unclaimed(storage: FolderStorage) -> list[str]:
    """Return all keys but the claims, which are of one push each."""
    return [key for key in keys_of(storage) if not keys.parse_owner(key.rsplit("/")[-1])]


def test_every_checkpoint_and_the_records_are_there_after_it(push: Any, storage: Any) -> None:
    pushed = push()
    found = catalog.read(storage, "sums")
    assert [key.step for key in found.steps] == [10, 20, 30]
    assert found.steps == pushed.new_steps
    assert len(found.records) == 1
    assert pushed.num_objects == len(keys_of(storage)) - len(found.names)


def test_a_copied_step_folder_has_a_loadable_model(push: Any, storage: Any, made: Any) -> None:
    key = push().new_steps[0]
    folder = storage.folder / "sums" / key.folder
    there = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
    here = made.run.step(10)
    assert there == {path.relative_to(here): path.read_bytes() for path in here.rglob("*.*")}


def test_what_is_listed_is_complete_whatever_ends_the_push(push: Any, spy: Any) -> None:
    """A push is ended in front of each of its requests; each manifest then has all it lists."""
    push(spy)
    num_calls = len(spy.calls)
    for number in range(num_calls):
        folder = spy.folder.with_name(f"store{number}")
        other = type(spy)(folder)

        def die(call: str, key: str, other: Any = other, number: int = number) -> None:
            if len(other.calls) == number + 1:
                raise KeyboardInterrupt

        other.before = die
        with pytest.raises(KeyboardInterrupt):
            push(other)
        found = catalog.read(FolderStorage(folder), "sums")
        for key in (*found.steps, *found.records):
            for entry in catalog.fetch(other, "sums", key).entries:
                assert (folder / "sums" / entry.key).stat().st_size == entry.seal.size
        other.before = lambda _call, _key: None
        push(other)
        assert unclaimed(other) == unclaimed(spy)


def test_the_second_push_lists_once_and_sends_nothing(push: Any, spy: Any) -> None:
    push(spy)
    spy.calls.clear()
    pushed = push(spy)
    assert pushed.is_unchanged
    assert len(pushed.known_steps) == 3
    assert [call for call, _ in spy.calls] == ["list", "read"]


def test_a_log_that_grew_is_sent_and_what_did_not_is_not(push: Any, spy: Any, made: Any) -> None:
    push(spy)
    made.steps(31, 32)
    spy.calls.clear()
    pushed = push(spy)
    sent = [key for call, key in spy.calls if call == "put"]
    assert pushed.has_new_records
    assert pushed.num_objects == 1
    assert [key.rsplit("/", 1)[1].split(".")[0] for key in sent] == [
        "train_log", f"records_2-{catalog.read(spy, 'sums').records[-1].short_hash}"
    ]  # fmt: skip


def test_an_object_of_an_interrupted_push_is_proved_and_not_sent_again(
    push: Any, spy: Any, made: Any
) -> None:
    def weights() -> set[str]:
        return {
            one.key for one in FolderStorage(spy.folder).list("") if one.key.endswith("/weights")
        }

    def die(call: str, key: str) -> None:
        if call == "put" and key.endswith("training_info.json"):
            for _ in range(1000):  # what others have begun would end with this
                if len(weights()) == 3:
                    break
                time.sleep(0.01)
            raise KeyboardInterrupt

    spy.before = die
    with pytest.raises(KeyboardInterrupt):
        push(spy)
    spy.before = lambda _call, _key: None
    there = weights()
    assert len(there) == 3
    spy.calls.clear()
    push(spy)
    again = [key for call, key in spy.calls if call == "put" and key in there]
    assert again == []


def test_an_object_that_was_damaged_since_an_interrupted_push_is_sent_again(
    push: Any, storage: Any, made: Any
) -> None:
    first = push().new_steps[0]
    (storage.folder / "sums" / first.manifest).unlink()
    weights = storage.folder / "sums" / first.folder / "model" / "weights"
    weights.write_bytes(b"54321")
    push()
    assert weights.read_bytes() == b"12345"


def test_a_damaged_checkpoint_is_not_pushed_and_the_others_are(push: Any, made: Any) -> None:
    (made.run.step(20) / "model" / "weights").write_bytes(b"54321")
    (made.run.step(10) / "model" / "weights").unlink()
    pushed = push()
    assert [key.step for key in pushed.new_steps] == [30]
    assert {one.step for one in pushed.skipped} == {10, 20}
    assert any("does not match its SHA-256" in one.reason for one in pushed.skipped)


@pytest.mark.parametrize("kind", ["steps", "records"])
def test_a_manifest_that_is_damaged_there_and_not_known_here_is_sent_again(
    kind: str, push: Any, storage: Any, made: Any
) -> None:
    push()
    key = getattr(catalog.read(storage, "sums"), kind)[0]
    path = storage.folder / "sums" / key.manifest
    whole = path.read_bytes()
    path.write_bytes(whole[:-2] + b"?\n")
    archived.path_of(made.run).unlink()
    push()
    assert path.read_bytes() == whole


def test_another_run_of_the_same_name_is_refused(
    push: Any, storage: Any, make_run: Callable[..., RunMaker], tmp_path: Path, root: Path
) -> None:
    push()
    other = RunMaker(tmp_path / "elsewhere", "sums", "train:\n  max_steps: 3\n")
    other.saves(10)
    before = keys_of(storage)
    with pytest.raises(ArchiveError, match="another run under the name 'sums'"):
        Pusher(other.run, tmp_path / "elsewhere", storage).push()
    assert keys_of(storage) == before


def test_a_checkpoint_that_is_being_removed_is_left_out(
    push: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pins.hold

    def hold(path: Path, **options: Any) -> Any:
        if path == made.run.step(10) and path.exists():
            path.rename(path.with_name("gone"))
        return real(path, **options)

    monkeypatch.setattr(push_module.pins, "hold", hold)
    pushed = push()
    assert [key.step for key in pushed.new_steps] == [20, 30]
    assert [one.step for one in pushed.skipped] == [10]


def test_what_arrives_with_other_bytes_is_sent_again(spy: Any) -> None:
    blob = blobs.of_bytes(b"12345")

    class Flipping(type(spy)):  # type: ignore[misc]
        num_flips = 1

        def put(self, key: str, blob: Any, note: Any) -> None:
            super().put(key, blob, note)
            if self.num_flips:
                self.num_flips -= 1
                (self.folder / key).write_bytes(b"12344")

    storage = Flipping(spy.folder)
    proof.send_proved(storage, "a", blob, Progress())
    assert (storage.folder / "a").read_bytes() == b"12345"
    storage.num_flips = 99
    with pytest.raises(ArchiveError, match="has other bytes than were sent"):
        proof.send_proved(storage, "a", blob, Progress())


def test_a_manifest_that_lacks_an_object_and_is_not_known_here_is_made_good(
    push: Any, storage: Any, made: Any
) -> None:
    key = push().new_steps[0]
    weights = storage.folder / "sums" / key.folder / "model" / "weights"
    weights.unlink()
    archived.path_of(made.run).unlink()
    push()
    assert weights.read_bytes() == b"12345"


def test_a_push_that_ends_before_its_last_look_is_not_noted(
    made: Any, root: Path, spy: Any
) -> None:
    unlisted(made, root, spy)

    def die(call: str, key: str) -> None:
        if spy.calls.count(("list", "sums/")) == 2:  # the first is to see what is there
            raise KeyboardInterrupt

    spy.calls.clear()
    spy.before = die
    with pytest.raises(KeyboardInterrupt):
        Pusher(made.run, root, spy).push()
    assert len(catalog.read(FolderStorage(spy.folder), "sums").steps) == 3
    assert archived.copies(made.run) == {}


def test_evaluations_of_another_machine_stay_in_the_records(
    made: Any, root: Path, storage: Any, tmp_path: Path
) -> None:
    folders = {}
    for name in ("sums_a", "sums_b"):
        folders[name] = tmp_path / "evaluations" / name
        folders[name].mkdir(parents=True)
        (folders[name] / "eval_config.yaml").write_text(f"{name}\n")

    def pushed(**evaluations: Path) -> set[str]:
        Pusher(made.run, root, storage, evaluations).push()
        newest = catalog.read(storage, "sums").newest_records
        assert newest is not None
        entries = catalog.fetch(storage, "sums", newest).entries
        return {one.path.split("/")[1] for one in entries if one.path.startswith("eval_runs")}

    moved = {name: root / "eval_runs" / name for name in folders}
    (root / "eval_runs").mkdir()
    for name, folder in folders.items():
        folder.rename(moved[name])
    assert pushed(sums_a=moved["sums_a"]) == {"sums_a"}
    assert pushed(sums_b=moved["sums_b"]) == {"sums_a", "sums_b"}
    (moved["sums_b"] / "eval_config.yaml").write_text("changed\n")
    assert pushed(sums_b=moved["sums_b"]) == {"sums_a", "sums_b"}


def test_a_push_notes_what_this_machine_knows(push: Any, made: Any, storage: Any) -> None:
    push()
    copies = archived.copies(made.run)
    hashes = {step: manifest.read(made.run.step(step))["manifest_hash"] for step in (10, 20, 30)}
    assert set(copies) == set(hashes.items())
    assert {copy.place for copy in copies.values()} == {storage.place}


def test_a_push_waits_for_a_prune_that_is_at_work(made: Any, root: Path, storage: Any) -> None:
    mark = keys.prune_mark("sums", "0" * 8, 1, "0" * 12)
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            storage.delete([mark])

    storage.put(mark, blobs.of_bytes(b"{}"), lambda _: None)
    Pusher(made.run, root, storage, sleep=sleep).push()
    assert len(waits) == 3


def test_a_prunes_mark_that_stays_is_told(made: Any, root: Path, storage: Any) -> None:
    storage.put(
        keys.prune_mark("sums", "0" * 8, 1, "0" * 12), blobs.of_bytes(b"{}"), lambda _: None
    )
    with pytest.raises(ArchiveError, match="prune --remote"):
        Pusher(made.run, root, storage, sleep=lambda _: None).push()


def unlisted(made: Any, root: Path, storage: FolderStorage) -> None:
    """Leave what a push leaves that is killed in front of its manifests."""
    Pusher(made.run, root, storage).push()
    storage.delete([key for key in keys_of(storage) if "/manifests/" in key])
    archived.path_of(made.run).unlink()


def take_at_records(spy: Any) -> list[str]:
    """Let a prune take an object while the first records are listed; return which, then."""
    taken: list[str] = []

    def take(call: str, key: str) -> None:
        if call == "put" and "records_1" in key and not taken:
            taken.append(next(one.key for one in FolderStorage(spy.folder).list("sums/shared/")))
            FolderStorage(spy.folder).delete(taken)

    spy.before = take
    return taken


def test_what_a_prune_took_meanwhile_is_sent_again(made: Any, root: Path, spy: Any) -> None:
    taken = take_at_records(spy)
    Pusher(made.run, root, spy).push()
    assert taken
    assert taken[0] in keys_of(spy)


def test_a_run_that_is_being_rewound_is_not_archived_in_between(push: Any, made: Any) -> None:
    made.run.rewind.write_text('{"step": 10, "folder": "rewind_0"}')
    with pytest.raises(LockedError, match="being put in order"):
        push()


def test_a_repair_proves_everything_and_sends_what_is_damaged(push: Any, storage: Any) -> None:
    pushed = push()
    damaged = storage.folder / "sums" / pushed.new_steps[0].folder / "model" / "weights"
    lost = storage.folder / "sums" / pushed.new_steps[1].folder / "model" / "weights"
    config = next((storage.folder / "sums" / "shared").glob("*/config.yaml"))
    whole = config.read_bytes()
    damaged.write_bytes(b"54321")
    lost.unlink()
    config.write_bytes(bytes(len(whole)))
    assert push().num_objects == 0
    assert push(is_repairing=True).num_objects == 3
    assert damaged.read_bytes() == lost.read_bytes() == b"12345"
    assert config.read_bytes() == whole


def test_a_repair_puts_a_damaged_manifest_right(push: Any, storage: Any) -> None:
    path = storage.folder / "sums" / push().new_steps[0].manifest
    whole = path.read_bytes()
    path.write_bytes(b"{}")
    push(is_repairing=True)
    assert path.read_bytes() == whole


def test_a_run_without_logs_is_pushed(push: Any, made: Any, storage: Any) -> None:
    shutil.rmtree(made.run.logs)
    assert [key.step for key in push().new_steps] == [10, 20, 30]
    assert [note.step for note in archived.notes(made.run)] == [10, 20, 30]


def test_the_newest_records_are_those_of_the_push_that_ended_last(
    push: Any, made: Any, root: Path, spy: Any
) -> None:
    others = iter((31, 32))

    def push_meanwhile(call: str, key: str) -> None:
        if call == "put" and key.startswith("sums/manifests/step_30"):
            spy.before = lambda _call, _key: None
            for step in others:
                made.steps(step, step)
                Pusher(made.run, root, spy).push()
            made.steps(33, 33)

    spy.before = push_meanwhile
    push(spy)
    newest = catalog.read(spy, "sums").newest_records
    assert newest is not None
    entries = {entry.path: entry for entry in catalog.fetch(spy, "sums", newest).entries}
    log = made.run.train_log.read_bytes()
    assert entries["run/logs/train_log.jsonl"].seal == blobs.of_bytes(log).seal


def test_a_manifest_that_nobody_would_read_is_not_stored(
    push: Any, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module.manifests, "MAX_BYTES", 100)
    with pytest.raises(ArchiveError, match="more than a manifest takes"):
        push()
    assert not catalog.read(storage, "sums")


def test_a_checkpoint_that_goes_while_it_is_looked_at_is_no_damage(
    push: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = manifest.read

    def read(folder: Path) -> Any:
        found = real(folder)
        if folder == made.run.step(10):
            shutil.rmtree(folder)
        return found

    monkeypatch.setattr(manifest, "read", read)
    [skipped] = push().skipped
    assert (skipped.step, skipped.reason, skipped.is_damaged) == (
        10, "it was removed meanwhile", False
    )  # fmt: skip


def test_a_log_that_is_cut_while_it_is_sent_is_no_fault_of_the_store(
    push: Any, made: Any, spy: Any
) -> None:
    def cut(call: str, key: str) -> None:
        if call == "put" and key.endswith("/train_log.jsonl"):
            made.run.train_log.write_bytes(b"{}\n")

    spy.before = cut
    with pytest.raises(StorageError, match="changed meanwhile; run the command again"):
        push(spy)
    assert not catalog.read(spy, "sums").records
    spy.before = lambda _call, _key: None
    assert push(spy).has_new_records


def test_a_copy_that_is_older_than_its_archive_is_not_archived_over_it(
    push: Any, made: Any, root: Path, storage: Any, tmp_path: Path
) -> None:
    push()
    shutil.copytree(root, tmp_path / "older", symlinks=True)
    older = RunDir(tmp_path / "older" / "training_runs" / "sums")
    assert Pusher(older, tmp_path / "older", storage).push().is_unchanged
    made.starts(2, from_step=30)
    made.saves(40, session=2)
    push()
    newest = catalog.read(storage, "sums").newest_records
    with pytest.raises(ArchiveError, match=r"elsewhere; .* 'rlrun restore sums'"):
        Pusher(older, tmp_path / "older", storage).push()
    assert catalog.read(storage, "sums").newest_records == newest
    Restorer(storage, tmp_path / "older", "sums").restore("latest")
    (older.pins).mkdir()
    older.pin(40).write_bytes(b"")
    assert Pusher(older, tmp_path / "older", storage).push().has_new_records


def test_a_checkpoint_that_tells_no_session_is_pushed(push: Any, made: Any) -> None:
    path = made.run.step(30) / manifest.FILE_NAME
    found = json.loads(path.read_text())
    body = {key: found[key] for key in ("run_id", "step", "files")}
    path.write_text(canonical.pretty(manifest.sealed(body)))
    assert [(key.step, key.session) for key in push().new_steps] == [(10, 1), (20, 1), (30, 0)]
