"""`rlrun verify`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import journal

from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.remote_check import RemoteCheck
from rlrun.cli import verify_remote
from rlrun.cli.archive_options import Archive
from rlrun.runs import jsonl

Run = Callable[..., Any]


@pytest.fixture
def whole(make_run: Run) -> Any:
    """The run 'a' with the steps 1 and 2, and all that belongs to them."""
    maker = make_run("a")
    maker.opens(1)
    maker.starts(1)
    for step in (1, 2):
        records = (journal.group(step), journal.batch(step))
        with maker.run.journal.open("ab") as file:
            file.writelines(jsonl.encode(one.to_record(), checked=True) for one in records)
        maker.saves(step)
    maker.steps(1, 2)
    maker.run.ratios.write_bytes(maker.run.train_log.read_bytes())
    maker.ends(1, step=2, outcome="stopped")
    return maker


def test_a_whole_run_says_what_was_read(rlrun: Run, whole: Any) -> None:
    said = rlrun("verify", "a")
    assert said.code == 0
    rows = [line.split() for line in said.out.splitlines()]
    assert ["step", "2", "valid", "2"] in [row[:4] for row in rows]
    assert said.out.endswith("run 'a' is whole: 2 checkpoints, 11 records\n")
    assert said.err.startswith("reading run 'a' (")
    assert said.err.endswith("next: rlrun resume a\n")


def test_a_note_is_told_and_is_no_damage(rlrun: Run, whole: Any) -> None:
    whole.run.unfinished_step(3).mkdir()
    said = rlrun("verify", "a")
    assert said.code == 0
    assert (
        "note: training_state/.step_3.tmp: a killed session left it; the next session mends it"
        in said.out
    )
    assert "11 records, 1 note" in said.out


def test_damage_is_code_6_with_every_finding_and_the_way_on(rlrun: Run, whole: Any) -> None:
    (whole.run.step(2) / "model" / "weights").write_bytes(b"54321")
    whole.run.ratios.unlink()
    said = rlrun("verify", "a")
    assert said.code == 6
    damage = [line for line in said.out.splitlines() if line.startswith("damage: ")]
    assert [line.split(": ")[1] for line in damage] == [
        "training_state/step_2",
        "logs/ratios.jsonl",
    ]
    assert "model/weights does not match its SHA-256; it is never used; restore it" in damage[0]
    assert said.err.endswith(
        "error: run 'a' is damaged in logs/ratios.jsonl, training_state/step_2; 'rlrun resume a' "
        "would go on from step 1, the newest that verifies\n"
    )


def test_without_a_good_checkpoint_no_way_on_is_promised(rlrun: Run, whole: Any) -> None:
    for step in (1, 2):
        (whole.run.step(step) / "model" / "weights").write_bytes(b"54321")
    assert "no checkpoint verifies" in rlrun("verify", "a").err


def test_json_has_everything_also_when_there_is_damage(rlrun: Run, whole: Any) -> None:
    (whole.run.step(2) / "model" / "weights").write_bytes(b"54321")
    said = rlrun("verify", "a", "--json")
    data = json.loads(said.out)
    assert (said.code, data["is_whole"]) == (6, False)
    assert [one["verdict"] for one in data["checkpoints"]] == ["valid", "invalid"]
    assert data["findings"][0]["path"] == "training_state/step_2"
    assert json.loads(said.err)["exit_code"] == 6


def test_another_tool_s_run_cannot_be_verified(rlrun: Run, make_foreign_run: Run) -> None:
    make_foreign_run("old")
    assert rlrun("verify", "old").code == 4


# ---- the copy in an archive


@pytest.fixture
def archived(rlrun: Run, sums: Any, store: Path) -> Any:
    """The run 'sums', all of it in the archive as well."""
    rlrun("archive", "sums", "--to", str(store))
    return sums


def test_a_whole_copy_says_what_was_looked_at(rlrun: Run, archived: Any, store: Path) -> None:
    said = rlrun("verify", "sums", "--remote")
    assert said.code == 0
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0] == ["CHECKPOINT", "STATE", "FILES", "SIZE"]
    assert [row[:4] for row in rows[1:4]] == [
        ["step", str(step), "whole", "2"] for step in (10, 20, 30)
    ]
    assert f"run 'sums' is whole in {store}: 3 checkpoints, 10 objects, " in said.out
    assert said.out.endswith(
        "; sizes compared (a folder computes no checksums; --read-data reads every byte)\n"
    )
    assert said.err.endswith(f"next: rlrun archive sums --cleanup --dry-run --to {store}\n")
    assert rlrun("verify", "sums", "--remote", "--read-data").out.endswith("; every byte read\n")


def test_a_store_without_checksums_is_not_called_a_folder(tmp_path: Path) -> None:
    found = RemoteCheck((), (), 0, 0, "sizes")
    place = Archive(FolderStorage(tmp_path), 8, None, "")
    assert "sizes compared (this store computes no checksums; --read-data" in verify_remote.summary(
        "sums", place, found
    )


def test_a_copy_whose_folder_was_renamed_is_told(rlrun: Run, archived: Any, store: Path) -> None:
    (store / "sums").rename(store / "other")
    said = rlrun("verify", "other", "--remote", "--to", str(store))
    assert said.code == 6
    assert "is of run 'sums', not 'other'; rename the folder back to 'sums'" in said.out
    said = rlrun("restore", "other", "--from-archive", str(store))
    assert said.code == 6
    assert "rename the folder back to 'sums'" in said.err


def test_damage_of_a_copy_is_code_6_with_the_way_to_mend_it(
    rlrun: Run, archived: Any, store: Path
) -> None:
    next(store.glob("sums/step_20-*/model/weights")).write_bytes(b"54321")
    assert rlrun("verify", "sums", "--remote").code == 0
    said = rlrun("verify", "sums", "--remote", "--read-data")
    assert said.code == 6
    assert ["step", "20", "damaged"] in [line.split()[:3] for line in said.out.splitlines()]
    assert "damage: sums/step_20-" in said.out
    assert "/model/weights: has other bytes than were sent\n" in said.out
    assert said.err.endswith(
        f"error: run 'sums' is damaged in {store} (1 finding above; whole are the steps 10, 30); "
        f"where the run is still on disk, 'rlrun archive sums --repair --to {store}' sends again "
        "what is missing\n"
    )
    data = json.loads(rlrun("verify", "sums", "--remote", "--read-data", "--json").out)
    assert (data["is_whole"], data["looked_at"]) == (False, "data")
    assert [one["is_whole"] for one in data["checkpoints"]] == [True, False, True]


def test_a_copy_of_a_run_that_is_not_here_is_checked(
    rlrun: Run, archived: Any, store: Path
) -> None:
    shutil.rmtree(archived.run.path)
    said = rlrun("verify", "sums", "--remote", "--to", str(store))
    assert said.code == 0
    assert said.err.endswith(f"next: rlrun restore sums --from-archive {store}\n")
    assert rlrun("verify", "sum", "--remote", "--to", str(store)).code == 4


def test_what_is_about_a_copy_goes_with_remote(rlrun: Run, archived: Any) -> None:
    said = rlrun("verify", "sums", "--read-data")
    assert said.code == 2
    assert "--read-data goes with --remote; add that, or leave --read-data out" in said.err
