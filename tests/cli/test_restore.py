"""`rlrun restore`: what comes back, what is refused, what it says; and steps that others fetch."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.run_maker import RunMaker

from rlrun.archive.fetching import Fetcher
from rlrun.runs import checkpoints
from rlrun.runs import store as runs
from rlrun.runs.layout import RunDir

Run = Callable[..., Any]


@pytest.fixture
def archived(rlrun: Run, sums: RunMaker, store: Path) -> RunMaker:
    """The run 'sums', all of it in the archive as well."""
    rlrun("archive", "sums", "--to", str(store))
    return sums


@pytest.fixture
def lost(archived: RunMaker) -> RunDir:
    """The run 'sums', which is in the archive only."""
    shutil.rmtree(archived.run.path)
    return archived.run


def test_a_run_that_is_lost_comes_back_with_its_newest_step(
    rlrun: Run, lost: RunDir, store: Path
) -> None:
    said = rlrun("restore", "sums", "--from-archive", str(store))
    assert said.code == 0
    first, directory = said.out.splitlines()
    assert first.startswith("run 'sums' is here again: step 30 fetched (")
    assert directory == f"directory  {lost.path}"
    assert said.err.splitlines() == [
        f"run 'sums': restoring from {store}",
        "next: rlrun resume sums",
        "      rlrun status sums",
    ]
    assert checkpoints.list_steps(lost) == [30]


@pytest.mark.parametrize(
    ("asked", "steps"), [("all", [10, 20, 30]), ("20", [20]), ("latest", [30])]
)
def test_the_steps_that_are_asked_for_come(
    asked: str, steps: list[int], rlrun: Run, lost: RunDir, store: Path
) -> None:
    rlrun("restore", "sums", "--from-archive", str(store), "--step", asked)
    assert checkpoints.list_steps(lost) == steps


def test_what_is_here_already_is_not_fetched_again(
    rlrun: Run, archived: RunMaker, store: Path
) -> None:
    shutil.rmtree(archived.run.step(20))
    said = rlrun("restore", "sums", "--step", "all")
    assert "run 'sums' is up to date: step 20 fetched, steps 10, 30 here already" in said.out


def test_the_archive_that_the_run_here_was_in_last_is_known(
    rlrun: Run, archived: RunMaker, store: Path
) -> None:
    said = rlrun("restore", "sums")
    assert f"restoring from {store}" in said.err
    assert "step 30 here already" in said.out


def test_a_lost_run_needs_a_place(rlrun: Run, lost: RunDir) -> None:
    said = rlrun("restore", "sums")
    assert said.code == 2
    assert "give --from-archive s3://bucket/prefix, a folder, or 'local'" in said.err


def test_json_says_what_came(rlrun: Run, lost: RunDir, store: Path) -> None:
    line = ("restore", "sums", "--from-archive", str(store), "--json")
    data = json.loads(rlrun(*line).out)
    assert (data["run"], data["archive"], data["is_new"]) == ("sums", str(store), True)
    assert (data["new_steps"], data["known_steps"]) == ([30], [])
    assert json.loads(rlrun(*line).out)["known_steps"] == [30]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["sums", "--step", "x"], 2, "--step takes a step's number, 'latest' or 'all', not 'x'"),
        (["sums", "--step", "all", "--model-only"], 2, "--model-only restores one model"),
        (["sums", "--step", "15"], 4, "the archive has no step 15 of the run; it has 10, 20, 30"),
        (["sum"], 4, "it has sums"),
        (["../sums"], 2, "cannot name a run"),
        (["sums", "--as", "a/b"], 2, "cannot name a run"),
    ],
)
def test_what_cannot_be_restored_is_a_sentence(
    arguments: list[str], code: int, sentence: str, rlrun: Run, lost: RunDir, store: Path
) -> None:
    said = rlrun("restore", *arguments, "--from-archive", str(store))
    assert said.code == code
    assert sentence in said.err
    assert not lost.path.exists()


def test_another_run_of_the_name_is_refused_with_both_ways_out(
    rlrun: Run, lost: RunDir, make_run: Run, store: Path, root: Path
) -> None:
    make_run("sums")
    said = rlrun("restore", "sums", "--from-archive", str(store))
    assert said.code == 4
    assert "with --as NAME, or move what is here aside, nothing deleted, with --force" in said.err
    beside = rlrun("restore", "sums", "--from-archive", str(store), "--as", "again")
    assert beside.code == 0
    assert "next: rlrun resume again" in beside.err
    forced = rlrun("restore", "sums", "--from-archive", str(store), "--force")
    assert forced.code == 0
    assert f"what was here is now {root}/archive/replaced/sums_" in forced.err
    assert checkpoints.list_steps(lost) == [30]


def test_a_model_alone_is_put_beside_the_runs_with_the_way_to_score_it(
    rlrun: Run, archived: RunMaker, store: Path, root: Path
) -> None:
    folder = root / "archive" / "models" / "sums_step_20"
    line = ("restore", "sums", "--from-archive", str(store), "--step", "20", "--model-only")
    said = rlrun(*line)
    assert said.out == f"the model is in {folder}\n"
    assert said.err.endswith(f"next: rlrun eval sums --ckpt-path {folder}\n")
    assert (folder / "model" / "weights").read_bytes() == b"12345"
    shutil.rmtree(archived.run.path)
    assert rlrun(*line).err.endswith(f"next: rlrun eval --ckpt-path {folder} --config RECIPE\n")
    assert json.loads(rlrun(*line, "--json").out)["directory"] == str(folder)


def test_what_comes_damaged_is_never_seen(rlrun: Run, lost: RunDir, store: Path) -> None:
    next(store.glob("sums/step_30-*/model/weights")).write_bytes(b"54321")
    said = rlrun("restore", "sums", "--from-archive", str(store))
    assert said.code == 6
    assert "comes with other bytes than were sent" in said.err
    assert not lost.path.exists()


def test_ctrl_c_is_a_sentence_and_the_same_command_goes_on(
    rlrun: Run, lost: RunDir, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Fetcher, "fetch", interrupt)
        said = rlrun("restore", "sums", "--from-archive", str(store))
    assert said.code == 130
    assert "what was fetched is kept; the same command goes on" in said.err
    assert not lost.path.exists()
    assert rlrun("restore", "sums", "--from-archive", str(store)).code == 0


# ---- resume and eval on a step that is only in an archive


@pytest.fixture
def cleaned(rlrun: Run, sums: RunMaker, store: Path, fake_worker: Run) -> RunMaker:
    """The run 'sums' with step 30; the steps 10 and 20 are in the archive only."""
    fake_worker(max_steps=100)
    rlrun("archive", "sums", "--to", str(store), "--cleanup")
    return sums


def test_resuming_from_a_step_in_an_archive_offers_to_restore_it(
    rlrun: Run, cleaned: RunMaker, store: Path
) -> None:
    said = rlrun("resume", "sums", "--from", "20", "--rewind")
    assert (said.code, said.err) == (
        4,
        f"error: step 20 of run 'sums' is not here but in {store}; add --restore to fetch it "
        "first\n",
    )


def test_it_is_fetched_from_where_it_is_known_to_be_and_the_session_goes_on(
    rlrun: Run, cleaned: RunMaker, store: Path
) -> None:
    said = rlrun("resume", "sums", "--from", "20", "--rewind", "--restore")
    assert f"run 'sums': restoring step 20 from {store}" in said.err
    assert "run 'sums': step 20 is here again (" in said.err
    assert said.code == 0
    assert 20 in checkpoints.list_steps(cleaned.run)


def test_a_fork_can_begin_at_it(rlrun: Run, cleaned: RunMaker, root: Path) -> None:
    said = rlrun("resume", "sums", "--from", "10", "--fork", "branch", "--restore")
    assert said.code == 7  # the run ends at step 10
    assert checkpoints.list_steps(cleaned.run) == [30]  # and nothing is fetched for that
    extended = ("--set", "train.max_steps=100")
    said = rlrun("resume", "sums", "--from", "10", "--fork", "branch", "--restore", *extended)
    assert "forked run 'branch' from step 10 of 'sums'" in said.err
    parent = runs.read_identity(RunDir(root / "training_runs" / "branch")).parent
    assert parent is not None
    assert (parent.name, parent.step) == ("sums", 10)


def test_nothing_is_fetched_that_would_be_refused(rlrun: Run, cleaned: RunMaker) -> None:
    said = rlrun("resume", "sums", "--from", "20", "--restore")
    assert said.code == 2
    assert "add --rewind to go back to it" in said.err
    held = cleaned.is_held_here(2)
    assert rlrun("resume", "sums", "--from", "20", "--rewind", "--restore").code == 5
    held.release()
    assert checkpoints.list_steps(cleaned.run) == [30]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--restore"], "--restore goes with --from STEP"),
        (["--from", "20", "--from-archive", "x"], "--from-archive goes with --restore"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], sentence: str, rlrun: Run, cleaned: RunMaker
) -> None:
    said = rlrun("resume", "sums", *arguments)
    assert said.code == 2
    assert sentence in said.err


def test_a_step_that_is_nowhere_is_said(rlrun: Run, cleaned: RunMaker) -> None:
    said = rlrun("resume", "sums", "--from", "15", "--rewind")
    assert "run 'sums' has no step 15 to go on from; it has 30" in said.err
    said = rlrun("resume", "sums", "--from", "15", "--rewind", "--restore")
    assert said.code == 4
    assert "the archive has no step 15 of the run; it has 10, 20, 30" in said.err


def test_a_fetch_that_is_stopped_starts_no_session(
    rlrun: Run, cleaned: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Fetcher, "fetch", interrupt)
    said = rlrun("resume", "sums", "--from", "20", "--rewind", "--restore")
    assert said.code == 130
    assert "what was fetched is kept; the same command goes on" in said.err
