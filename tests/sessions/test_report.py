"""What `status` tells of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlrun.errors import DamagedError
from rlrun.runs import manifest
from rlrun.sessions.report import CheckpointReport, last_rewards, report

Make = Callable[..., Any]


def test_a_checkpoint_is_valid_until_a_file_has_another_size(make_run: Make) -> None:
    maker = make_run("a")
    maker.saves(5)
    before = report(maker.run).checkpoints[0]
    assert (before.step, before.verdict, before.problem) == (5, "valid", None)
    (maker.run.step(5) / "model" / "weights").write_bytes(b"1234")
    after = report(maker.run).checkpoints[0]
    assert (after.verdict, after.problem) == ("invalid", "model/weights has 4 bytes, not 5")
    assert after.num_bytes == before.num_bytes - 1


def test_a_step_of_an_older_tool_is_foreign(make_foreign_run: Make) -> None:
    found = report(make_foreign_run("old")).checkpoints
    assert found == (
        CheckpointReport(40, "foreign", 15, "training_info.json has no format_version"),
    )


def test_a_foreign_step_in_a_run_of_ours_is_foreign_too(make_run: Make) -> None:
    maker = make_run("a")
    maker.run.step(40).mkdir()
    maker.saves(41)
    assert [one.verdict for one in report(maker.run).checkpoints] == ["foreign", "valid"]


def test_a_step_that_goes_away_while_it_is_looked_at_is_left_out(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = make_run("a")
    maker.saves(1)
    maker.saves(2)
    read = manifest.read

    def read_as_it_goes(folder: Path) -> manifest.Manifest:
        found = read(folder)
        if folder.name == "step_1":
            folder.rename(maker.run.removed_step(1))
        return found

    monkeypatch.setattr(manifest, "read", read_as_it_goes)
    assert [one.step for one in report(maker.run).checkpoints] == [2]


def test_sessions_come_in_order_with_their_ends(make_run: Make) -> None:
    maker = make_run("a")
    maker.opens(1)
    maker.starts(1)
    maker.ends(1, step=4, outcome="stopped")
    maker.opens(2)
    assert [session.end and session.end.step for session in report(maker.run).sessions] == [4, None]


def test_rewards_are_those_of_the_last_steps_and_skip_what_is_not_a_step(
    make_run: Make, make_foreign_run: Make
) -> None:
    maker = make_run("a")
    maker.steps(1, 5, reward=0.25)
    maker.steps(6, 7, reward=1.0)
    assert last_rewards(maker.run, 3) == (0.25, 1.0, 1.0)
    assert last_rewards(make_foreign_run("old")) == (0.25,)


def test_an_unreadable_identity_is_refused(make_run: Make) -> None:
    maker = make_run("a")
    maker.run.identity.write_text("{}")
    with pytest.raises(DamagedError, match="cannot be read"):
        report(maker.run)
