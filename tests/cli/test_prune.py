"""`rlrun prune`, here and in an archive."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.calls import recorded

from rlrun.runs import checkpoints, lock, pins, retention, rewind
from rlrun.runs.layout import RunDir

Run = Callable[..., Any]


@pytest.fixture
def five(make_run: Run) -> Any:
    """The run 'a' with the steps 1 to 5, and a session that stopped behind them."""
    maker = make_run("a")
    maker.opens(1)
    maker.starts(1)
    for step in range(1, 6):
        maker.saves(step)
    maker.ends(1, step=5, outcome="stopped")
    return maker


def test_it_says_of_each_checkpoint_what_became_of_it_and_why(rlrun: Run, five: Any) -> None:
    said = rlrun("prune", "a", "--keep-latest", "2", "--keep-every", "2")
    size = checkpoints.num_bytes(five.run.step(5))
    assert said.code == 0
    assert [line.split(maxsplit=5) for line in said.out.splitlines()] == [
        ["step", "1", "removed", str(size), "B", "not kept by keep_latest=2, keep_every=2"],
        ["step", "2", "stays", str(size), "B", "divisible by 2"],
        ["step", "3", "removed", str(size), "B", "not kept by keep_latest=2, keep_every=2"],
        ["step", "4", "stays", str(size), "B", "one of the newest 2, divisible by 2"],
        ["step", "5", "stays", str(size), "B", "the newest"],
        ["run", "'a':", "removed", "2", "of", f"5 checkpoints, freed {2 * size} B"],
    ]
    assert said.err == "next: rlrun resume a\n"
    assert checkpoints.list_steps(five.run) == [2, 4, 5]


def test_a_dry_run_changes_nothing_and_says_the_same(rlrun: Run, five: Any) -> None:
    with recorded() as calls:
        said = rlrun("prune", "a", "--keep-latest", "1", "--dry-run")
    assert calls == []
    assert "step 4  would go" in said.out
    assert "would remove 4 of 5 checkpoints" in said.out
    assert said.err == "next: rlrun prune a --keep-latest 1\n"
    assert checkpoints.list_steps(five.run) == [1, 2, 3, 4, 5]


def test_the_rules_are_the_configuration_s_unless_they_are_given(rlrun: Run, make_run: Run) -> None:
    text = "train:\n  max_steps: 10\nsaving:\n  keep_latest: 2\n  keep_every: 3\n"
    maker = make_run("a", text)
    for step in range(1, 6):
        maker.saves(step)
    rlrun("prune", "a", "--keep-latest", "1", "--dry-run")
    said = json.loads(rlrun("prune", "a", "--keep-latest", "1", "--dry-run", "--json").out)
    assert said["rules"] == {"keep_latest": 1, "keep_every": 3}
    assert [one["step"] for one in said["checkpoints"] if one["goes"]] == [1, 2, 4]
    rlrun("prune", "a")
    assert checkpoints.list_steps(maker.run) == [3, 4, 5]


def test_without_a_rule_it_says_how_to_give_one(rlrun: Run, five: Any) -> None:
    said = rlrun("prune", "a")
    assert said.code == 2
    assert "give --keep-latest N or --keep-every N" in said.err
    assert "'rlrun resume a --set saving.keep_latest=N'" in said.err


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_a_number_that_keeps_nothing_is_refused(number: str, rlrun: Run, five: Any) -> None:
    assert rlrun("prune", "a", "--keep-latest", number).code == 2
    assert len(checkpoints.list_steps(five.run)) == 5


def test_nothing_to_remove_is_no_error(rlrun: Run, five: Any, make_run: Run) -> None:
    said = rlrun("prune", "a", "--keep-latest", "5")
    assert said.code == 0
    assert "run 'a': nothing to remove of 5 checkpoints" in said.out
    make_run("b")
    assert rlrun("prune", "b", "--keep-latest", "5").code == 0


def test_a_run_that_a_session_holds_is_refused_and_its_dry_run_is_not(
    rlrun: Run, five: Any
) -> None:
    held = five.is_held_here(2)
    said = rlrun("prune", "a", "--keep-latest", "1")
    assert said.code == 5
    assert "stop it with 'rlrun stop a'" in said.err
    assert rlrun("prune", "a", "--keep-latest", "1", "--dry-run").code == 0
    held.release()
    assert len(checkpoints.list_steps(five.run)) == 5


def test_another_tool_s_run_is_refused(rlrun: Run, make_foreign_run: Run) -> None:
    make_foreign_run("old")
    said = rlrun("prune", "old", "--keep-latest", "1")
    assert said.code == 4
    assert "was not written by rlrun" in said.err


def test_a_rewind_that_was_broken_off_is_finished_first(rlrun: Run, five: Any) -> None:
    rewind.begin(five.run, 3)
    dry = rlrun("prune", "a", "--keep-latest", "2", "--dry-run")
    assert "a rewind to step 3 would be finished first" in dry.err
    assert "would remove 1 of 3 checkpoints" in dry.out
    assert checkpoints.list_steps(five.run) == [1, 2, 3, 4, 5]
    said = rlrun("prune", "a", "--keep-latest", "2")
    assert said.code == 0
    assert "finished an interrupted rewind to step 3" in said.err
    assert checkpoints.list_steps(five.run) == [2, 3]
    behind = RunDir(five.run.abandoned_root / "rewind_0")
    assert checkpoints.list_steps(behind) == [4, 5]
    assert not five.run.rewind.exists()


def test_leftovers_go_and_the_link_is_repaired_before_its_target_goes(
    rlrun: Run, five: Any
) -> None:
    run: RunDir = five.run
    run.unfinished_step(9).mkdir()
    checkpoints.repair_link(run, 2, session=1)
    assert rlrun("prune", "a", "--keep-latest", "1").code == 0
    assert checkpoints.linked_step(run) == 5
    assert not list(run.training_state.glob(".*.tmp"))


def test_pinned_checkpoints_stay_and_those_pinned_meanwhile_too(
    rlrun: Run, five: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins.write_pin(five.run, 1)
    whole = retention.remove_step

    def pin_first(run: RunDir, step: checkpoints.Step, reason: str) -> bool:
        if step.step == 3:
            pins.write_pin(run, 3)
        return whole(run, step, reason)

    monkeypatch.setattr(retention, "remove_step", pin_first)
    said = rlrun("prune", "a", "--keep-latest", "1")
    assert checkpoints.list_steps(five.run) == [1, 3, 5]
    assert "pinned or in use meanwhile" in said.out
    assert "removed 2 of 5 checkpoints" in said.out


def test_ctrl_c_leaves_whole_checkpoints_and_gives_the_run_back(
    rlrun: Run, five: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(retention.files, "remove_tree", interrupt)
        said = rlrun("prune", "a", "--keep-latest", "1")
    assert said.code == 130
    assert "the next 'rlrun prune a' or session finishes what was begun" in said.err
    assert not five.run.lock.exists()
    assert rlrun("prune", "a", "--keep-latest", "1").code == 0
    assert checkpoints.list_steps(five.run) == [5]


# ---- who holds the run meanwhile


def test_while_it_works_a_run_is_not_running_but_is_held(rlrun: Run, five: Any) -> None:
    held = lock.Lock(five.run, lambda: lock.TIDYING, heartbeat_seconds=None)
    status = rlrun("status", "a").out
    assert f"stopped, being tidied by pid {held.owner.pid} on {held.owner.host}" in status
    for line in (["resume", "a"], ["prune", "a", "--keep-latest", "1"], ["stop", "a"]):
        said = rlrun(*line)
        assert said.code == 5
        assert f"is being tidied by pid {held.owner.pid}" in said.err
    assert rlrun("stop").code == 7
    held.release()


def test_one_that_was_killed_leaves_the_run_s_status_as_it_was(rlrun: Run, five: Any) -> None:
    before = rlrun("status", "a").out
    five.was_held_by_the_dead(lock.TIDYING)
    assert rlrun("status", "a").out == before
    assert rlrun("prune", "a", "--keep-latest", "1").code == 0
    assert not five.run.lock.exists()


def test_a_run_that_was_tidied_is_not_thereby_the_most_recent_one(
    rlrun: Run, five: Any, make_run: Run
) -> None:
    make_run("b").opens()
    for path in (five.run.sessions, five.run.identity):
        path.touch()
    newest = json.loads(rlrun("list", "--json").out)["runs"][0]["name"]
    rlrun("prune", "b", "--keep-latest", "1")
    assert json.loads(rlrun("list", "--json").out)["runs"][0]["name"] == newest == "a"


# ---- what broken pushes left in an archive

OLD = 1_000_000_000.0


@pytest.fixture
def littered(rlrun: Run, sums: Any, store: Path) -> Path:
    """An archive of 'sums' with an object that nothing needs since long, and another one."""
    rlrun("archive", "sums", "--to", str(store))
    for letter, moment in (("a", OLD), ("b", None)):
        path = store / "sums" / "shared" / (64 * letter) / "left"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"123")
        if moment:
            os.utime(path, (moment, moment))
    return store


def test_what_no_checkpoint_needs_goes_from_an_archive_once_it_is_old(
    rlrun: Run, littered: Path
) -> None:
    line = ("prune", "--remote", "--to", str(littered))
    dry = rlrun(*line, "--dry-run")
    assert f"sums/shared/{64 * 'a'}/left  would go  3 B  unreferenced" in dry.out
    assert dry.out.endswith(
        f"run 'sums' in {littered}: would remove 1 leftover, would free 3 B; 1 object younger than "
        "a day stay for now\n"
    )
    assert dry.err == f"next: rlrun prune --remote --to {littered}\n"
    assert len(list(littered.glob("sums/shared/*/left"))) == 2
    done = rlrun(*line, "--json")
    [one] = json.loads(done.out)["runs"]
    assert [left["num_bytes"] for left in one["leftovers"]] == [3]
    assert len(list(littered.glob("sums/shared/*/left"))) == 1
    said = rlrun(*line)
    assert f"run 'sums' in {littered}: nothing to remove; 1 object younger" in said.out
    assert said.err == f"next: rlrun list --remote --to {littered}\n"
    assert rlrun("verify", "sums", "--remote").code == 0


def test_one_run_of_an_archive_can_be_named(rlrun: Run, littered: Path, make_run: Run) -> None:
    make_run("other")
    rlrun("archive", "other", "--to", str(littered))
    said = rlrun("prune", "sums", "--remote")
    assert "run 'sums' in" in said.out
    assert "other" not in said.out
    said = rlrun("prune", "sum", "--remote", "--to", str(littered))
    assert said.code == 4
    assert f"there is no run 'sum' in {littered}; it has other, sums" in said.err


def test_where_one_run_cannot_be_pruned_the_others_are(
    rlrun: Run, littered: Path, make_run: Run
) -> None:
    make_run("other")
    rlrun("archive", "other", "--to", str(littered))
    next(littered.glob("other/manifests/records_*")).write_bytes(b"{}")
    said = rlrun("prune", "--remote", "--to", str(littered))
    assert said.code == 6
    assert "run 'sums' in" in said.out
    assert "1 of 2 runs did not end well: 'other'" in said.err


def test_checkpoints_here_and_an_archive_are_pruned_apart(rlrun: Run, littered: Path) -> None:
    said = rlrun("prune", "sums", "--remote", "--keep-latest", "1")
    assert said.code == 2
    assert "none is removed from an archive" in said.err
    assert rlrun("prune", "sums", "--keep-latest", "1", "--to", str(littered)).code == 2
