import itertools
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.run_maker import RunMaker, record_of

from rlrun.archive import blobs, catalog, keys, manifests, proof
from rlrun.archive import push as push_module
from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.manifests import Archived
from rlrun.archive.push import Pusher
from rlrun.archive.remote_check import Checker
from rlrun.archive.restore import Restorer
from rlrun.archive.transfers import Progress
from rlrun.errors import ArchiveError, DamagedError, LockedError, StorageError
from rlrun.runs import archived, canonical, jsonl, ledger, manifest, pins
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import SessionOpening


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
    monkeypatch.setattr(manifests, "MAX_BYTES", 100)
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


@pytest.fixture
def elsewhere(push: Any, root: Path, tmp_path: Path) -> tuple[RunDir, Callable[..., Any]]:
    """A copy of the run as it was archived, on another machine, and what pushes it from there."""
    push()
    other = tmp_path / "elsewhere"
    shutil.copytree(root, other, symlinks=True)
    run = RunDir(other / "training_runs" / "sums")

    def act(where: Any, **options: Any) -> Any:
        return Pusher(run, other, where, transfers=2, **options).push()

    return run, act


def go_on(run: RunDir, first: int, last: int) -> None:
    """Let the log of steps go on, in the session that there is."""
    with run.train_log.open("ab") as file:
        for step in range(first, last + 1):
            file.write(jsonl.encode(record_of(step), checked=False))


def begin_session(run: RunDir, number: int, host: str) -> None:
    ledger.append_opening(run, SessionOpening(number, "2026-01-02T03:04:05+00:00", host, 1))


@pytest.mark.parametrize("is_repairing", [False, True])
def test_a_copy_that_lacks_what_its_session_logged_since_is_not_archived(
    is_repairing: bool, elsewhere: Any, made: Any, push: Any, spy: Any
) -> None:
    there, push_there = elsewhere
    made.steps(31, 40)
    made.saves(40)
    push()
    newest = catalog.read(spy, "sums").newest_records
    there.pins.mkdir()
    there.pin(10).write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"elsewhere; bring .* 'rlrun restore sums'"):
        push_there(spy, is_repairing=is_repairing)
    assert catalog.read(spy, "sums").newest_records == newest
    assert spy.count("put") == 0


def test_a_copy_that_lacks_finished_groups_is_not_archived(
    elsewhere: Any, made: Any, push: Any, storage: Any
) -> None:
    there, push_there = elsewhere
    made.journals("group")
    push()
    there.pins.mkdir()
    there.pin(10).write_bytes(b"")
    with pytest.raises(ArchiveError, match="bring this copy up"):
        push_there(storage)
    made.run.pins.mkdir()
    assert not push().has_new_records


@pytest.mark.parametrize("is_repairing", [False, True])
@pytest.mark.parametrize("num_steps", [1, 20])
def test_a_run_that_was_gone_on_with_in_two_places_is_not_archived_from_both(
    num_steps: int, is_repairing: bool, elsewhere: Any, made: Any, push: Any, spy: Any
) -> None:
    there, push_there = elsewhere
    begin_session(made.run, 2, "here")
    made.steps(31, 40)
    push()
    newest = catalog.read(spy, "sums").newest_records
    begin_session(there, 2, "there")
    go_on(there, 31, 31 + num_steps)
    with pytest.raises(ArchiveError, match=r"both here and elsewhere.*--to.*--as NAME"):
        push_there(spy, is_repairing=is_repairing)
    assert catalog.read(spy, "sums").newest_records == newest
    assert spy.count("put") == 0


def test_a_copy_of_the_same_state_may_add_its_evaluations(
    elsewhere: Any, storage: Any, tmp_path: Path, push: Any
) -> None:
    _, push_there = elsewhere
    folder = tmp_path / "elsewhere" / "eval_runs" / "sums_gsm8k"
    (folder / "step_10_gsm8k").mkdir(parents=True)
    (folder / "step_10_gsm8k" / "completions.jsonl").write_bytes(b"{}\n")
    assert push_there(storage, evaluations={"sums_gsm8k": folder}).has_new_records
    assert not push().has_new_records


def test_a_damaged_ledger_there_does_not_make_a_repair_impossible(
    push: Any, made: Any, storage: Any
) -> None:
    push()
    lost = next((storage.folder / "sums" / "shared").glob("*/sessions.jsonl"))
    whole = lost.read_bytes()
    lost.write_bytes(bytes(len(whole)))
    push(is_repairing=True)
    assert lost.read_bytes() == whole
    lost.unlink()
    push(is_repairing=True)
    assert lost.read_bytes() == whole


