"""`rlrun list`."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
NUM_RUNS = 1000
NUM_STEPS = 200


def columns(line: str) -> list[str]:
    return line.split()


def test_the_most_recently_active_run_comes_first(rlrun: Run, make_run: Run) -> None:
    for name, when in (("old", 1_000), ("new", 2_000_000_000)):
        run = make_run(name).run
        for path in (run.identity, run.path):
            os.utime(path, (when, when))
    lines = rlrun("list").out.splitlines()
    assert [columns(line)[0] for line in lines] == ["RUN", "new", "old"]


def test_a_row_has_status_step_reward_and_checkpoint(rlrun: Run, make_run: Run) -> None:
    maker = make_run("a")
    maker.opens()
    maker.starts()
    maker.steps(1, 7)
    maker.saves(5)
    maker.ends(step=7, outcome="stopped")
    said = rlrun("list")
    assert columns(said.out.splitlines()[1])[:5] == ["a", "stopped", "7/10", "0.500", "5"]
    assert said.err == "next: rlrun resume a\n"


def test_a_running_run_says_where(rlrun: Run, make_run: Run) -> None:
    make_run("a").is_held_elsewhere(pid=4121, host="gpu-2")
    assert columns(rlrun("list").out.splitlines()[1])[-1] == "gpu-2:4121"


def test_a_run_of_another_tool_is_listed_as_foreign(rlrun: Run, make_foreign_run: Run) -> None:
    make_foreign_run("old")
    row = columns(rlrun("list").out.splitlines()[1])
    assert [row[:3], row[4:7]] == [["old", "foreign", "40"], ["-", "(40", "foreign)"]]


def test_a_checkpoint_that_does_not_verify_is_shown_as_what_it_is(
    rlrun: Run, make_run: Run
) -> None:
    maker = make_run("a")
    for step in (5, 6):
        maker.saves(step)
    (maker.run.step(6) / "model" / "weights").write_bytes(b"")
    assert columns(rlrun("list").out.splitlines()[1])[4:7] == ["5", "(6", "invalid)"]
    assert "saved      step 5 (6 invalid)" in rlrun("status", "a").out


def test_a_damaged_run_is_listed_and_its_damage_is_said(rlrun: Run, make_run: Run) -> None:
    maker = make_run("a")
    maker.run.sessions.write_text("garbage\nmore\n")
    said = rlrun("list")
    assert said.code == 0
    assert columns(said.out.splitlines()[1])[:2] == ["a", "damaged"]
    assert "warning: run 'a': line 1 of" in said.err


def test_json_has_every_field_of_every_run(rlrun: Run, make_run: Run, root: Path) -> None:
    make_run("a")
    make_run("b").is_held_elsewhere(pid=4121, host="gpu-2")
    data = json.loads(rlrun("list", "--json").out)
    assert data["root"] == str(root)
    by_name = {one["name"]: one for one in data["runs"]}
    assert (by_name["a"]["status"], by_name["a"]["max_steps"]) == ("new", None)
    assert (by_name["b"]["host"], by_name["b"]["pid"]) == ("gpu-2", 4121)


def test_an_empty_root_names_the_first_command(rlrun: Run, root: Path) -> None:
    said = rlrun("list")
    assert (said.code, said.out) == (0, "")
    assert said.err == f"there is no run in {root}/training_runs\nnext: rlrun train\n"
    assert json.loads(rlrun("list", "--json").out)["runs"] == []


@pytest.fixture
def thousand_runs(make_run: Run) -> None:
    maker = make_run("run_0000")
    for session in (1, 2, 3):
        maker.opens(session)
        maker.starts(session, fingerprint={"torch": "2.8.0", "prompts": "0" * 64})
        maker.ends(session, step=9, outcome="stopped")
    maker.steps(1, NUM_STEPS)
    for step in (50, 100, 150, 200):
        maker.run.step(step).mkdir()
    for number in range(1, NUM_RUNS):
        shutil.copytree(maker.run.path, maker.run.path.with_name(f"run_{number:04}"))


def test_a_thousand_runs_are_listed_in_two_seconds(
    rlrun: Run, thousand_runs: None, record_property: Callable[[str, object], None]
) -> None:
    started = time.perf_counter()
    said = rlrun("list")
    seconds = time.perf_counter() - started
    record_property("seconds", seconds)
    assert len(said.out.splitlines()) == NUM_RUNS + 1
    assert seconds < 2.0, f"listing {NUM_RUNS} runs took {seconds:.2f} s"


# ---- what is in an archive


def test_the_runs_in_an_archive_are_listed_with_what_is_here(
    rlrun: Run, sums: Any, make_run: Run, store: Path
) -> None:
    gone = make_run("gone")
    gone.saves(5)
    rlrun("archive", "--all", "--to", str(store))
    shutil.rmtree(gone.run.path)
    shutil.rmtree(sums.run.step(10))
    said = rlrun("list", "--remote", "--to", str(store))
    rows = [columns(line) for line in said.out.splitlines()]
    assert rows[0] == ["RUN", "STEPS", "NEWEST", "SIZE", "HERE"]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows[1:]] == [
        ("gone", "1", "5", "no"),
        ("sums", "3", "30", "partly"),
    ]
    assert said.err == f"next: rlrun restore gone --from-archive {store}\n"
    data = json.loads(rlrun("list", "--remote", "--to", str(store), "--json").out)
    assert data["archive"] == str(store)
    assert [one["steps"] for one in data["runs"]] == [[5], [10, 20, 30]]


def test_an_archive_whose_runs_are_all_here_is_to_be_checked_next(
    rlrun: Run, sums: Any, store: Path
) -> None:
    rlrun("archive", "sums", "--to", str(store))
    said = rlrun("list", "--remote", "--to", str(store))
    assert columns(said.out.splitlines()[1])[-1] == "yes"
    assert said.err == f"next: rlrun verify sums --remote --to {store}\n"


def test_an_empty_archive_names_the_first_command(rlrun: Run, root: Path, store: Path) -> None:
    said = rlrun("list", "--remote", "--to", str(store))
    assert (said.code, said.out) == (0, "")
    assert said.err == f"there is no run in {store}\nnext: rlrun archive --to {store}\n"


def test_a_push_that_was_broken_off_is_said(rlrun: Run, sums: Any, store: Path) -> None:
    rlrun("archive", "sums", "--to", str(store))
    next(store.glob("sums/manifests/records_*")).unlink()
    said = rlrun("list", "--remote", "--to", str(store))
    assert "warning: run 'sums' has no records in" in said.err
    assert "'rlrun archive sums' finishes it" in said.err


def test_what_is_about_an_archive_goes_with_remote(rlrun: Run, root: Path, store: Path) -> None:
    assert rlrun("list", "--to", str(store)).code == 2
    said = rlrun("list", "--remote")
    assert said.code == 2
    assert "give --to s3://bucket/prefix, a folder, or 'local', or set RLRUN_ARCHIVE\n" in said.err
