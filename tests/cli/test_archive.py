"""`rlrun archive`: what is sent, what goes, what is kept and why, and what it says of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.calls import recorded
from support.run_maker import RunMaker, stopped_at_30

from rlrun.archive import catalog, keys
from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.push import Pusher
from rlrun.cli import archive as command
from rlrun.errors import ArchiveError
from rlrun.runs import checkpoints, pins

Run = Callable[..., Any]


def steps_in(store: Path, name: str = "sums") -> list[int]:
    return [key.step for key in catalog.read(FolderStorage(store), name).steps]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def spoil(run: Any, step: int) -> None:
    (run.step(step) / "model" / "weights").write_bytes(b"")


def object_of(store: Path, step: int) -> Path:
    key = next(key for key in catalog.read(FolderStorage(store), "sums").steps if key.step == step)
    return store / "sums" / key.folder / "model" / "weights"


# ---- the push


def test_it_says_what_was_sent_and_what_is_there_then(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    said = rlrun("archive", "sums", "--to", str(store))
    assert said.code == 0
    size = checkpoints.num_bytes(sums.run.step(10))
    lines = said.out.splitlines()
    assert lines[:3] == [f"step {step}  sent  {size} B" for step in (10, 20, 30)]
    assert lines[3].startswith("run 'sums': sent 10 objects, ")
    assert f"; {store} now has 3 checkpoints (" in lines[3]
    assert said.err.splitlines() == [
        f"run 'sums': archiving in {store}",
        f"next: rlrun verify sums --remote --to {store}",
        f"      rlrun archive sums --cleanup --dry-run --to {store}",
    ]
    assert steps_in(store) == [10, 20, 30]


def test_the_same_command_again_has_nothing_to_send(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    rlrun("archive", "sums", "--to", str(store))
    before = files_of(store)
    said = rlrun("archive", "sums", "--to", str(store))
    assert said.out.startswith(f"run 'sums': nothing to send; {store} now has 3 checkpoints (")
    assert files_of(store) == before


def test_its_evaluations_go_with_it(rlrun: Run, bench: Any, store: Path) -> None:
    folder = bench.evaluate().folder
    rlrun("archive", "a", "--to", str(store))
    storage = FolderStorage(store)
    found = catalog.read(storage, "a")
    assert found.newest_records is not None
    paths = [one.path for one in catalog.fetch(storage, "a", found.newest_records).entries]
    names = {path.split("/")[1] for path in paths if path.startswith("eval_runs/")}
    assert names == {folder.path.name}


def test_the_place_is_the_option_s_else_the_environment_s_else_the_run_s(
    rlrun: Run, make_run: Run, root: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, environment = store / "own", store / "environment"
    make_run("a", f"train:\n  max_steps: 10\narchive:\n  to: {own}\n")
    rlrun("archive", "a")
    assert catalog.run_names(FolderStorage(own)) == ["a"]
    monkeypatch.setenv("RLRUN_ARCHIVE", str(environment))
    rlrun("archive", "a")
    assert catalog.run_names(FolderStorage(environment)) == ["a"]
    rlrun("archive", "a", "--to", "local")
    assert catalog.run_names(FolderStorage(root / "archive" / "completed_runs")) == ["a"]


def test_without_any_place_it_says_how_to_give_one(rlrun: Run, sums: RunMaker, store: Path) -> None:
    said = rlrun("archive", "sums")
    assert said.code == 2
    assert "give --to s3://bucket/prefix, a folder, or 'local'" in said.err
    assert "RLRUN_ARCHIVE or the run's archive.to" in said.err


def test_a_password_in_the_place_is_refused_and_not_shown(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    said = rlrun("archive", "sums", "--to", "s3://me:hunter2@bucket/runs")
    assert said.code == 2
    assert "keep the keys in the file that --credentials names" in said.err
    assert "hunter2" not in said.err


def test_the_most_recently_active_run_is_archived_and_named(
    rlrun: Run, make_run: Run, store: Path
) -> None:
    old, new = make_run("old").run, make_run("new").run
    for run, when in ((old, 1_000), (new, 2_000)):
        os.utime(run.identity, (when, when))
    said = rlrun("archive", "--to", str(store))
    assert "archiving 'new', the most recently active run" in said.err
    assert catalog.run_names(FolderStorage(store)) == ["new"]


def test_all_are_ours_and_another_tool_s_is_named_and_left_alone(
    rlrun: Run, make_run: Run, make_foreign_run: Run, store: Path
) -> None:
    make_run("a")
    make_run("b")
    make_foreign_run("theirs")
    said = rlrun("archive", "--all", "--to", str(store))
    assert said.code == 0
    assert "run 'theirs' is another tool's and is left alone" in said.err
    assert f"next: rlrun list --remote --to {store}" in said.err
    assert catalog.run_names(FolderStorage(store)) == ["a", "b"]
    named = rlrun("archive", "theirs", "--to", str(store))
    assert named.code == 4
    assert "was not written by rlrun" in named.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--all", "sums"], "--all and names of runs exclude each other"),
        (["--keep-latest"], "--keep-latest goes with --cleanup"),
        (["--keep", "2"], "--keep goes with --cleanup"),
        (["--cleanup", "--keep-latest", "--keep", "2"], "--keep-latest and --keep N exclude"),
        (["--cleanup", "--keep", "0"], "--keep"),
        (["--transfers", "0"], "--transfers"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], sentence: str, rlrun: Run, sums: RunMaker, store: Path
) -> None:
    said = rlrun("archive", *arguments, "--to", str(store))
    assert said.code == 2
    assert sentence in said.err
    assert not store.exists()


def test_a_checkpoint_that_does_not_verify_is_shown_and_code_14(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    spoil(sums.run, 20)
    said = rlrun("archive", "sums", "--to", str(store))
    assert said.code == 14
    assert "step 20  not sent  -      it does not verify: model/weights has 0 bytes" in said.out
    assert said.err.endswith(
        "error: run 'sums': step 20 cannot be archived as it does not verify ('rlrun verify sums' "
        "tells more)\n"
    )
    assert steps_in(store) == [10, 30]


def test_another_tool_s_step_in_the_run_is_shown_and_no_doubt(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    sums.run.step(40).mkdir()
    said = rlrun("archive", "sums", "--to", str(store))
    assert said.code == 0
    assert "step 40  not sent  -      another tool's" in said.out


def test_a_checkpoint_that_is_removed_meanwhile_is_no_doubt(
    rlrun: Run, sums: RunMaker, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Pusher._push_step

    def remove_first(self: Pusher, step: Any, **options: Any) -> Any:
        if step.step == 20:
            shutil.rmtree(step.path)
        return whole(self, step, **options)

    monkeypatch.setattr(Pusher, "_push_step", remove_first)
    said = rlrun("archive", "sums", "--to", str(store))
    assert said.code == 0
    assert "step 20  not sent  -      it was removed meanwhile" in said.out


def test_a_run_of_another_identity_under_the_same_name_is_code_13(
    rlrun: Run, sums: RunMaker, make_run: Run, store: Path
) -> None:
    rlrun("archive", "sums", "--to", str(store))
    shutil.rmtree(sums.run.path)
    stopped_at_30(make_run("sums"))
    said = rlrun("archive", "sums", "--to", str(store))
    assert said.code == 13
    assert "has another run under the name 'sums'" in said.err


def test_repair_sends_again_what_is_damaged_there(rlrun: Run, sums: RunMaker, store: Path) -> None:
    rlrun("archive", "sums", "--to", str(store))
    object_of(store, 10).write_bytes(b"54321")
    object_of(store, 20).unlink()
    said = rlrun("archive", "sums", "--to", str(store), "--repair")
    assert "step 10  proved" in said.out
    assert "run 'sums': sent 2 objects, 10 B in" in said.out
    assert rlrun("verify", "sums", "--remote", "--read-data", "--to", str(store)).code == 0


def test_repair_says_what_of_another_machine_s_is_lost_there(
    rlrun: Run, bench: Any, store: Path
) -> None:
    folder = bench.evaluate().folder
    rlrun("archive", "a", "--to", str(store))
    shutil.rmtree(folder.path)
    (lost,) = store.glob("a/shared/*/questions.jsonl")
    lost.unlink()
    line = ("archive", "a", "--to", str(store), "--repair")
    said = rlrun(*line)
    assert (said.code, "questions.jsonl, which is not here" in said.err) == (0, True)
    assert rlrun("verify", "a", "--remote", "--to", str(store)).code == 0
    [one] = json.loads(rlrun(*line, "--json").out)["runs"]
    assert one["sent"]["notes"] == []


# ---- the cleanup


def test_a_cleanup_removes_what_is_proved_and_says_of_each_what_became_of_it(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    said = rlrun("archive", "sums", "--to", str(store), "--cleanup")
    assert said.code == 0
    words = [line.split(maxsplit=5) for line in said.out.splitlines()[4:7]]
    assert [(row[1], row[2], row[5]) for row in words] == [
        ("10", "removed", "not kept by keep_latest=1"),
        ("20", "removed", "not kept by keep_latest=1"),
        ("30", "stays", "the newest"),
    ]
    assert "run 'sums': removed 2 of 3 checkpoints, freed" in said.out
    assert "next: rlrun status sums" in said.err
    assert checkpoints.list_steps(sums.run) == [30]
    assert steps_in(store) == [10, 20, 30]


@pytest.mark.parametrize(
    ("arguments", "saving", "left"),
    [
        (["--keep-latest"], "", [30]),
        (["--keep", "2"], "", [20, 30]),
        ([], "saving:\n  keep_latest: 2\n", [20, 30]),
        (["--keep-latest"], "saving:\n  keep_latest: 2\n", [30]),
        ([], "saving:\n  keep_every: 20\n", [20, 30]),
        ([], "saving:\n  keep_latest: 1\n  keep_every: 10\n", [10, 20, 30]),
        (["--keep", "1"], "saving:\n  keep_every: 10\n", [30]),
        (["--keep-latest"], "saving:\n  keep_latest: 3\n  keep_every: 10\n", [30]),
    ],
)
def test_how_many_stay(
    arguments: list[str], saving: str, left: list[int], rlrun: Run, make_run: Run, store: Path
) -> None:
    made = stopped_at_30(make_run("sums", f"train:\n  max_steps: 100\n{saving}"))
    rlrun("archive", "sums", "--to", str(store), "--cleanup", *arguments)
    assert checkpoints.list_steps(made.run) == left


def test_pinned_ones_stay(rlrun: Run, sums: RunMaker, store: Path) -> None:
    pins.write_pin(sums.run, 10)
    said = rlrun("archive", "sums", "--to", str(store), "--cleanup")
    assert said.code == 0
    assert checkpoints.list_steps(sums.run) == [10, 30]


def test_one_whose_copy_is_not_proved_stays_and_is_code_14(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    rlrun("archive", "sums", "--to", str(store))
    object_of(store, 10).write_bytes(b"54321")
    said = rlrun("archive", "sums", "--to", str(store), "--cleanup")
    assert said.code == 14
    row = next(line for line in said.out.splitlines() if line.startswith("step 10"))
    assert row.split()[2] == "stays"
    assert row.endswith("model/weights has other bytes than were sent")
    assert (
        "error: run 'sums': step 10 stays because its copy is not proved ('rlrun archive sums "
        f"--repair --to {store}' sends again what is damaged there)\n" in said.err
    )
    assert checkpoints.list_steps(sums.run) == [10, 30]


def test_where_a_prune_is_at_work_the_advice_is_to_wait(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    rlrun("archive", "sums", "--to", str(store))
    mark = store / keys.prune_mark("sums", "0" * 8, 1, "0" * 32)
    mark.write_bytes(b"{}")
    said = rlrun("archive", "sums", "--to", str(store), "--cleanup")
    assert said.code == 14
    assert (
        "error: run 'sums': each of the steps 10, 20 stays because its copy is not proved: "
        f"{mark} says that 'rlrun prune --remote' is at work: wait for it; if none is, run it once "
        "more, it removes what a killed one left\n" in said.err
    )
    assert "--repair" not in said.err
    assert checkpoints.list_steps(sums.run) == [10, 20, 30]


def test_one_that_was_damaged_here_and_one_that_was_damaged_there_are_told_apart(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    rlrun("archive", "sums", "--to", str(store))
    object_of(store, 10).write_bytes(b"54321")
    (sums.run.step(20) / "model" / "weights").write_bytes(b"54321")
    said = rlrun("archive", "sums", "--to", str(store), "--cleanup")
    assert said.code == 14
    assert "step 10 stays because its copy is not proved ('rlrun archive sums --repair" in said.err
    assert "; and step 20 stays because its copy is not proved: " in said.err
    assert checkpoints.list_steps(sums.run) == [10, 20, 30]


def test_a_run_that_a_session_holds_is_pushed_and_not_cleaned_up(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    held = sums.is_held_here(2)
    said = rlrun("archive", "sums", "--to", str(store), "--cleanup")
    held.release()
    assert said.code == 5
    assert "run 'sums': sent 10 objects" in said.out
    assert "stop it with 'rlrun stop sums'" in said.err
    assert steps_in(store) == [10, 20, 30]
    assert checkpoints.list_steps(sums.run) == [10, 20, 30]


def test_a_cleanup_warns_of_an_archive_on_the_same_disk(
    rlrun: Run, sums: RunMaker, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = f"{store} is on the file system that holds run 'sums'"
    for is_shared in (True, False):
        monkeypatch.setattr(
            command.destination, "shares_file_system", lambda *_, found=is_shared: found
        )
        said = rlrun("archive", "sums", "--to", str(store), "--cleanup")
        assert (f"warning: {warning}" in said.err) == is_shared
    assert warning not in rlrun("archive", "sums", "--to", str(store)).err


# ---- the dry run


def test_a_dry_run_changes_nothing_and_says_what_is_then_done(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    with recorded() as calls:
        dry = rlrun("archive", "sums", "--to", str(store), "--cleanup", "--dry-run")
    assert calls == []
    assert not store.exists()
    assert dry.code == 0
    assert "step 10  would be sent" in dry.out
    assert "step 10  would go" in dry.out
    assert f"next: rlrun archive sums --cleanup --to {store}" in dry.err
    done = rlrun("archive", "sums", "--to", str(store), "--cleanup")
    amount = dry.out.split("would send ")[1].split(";")[0]
    assert f"sent {amount} in " in done.out
    assert "would remove 2 of 3 checkpoints" in dry.out
    assert "removed 2 of 3 checkpoints" in done.out


def test_json_of_a_dry_run_and_of_a_run_have_the_same_form(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    line = ("archive", "sums", "--to", str(store), "--cleanup", "--json")
    dry, done = (json.loads(rlrun(*line, *more).out) for more in (["--dry-run"], []))
    for said in (dry, done):
        [one] = said["runs"]
        assert (one["run"], one["archive"], one["failure"]) == ("sums", str(store), None)
        assert [step["step"] for step in one["sent"]["checkpoints"]] == [10, 20, 30]
        assert [step["goes"] for step in one["cleanup"]["checkpoints"]] == [True, True, False]
        assert one["sent"]["num_objects"] == 10
    assert (dry["is_dry_run"], done["is_dry_run"]) == (True, False)
    assert done["runs"][0]["archived"]["num_checkpoints"] == 3


# ---- several runs


def test_one_that_fails_does_not_stop_the_others_and_the_worst_code_counts(
    rlrun: Run, make_run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        stopped_at_30(make_run(name))
    (store / "a").mkdir(parents=True)
    whole = Pusher.push

    def refuse(self: Pusher) -> Any:
        if self.run.name == "a":
            raise ArchiveError("the archive refuses")
        if self.run.name == "b":
            spoil(self.run, 20)
        return whole(self)

    monkeypatch.setattr(Pusher, "push", refuse)
    said = rlrun("archive", "a", "b", "c", "--to", str(store))
    assert said.code == 13
    lines = said.err.splitlines()
    assert "error: run 'a': the archive refuses" in lines
    assert any(line.startswith("error: run 'b': step 20 cannot") for line in lines)
    assert lines[-1] == (
        "error: 2 of 3 runs did not end well: 'a', 'b'; why is said above, and the others are done"
    )
    assert steps_in(store, "c") == [10, 20, 30]
    data = json.loads(rlrun("archive", "a", "b", "c", "--to", str(store), "--json").out)
    codes = [one["failure"] and one["failure"]["exit_code"] for one in data["runs"]]
    assert codes == [13, 14, None]


def test_what_the_system_refuses_of_one_does_not_stop_the_others(
    rlrun: Run, make_run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("a")
    make_run("b")
    whole = Pusher.push

    def refuse(self: Pusher) -> Any:
        if self.run.name == "a":
            raise PermissionError(13, "Permission denied", "/runs/a/config.yaml")
        return whole(self)

    monkeypatch.setattr(Pusher, "push", refuse)
    said = rlrun("archive", "--all", "--to", str(store))
    assert said.code == 9
    assert "error: run 'a': cannot read /runs/a/config.yaml: Permission denied" in said.err
    assert catalog.run_names(FolderStorage(store)) == ["b"]


# ---- the storage behind it


@pytest.fixture
def storages(monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], list[object]]:
    """The folders that commands have opened, and those that they have closed."""
    opened: list[object] = []
    closed: list[object] = []
    whole = FolderStorage.__init__

    def open_one(self: FolderStorage, folder: Path) -> None:
        opened.append(self)
        whole(self, folder)

    monkeypatch.setattr(FolderStorage, "__init__", open_one)
    monkeypatch.setattr(FolderStorage, "close", lambda self: closed.append(self))
    return opened, closed


@pytest.mark.parametrize(
    "line",
    [
        "archive --all --to",
        "archive a b --cleanup --dry-run --to",
        "verify a --remote --to",
        "list --remote --to",
        "prune --remote --to",
        "prune a --remote --dry-run --to",
        "restore a --as c --from-archive",
        "restore a --model-only --from-archive",
        "restore nothing --from-archive",
        "resume a --from 15 --rewind --restore --from-archive",
    ],
)
def test_each_command_opens_an_archive_once_and_closes_it(
    line: str, storages: Any, rlrun: Run, make_run: Run, store: Path
) -> None:
    opened, closed = storages
    for name in ("a", "b"):
        stopped_at_30(make_run(name))
    rlrun("archive", "--all", "--to", str(store))
    opened.clear()
    closed.clear()
    rlrun(*line.split(), str(store))
    assert len(opened) == 1
    assert closed == opened


def test_one_that_is_stopped_closes_it_too(
    storages: Any, rlrun: Run, sums: RunMaker, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pusher, "push", interrupt)
    assert rlrun("archive", "sums", "--to", str(store)).code == 130
    opened, closed = storages
    assert len(closed) == len(opened) == 1


# ---- Ctrl-C

_SLOW = """
import sys, time
from rlrun.archive.folder_storage import FolderStorage
from rlrun.cli.app import main
whole = FolderStorage.put
def slowly(self, key, blob, note):
    whole(self, key, blob, note)
    print("sent", file=sys.stderr, flush=True)
    for _ in range(600):
        time.sleep(0.05)
        note(0)