def test_a_repair_of_a_copy_without_the_lost_ledger_is_judged_by_the_records_in_front(
    elsewhere: Any, made: Any, push: Any, storage: Any
) -> None:
    there, push_there = elsewhere
    begin_session(made.run, 2, "here")
    push()
    entry = newest_entries(storage)["run/logs/sessions.jsonl"]
    (storage.folder / "sums" / entry.key).unlink()
    there.pins.mkdir()
    there.pin(10).write_bytes(b"")
    with pytest.raises(DamagedError, match=r"is not there; .*--repair"):
        push_there(storage)
    assert push_there(storage, is_repairing=True).has_new_records


def newest_entries(storage: Any) -> dict[str, Any]:
    newest = catalog.read(storage, "sums").newest_records
    assert newest is not None
    return {entry.path: entry for entry in catalog.fetch(storage, "sums", newest).entries}


def test_records_that_come_while_ours_are_sent_are_judged_and_carried_on(
    elsewhere: Any, made: Any, push: Any, spy: Any, tmp_path: Path
) -> None:
    """Another machine adds an evaluation between our look at the start and our manifest."""
    _, push_there = elsewhere
    folder = tmp_path / "elsewhere" / "eval_runs" / "sums_gsm8k"
    folder.mkdir(parents=True)
    (folder / "eval_config.yaml").write_bytes(b"a: 1\n")

    def meanwhile(call: str, key: str) -> None:
        if call == "put" and key.endswith("/train_log.jsonl"):
            spy.before = lambda _call, _key: None
            push_there(FolderStorage(spy.folder), evaluations={"sums_gsm8k": folder})

    made.steps(31, 32)
    spy.before = meanwhile
    push(spy)
    found = catalog.read(spy, "sums")
    assert [key.number for key in found.records] == [1, 2, 3]
    entries = newest_entries(spy)
    assert "eval_runs/sums_gsm8k/eval_config.yaml" in entries
    log = blobs.of_file(made.run.train_log).seal
    assert entries["run/logs/train_log.jsonl"].seal == log


def test_another_course_that_comes_while_ours_is_sent_is_not_hidden(
    elsewhere: Any, made: Any, push: Any, spy: Any
) -> None:
    there, push_there = elsewhere
    begin_session(made.run, 2, "here")
    begin_session(there, 2, "there")
    go_on(there, 31, 35)

    def meanwhile(call: str, key: str) -> None:
        if call == "put" and key.endswith("/sessions.jsonl"):
            spy.before = lambda _call, _key: None
            push_there(FolderStorage(spy.folder))

    spy.before = meanwhile
    with pytest.raises(ArchiveError, match="both here and elsewhere"):
        push(spy)
    log = blobs.of_file(there.train_log).seal
    assert newest_entries(spy)["run/logs/train_log.jsonl"].seal == log


def test_records_that_others_replace_again_and_again_are_given_up(
    push: Any, made: Any, spy: Any, root: Path
) -> None:
    push()
    own = itertools.count(1)

    def meanwhile(call: str, key: str) -> None:
        if call == "list" and key == "sums/manifests/":
            found = newest_entries(FolderStorage(spy.folder))
            number = next(own)
            changed = Archived("sums", made.id, tuple(found.values()), session=number)
            text = blobs.of_bytes(changed.to_bytes())
            name = f"sums/{changed.records_key(number + 1).manifest}"
            FolderStorage(spy.folder).put(name, text, lambda _: None)

    made.steps(31, 32)
    spy.before = meanwhile
    with pytest.raises(ArchiveError, match="again and again"):
        push(spy)


def test_records_are_there_before_the_checkpoints_that_they_cover(
    push: Any, made: Any, spy: Any
) -> None:
    """A push that is ended in front of a new checkpoint's manifest, or behind it, has its log."""
    push()
    made.steps(31, 40)
    made.saves(40)
    spy.calls.clear()
    push(spy)
    order = [key.split("/")[2] for call, key in spy.calls if call == "put" and "/manif" in key]
    assert [name.partition("-")[0] for name in order] == ["records_2", "step_40"]
    log = blobs.of_file(made.run.train_log).seal
    assert newest_entries(spy)["run/logs/train_log.jsonl"].seal == log


