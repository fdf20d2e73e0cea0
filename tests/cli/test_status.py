"""`rlrun status`."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlrun.runs import checkpoints, pins

Run = Callable[..., Any]


def stopped(make_run: Run) -> Any:
    maker = make_run("a")
    maker.opens(1)
    maker.starts(1)
    maker.steps(1, 7)
    maker.saves(5)
    maker.ends(1, step=7, outcome="stopped")
    return maker


def test_a_run_at_length(rlrun: Run, make_run: Run) -> None:
    maker = stopped(make_run)
    maker.run.step(9).mkdir()
    said = rlrun("status", "a")
    lines = [line.split() for line in said.out.splitlines()]
    assert ["status", "stopped"] in lines
    assert ["step", "7/10"] in lines
    assert ["saved", "step", "5", "(9", "foreign)"] in lines
    assert ["1", "0-7", "stopped"] in [line[:3] for line in lines]
    assert ["step", "5", "valid"] in [line[:3] for line in lines]
    assert [
        "step",
        "9",
        "foreign",
        "local",
        "0",
        "B",
        "training_info.json",
        "is",
        "missing",
    ] in lines
    assert said.err == "next: rlrun resume a\n"


def test_the_most_recently_active_run_is_shown_without_a_name(rlrun: Run, make_run: Run) -> None:
    stopped(make_run)
    assert rlrun("status").out == rlrun("status", "a").out


def test_a_running_session_is_running_and_one_without_an_end_was_killed(
    rlrun: Run, make_run: Run
) -> None:
    maker = stopped(make_run)
    maker.opens(2)
    maker.starts(2, from_step=5)
    maker.opens(3)
    maker.is_held_elsewhere(3)
    said = rlrun("status", "a")
    rows = [line.split()[:3] for line in said.out.splitlines()]
    assert ["2", "5", "killed"] in rows
    assert ["3", "-", "running"] in rows
    assert "status     running, pid 4121 on gpu-2" in said.out
    assert "rlrun logs -f a" in said.err


def test_a_failure_is_told_in_its_own_words(rlrun: Run, make_run: Run) -> None:
    maker = make_run("a")
    maker.opens()
    maker.ends(step=0, outcome="failed", exit_code=8, message="out of memory while loading")
    said = rlrun("status", "a")
    assert "why        out of memory while loading" in said.out
    assert "next: rlrun logs a --worker" in said.err


def test_json_has_the_run_its_sessions_and_its_checkpoints(rlrun: Run, make_run: Run) -> None:
    stopped(make_run)
    data = json.loads(rlrun("status", "a", "--json").out)
    assert (data["run"]["status"], data["run"]["step"]) == ("stopped", 7)
    assert data["rewards"] == [0.5] * 7
    assert data["sessions"][0]["end"]["outcome"] == "stopped"
    assert data["checkpoints"][0]["verdict"] == "valid"
    assert data["next"][0] == "rlrun resume a"


def test_a_run_of_another_tool_is_shown(rlrun: Run, make_foreign_run: Run) -> None:
    make_foreign_run("old")
    said = rlrun("status", "old")
    assert said.code == 0
    assert "status     foreign" in said.out
    assert "saved      no step yet (40 foreign)" in said.out


def test_a_damaged_ledger_is_code_6(rlrun: Run, make_run: Run) -> None:
    make_run("a").run.sessions.write_text("garbage\nmore\n")
    assert rlrun("status", "a").code == 6


def test_of_many_checkpoints_the_newest_and_the_invalid_have_a_row(
    rlrun: Run, make_run: Run
) -> None:
    maker = make_run("a")
    for step in range(1, 14):
        maker.saves(step)
    (maker.run.step(2) / "model" / "weights").write_bytes(b"")
    said = rlrun("status", "a")
    rows = [line.split() for line in said.out.splitlines() if line.startswith("step ")]
    steps = [int(row[1]) for row in rows if row[2:3] and row[2] in ("valid", "invalid")]
    assert steps == [2, *range(4, 14)]
    assert "(2 earlier checkpoints not shown; use --json)" in said.err


def test_a_pinned_checkpoint_says_so_and_has_a_row(rlrun: Run, make_run: Run) -> None:
    maker = make_run("a")
    for step in range(1, 14):
        maker.saves(step)
    pins.write_pin(maker.run, 2)
    said = rlrun("status", "a")
    assert ["step", "2", "valid,", "pinned"] in [line.split()[:4] for line in said.out.splitlines()]
    assert "(2 earlier checkpoints not shown; use --json)" in said.err
    reports = json.loads(rlrun("status", "a", "--json").out)["checkpoints"]
    assert [one["step"] for one in reports if one["is_pinned"]] == [2]


def test_a_step_that_is_being_removed_is_not_shown(rlrun: Run, make_run: Run) -> None:
    maker = make_run("a")
    maker.saves(1)
    maker.run.step(1).rename(maker.run.removed_step(1))
    assert "step 1" not in rlrun("status", "a").out


def test_a_new_run_has_no_tables(rlrun: Run, make_run: Run) -> None:
    make_run("a")
    said = rlrun("status", "a")
    assert "SESSION" not in said.out
    assert "saved      no step yet" in said.out


# ---- copies in archives, as far as this machine knows


def rows_of(said: Any) -> list[list[str]]:
    lines = [re.split(r"  +", line) for line in said.out.splitlines()]
    return [row for row in lines if row[0].startswith("step ") and len(row) > 3]


def test_a_checkpoint_is_local_remote_or_both(rlrun: Run, sums: Any, store: Path) -> None:
    before = rows_of(rlrun("status", "sums"))
    assert [row[2] for row in before] == ["local"] * 3
    rlrun("archive", "sums", "--to", str(store), "--cleanup", "--keep", "2")
    sums.saves(40)
    shutil.rmtree(store)  # no archive is asked
    rows = rows_of(rlrun("status", "sums"))
    assert [row[:3] for row in rows] == [
        ["step 10", "archived", "remote"],
        ["step 20", "valid", "both"],
        ["step 30", "valid", "both"],
        ["step 40", "valid", "local"],
    ]
    size = f"{checkpoints.num_bytes(sums.run.step(20))} B"
    for row in rows[:3]:
        assert (row[3], row[5]) == (size, str(store))
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", row[4])
    assert rows[3][4:] == ["-", "-"]


def test_json_says_where_a_checkpoint_is(rlrun: Run, sums: Any, store: Path) -> None:
    rlrun("archive", "sums", "--to", str(store), "--cleanup")
    found = json.loads(rlrun("status", "sums", "--json").out)["checkpoints"]
    assert [(one["step"], one["where"]) for one in found] == [
        (10, "remote"), (20, "remote"), (30, "both")
    ]  # fmt: skip
    assert {one["archive"] for one in found} == {str(store)}
    assert all(one["verified"] for one in found)


def test_a_damaged_checkpoint_and_its_copy_have_a_row_each(
    rlrun: Run, sums: Any, store: Path
) -> None:
    rlrun("archive", "sums", "--to", str(store))
    (sums.run.step(20) / "model" / "weights").write_bytes(b"")
    rows = [row[:3] for row in rows_of(rlrun("status", "sums")) if row[0] == "step 20"]
    assert rows == [["step 20", "invalid", "local"], ["step 20", "archived", "remote"]]


def test_a_checkpoint_that_is_pinned_says_so_also_when_it_is_in_an_archive(
    rlrun: Run, sums: Any, store: Path
) -> None:
    pins.write_pin(sums.run, 10)
    rlrun("archive", "sums", "--to", str(store), "--cleanup")
    assert ["step 10", "valid, pinned", "both"] in [
        row[:3] for row in rows_of(rlrun("status", "sums"))
    ]
