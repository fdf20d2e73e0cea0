"""When a checkpoint is due, by steps, seconds and epochs."""

from typing import Any

from rlrun.config.schema import SavingConfig
from rlrun.trainer.schedule import SaveSchedule


def due_steps(saving: SavingConfig, *, start: int = 0, last: int = 10, **pace: float) -> list[int]:
    """Return the steps at which a checkpoint is written, at so many seconds and epochs a step."""
    seconds, epochs = pace.get("seconds", 0.0), pace.get("epochs", 0.0)
    schedule = SaveSchedule(step=start, epoch=start * epochs, now=start * seconds)
    due = []
    for step in range(start + 1, last + 1):
        now: dict[str, Any] = {"step": step, "epoch": step * epochs, "now": step * seconds}
        if schedule.is_due(saving, **now):
            schedule.note(**now)
            due.append(step)
    return due


def test_without_a_period_nothing_is_due() -> None:
    assert due_steps(SavingConfig(), seconds=1e9, epochs=1e9) == []


def test_a_period_in_steps_counts_from_the_runs_start_not_the_sessions() -> None:
    saving = SavingConfig(every_steps=3)
    assert due_steps(saving) == [3, 6, 9]
    assert due_steps(saving, start=4) == [6, 9]


def test_a_period_in_seconds_counts_from_the_last_save() -> None:
    assert due_steps(SavingConfig(every_seconds=10), seconds=4) == [3, 6, 9]  # 12 s each
    assert due_steps(SavingConfig(every_seconds=4), seconds=4, last=3) == [1, 2, 3]
    assert due_steps(SavingConfig(every_seconds=10), start=1, seconds=4, last=7) == [4, 7]


def test_a_period_in_epochs_is_due_when_a_multiple_is_passed() -> None:
    assert due_steps(SavingConfig(every_epochs=1), epochs=0.25) == [4, 8]
    assert due_steps(SavingConfig(every_epochs=0.5), epochs=0.375) == [2, 3, 4, 6, 7, 8, 10]
    assert due_steps(SavingConfig(every_epochs=1), start=3, epochs=0.25) == [4, 8]


def test_one_save_serves_every_period() -> None:
    saving = SavingConfig(every_steps=4, every_seconds=3)
    assert due_steps(saving, seconds=1) == [3, 4, 7, 8]


def test_a_step_that_is_saved_already_is_not_due() -> None:
    schedule = SaveSchedule(step=4, epoch=0.0, now=0.0)
    saving = SavingConfig(every_steps=2, every_seconds=1)
    assert not schedule.is_due(saving, step=4, epoch=0.0, now=100.0)
    assert schedule.is_due(saving, step=5, epoch=0.0, now=100.0)


def test_the_last_saved_step_is_remembered() -> None:
    schedule = SaveSchedule(step=0, epoch=0.0, now=0.0)
    schedule.note(step=3, epoch=0.1, now=1.0)
    assert schedule.step == 3