def test_records_follow_behind_the_checkpoints_only_if_they_have_changed(
    push: Any, made: Any, spy: Any
) -> None:
    def meanwhile(call: str, key: str) -> None:
        if call == "put" and key.startswith("sums/manifests/step_40"):
            made.steps(41, 42)

    push()
    made.steps(31, 40)
    made.journals("group")
    made.saves(40)
    spy.before = meanwhile
    push(spy)
    assert [key.number for key in catalog.read(spy, "sums").records] == [1, 2, 3]
    sent = [key.rsplit("/")[-1] for call, key in spy.calls if call == "put"]
    assert sent.count("train_log.jsonl") == 2
    assert sent.count("rollouts.jsonl") == 1  # what the first of both has sent is there


def evaluate(root: Path, step: int, *, num_files: int = 2, table: str | None = None) -> Path:
    """Leave what an evaluation of a step leaves."""
    folder = root / "eval_runs" / "sums_gsm8k"
    place = folder / f"step_{step}_gsm8k"
    place.mkdir(parents=True, exist_ok=True)
    for name in ("completions.jsonl", "summary.json")[:num_files]:
        (place / name).write_text(f"{root.name} {step} {name}\n")
    (folder / "eval_config.yaml").write_text("a: 1\n")
    (folder / "questions.jsonl").write_text("{}\n")
    (folder / "consolidated_metrics.csv").write_text(table or f"{root.name}\n")
    return folder


def test_two_machines_that_evaluate_different_steps_come_to_the_same_records(
    elsewhere: Any, root: Path, tmp_path: Path, push: Any, storage: Any
) -> None:
    _, push_there = elsewhere
    here = {"sums_gsm8k": evaluate(root, 10)}
    there = {"sums_gsm8k": evaluate(tmp_path / "elsewhere", 20)}
    push(evaluations=here)
    push_there(storage, evaluations=there)
    assert not push(evaluations=here).has_new_records
    assert not push_there(storage, evaluations=there).has_new_records
    found = {path for path in newest_entries(storage) if path.endswith("summary.json")}
    assert found == {f"eval_runs/sums_gsm8k/step_{n}_gsm8k/summary.json" for n in (10, 20)}


def test_a_carried_object_that_is_lost_is_left_out_and_said(
    elsewhere: Any, root: Path, tmp_path: Path, made: Any, push: Any, storage: Any
) -> None:
    _, push_there = elsewhere
    push_there(storage, evaluations={"sums_gsm8k": evaluate(tmp_path / "elsewhere", 20)})
    (lost,) = (storage.folder / "sums" / "shared").glob("*/summary.json")
    lost.unlink()
    made.steps(31, 32)
    (note,) = push().notes
    assert note.startswith("eval_runs/sums_gsm8k/step_20_gsm8k/summary.json, which is not here")
    assert "eval_runs/sums_gsm8k/step_20_gsm8k/completions.jsonl" in newest_entries(storage)
    assert Checker(storage, "sums").check().damage == ()


def test_a_repair_proves_what_it_carries_and_leaves_out_what_is_damaged(
    elsewhere: Any, root: Path, tmp_path: Path, push: Any, storage: Any
) -> None:
    _, push_there = elsewhere
    push_there(storage, evaluations={"sums_gsm8k": evaluate(tmp_path / "elsewhere", 20)})
    (lost,) = (storage.folder / "sums" / "shared").glob("*/questions.jsonl")
    lost.write_bytes(b"?")
    assert push().is_unchanged
    notes = push(is_repairing=True).notes
    assert [note.partition(",")[0] for note in notes] == [
        "eval_runs/sums_gsm8k/eval_config.yaml",  # of no use without its questions
        "eval_runs/sums_gsm8k/questions.jsonl",
    ]
    assert Checker(storage, "sums", with_data=True).check().damage == ()
    assert push(is_repairing=True).notes == ()


def test_evaluations_are_carried_from_the_newest_records_that_read(
    elsewhere: Any, tmp_path: Path, made: Any, push: Any, storage: Any
) -> None:
    _, push_there = elsewhere
    push_there(storage, evaluations={"sums_gsm8k": evaluate(tmp_path / "elsewhere", 20)})
    made.steps(31, 32)
    push()
    newest = catalog.read(storage, "sums").newest_records
    assert newest is not None
    (storage.folder / "sums" / newest.manifest).write_bytes(b"{}")
    made.steps(33, 34)
    push()
    assert "eval_runs/sums_gsm8k/step_20_gsm8k/summary.json" in newest_entries(storage)
