"""Names and paths: what docs/design.md draws, and nothing outside it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.errors import UsageError
from rlrun.runs.layout import (
    SEGMENT_PATTERN,
    STEP_PATTERN,
    RunDir,
    check_name,
    find_root,
    important_checkpoint,
    runs_folder,
)


def test_the_root_is_the_option_before_the_environment_before_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    both = {"RLRUN_ROOT": "/a", "LOCALFS_ROOT": "/b"}
    assert find_root(Path("/option"), both) == Path("/option")
    assert find_root(None, both) == Path("/a")
    assert find_root(None, {"LOCALFS_ROOT": "/b"}) == Path("/b")
    assert find_root(None, {}) == tmp_path / "runs"


def test_an_empty_variable_names_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_root(None, {"RLRUN_ROOT": ""}) == tmp_path / "runs"


def test_a_relative_root_is_made_absolute_and_a_home_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert find_root(Path("here"), {}) == tmp_path / "here"
    assert find_root(Path("~/runs"), {}) == Path("/home/ada/runs")


@pytest.mark.parametrize(
    "name", ["a", "0", "gsm8k-7f3a", "run_2026-01-31_12-00-00", "A.b", "x" * 100]
)
def test_a_plain_name_can_name_a_run(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "x" * 101, "a\n", "é"]
)
def test_another_name_is_refused_with_what_would_do(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a run; use letters, digits"):
        check_name(name)


@given(st.text(max_size=12))
def test_an_accepted_name_is_one_folder_that_is_not_hidden(name: str) -> None:
    try:
        check_name(name)
    except UsageError:
        return
    path = Path("/runs") / name
    assert path.parent == Path("/runs")
    assert path.name == name
    assert not name.startswith(".")


def test_every_path_is_where_the_design_draws_it() -> None:
    run = RunDir(runs_folder(Path("/root")) / "sums")
    drawn = {
        run.path: "",
        run.config: "config.yaml",
        run.identity: "run.json",
        run.lock: "lock.json",
        run.training_state: "training_state",
        run.step(7): "training_state/step_7",
        run.unfinished_step(7): "training_state/.step_7.tmp",
        run.removed_step(7): "training_state/.step_7.removed.tmp",
        run.quarantine: "quarantine",
        run.quarantine_reasons: "quarantine/reasons.jsonl",
        run.latest_link: "training_state/step_latest",
        run.pins: "pins",
        run.pin(7): "pins/step_7",
        run.logs: "logs",
        run.train_log: "logs/train_log.jsonl",
        run.ratios: "logs/ratios.jsonl",
        run.journal: "logs/rollouts.jsonl",
        run.segments: "logs/rollouts",
        run.segment(3, 5): "logs/rollouts/step_3-5.jsonl",
        run.sessions: "logs/sessions.jsonl",
        run.removals: "logs/removals.jsonl",
        run.worker_log: "logs/worker.log",
        run.abandoned(2): "logs/abandoned/session_2",
        run.tensorboard: "tensorboard",
    }
    for path, relative in drawn.items():
        assert path == Path("/root/training_runs/sums") / relative
    assert run.name == "sums"
    copy = important_checkpoint(Path("/root"), "sums", 7)
    assert copy == Path("/root/archive/important_checkpoints/sums_step_7")


@pytest.mark.parametrize(
    "name", ["step_01", "step_-1", "step_1.tmp", "step_latest", ".step_1", "step_"]
)
def test_only_a_plain_number_names_a_step(name: str) -> None:
    assert not STEP_PATTERN.fullmatch(name)


@given(st.integers(min_value=0), st.integers(min_value=1), st.integers(min_value=1))
def test_the_paths_of_steps_and_segments_are_recognised(step: int, first: int, last: int) -> None:
    run = RunDir(Path("/run"))
    found = STEP_PATTERN.fullmatch(run.step(step).name)
    assert found is not None
    assert int(found[1]) == step
    segment = SEGMENT_PATTERN.fullmatch(run.segment(first, last).name)
    assert segment is not None
    assert (int(segment[1]), int(segment[2])) == (first, last)