FolderStorage.put = slowly
main()
"""


def test_ctrl_c_ends_all_transfers_and_says_that_the_same_command_goes_on(
    rlrun: Run, sums: RunMaker, store: Path
) -> None:
    line = [sys.executable, "-c", _SLOW, "archive", "sums", "--to", str(store), "--transfers", "4"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while process.stderr.readline() != "sent\n":
        pass
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert "what was sent is kept, nothing here was removed; the same command goes on" in said
    assert f"next: rlrun archive sums --to {store}" in said
    assert "Traceback" not in said
    assert rlrun("archive", "sums", "--to", str(store)).code == 0
    assert steps_in(store) == [10, 20, 30]


def test_ctrl_c_while_cleaning_up_is_a_sentence_and_gives_the_run_back(
    rlrun: Run, sums: RunMaker, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("rlrun.archive.proof.doubt", interrupt)
        rlrun("archive", "sums", "--to", str(store))
    rlrun("archive", "sums", "--to", str(store))
    with monkeypatch.context() as patched:
        patched.setattr("rlrun.archive.cleanup.retention.remove_step", interrupt)
        said = rlrun("archive", "sums", "--to", str(store), "--cleanup")
    assert said.code == 130
    assert "only what was proved was removed; the same command goes on" in said.err
    assert not sums.run.lock.exists()
    assert checkpoints.list_steps(sums.run) == [10, 20, 30]
