"""What a session's configuration is compared with: what made the state, not the file beside it."""

from pathlib import Path
from typing import Any

import pytest
from support import jobs
from support.jobs import Job
from support.place import Place

from rlrun.runs import jsonl

RATE = "grpo.learning_rate"


def edit(place: Place, rate: float) -> None:
    """Change the learning rate in the run's file, as an editor would."""
    text = place.run.config.read_text()
    old = next(line for line in text.splitlines() if "learning_rate" in line)
    place.run.config.write_text(text.replace(old, f"  learning_rate: {rate}"))


def rates(place: Place) -> list[float]:
    return [record["learning_rate"] for record in jsonl.read(place.run.train_log)]


def test_a_file_that_was_edited_is_not_gone_on_with_silently(place: Place) -> None:
    assert place.work(steps=2) == 0
    edit(place, 0.5)
    assert place.work() == 10
    assert place.end.message == (
        f"{place.run.config} is not what step 2 was made with: {RATE}: 0.01 -> 0.5; "
        f"put that back with 'rlrun resume sums --set {RATE}=0.01', or give up the promise of "
        "exactness with --allow-inexact"
    )
    assert place.work(allow_inexact=True) == 0
    assert (place.start.promise, place.start.differences) == (
        "best effort",
        (f"{RATE}: 0.01 -> 0.5",),
    )
    assert rates(place) == [0.01, 0.01, 0.5, 0.5]


def test_values_that_are_put_back_are_exact_again(place: Place) -> None:
    assert place.work(steps=2) == 0
    edit(place, 0.5)
    assert place.work(**place.changed(f"{RATE}=0.01")) == 0
    assert place.start.promise == "bitwise"
    assert rates(place) == [0.01] * 4


def test_an_edited_file_is_noticed_by_what_was_journaled_before_the_first_checkpoint(
    place: Place,
) -> None:
    assert jobs.run(Job(place.run.path, kill_after_steps=1)) == -9
    edit(place, 0.5)
    assert place.work() == 10
    assert f"{RATE}: 0.01 -> 0.5" in place.end.message


def test_what_was_allowed_once_is_told_until_a_checkpoint_was_made_with_it(place: Place) -> None:
    assert place.work(steps=2) == 0
    request = place.changed(f"{RATE}=0.5")
    assert place.work(**request, allow_inexact=True, max_seconds=0.0) == 75
    told = (f"{RATE}: 0.01 -> 0.5",)
    assert place.saved_steps == [2]
    assert place.work(steps=1) == 0
    assert (place.start.promise, place.start.differences) == ("best effort", told)
    assert place.work() == 0
    assert (place.start.promise, place.start.differences) == ("bitwise", ())


@pytest.mark.parametrize("is_put_back", [False, True])
def test_going_back_behind_a_change_asks_what_is_to_be_done_with_it(
    is_put_back: bool, make_place: Any, tmp_path: Path
) -> None:
    place = make_place("saving.every_steps=1")
    assert place.work(steps=2) == 0
    request = place.changed(f"{RATE}=0.5")
    assert place.work(**request, allow_inexact=True, steps=1) == 0
    assert place.work(from_step=2, is_rewind=True) == 10
    command = f"'rlrun resume sums --from 2 --rewind --set {RATE}=0.01'"
    assert f"{RATE}: 0.01 -> 0.5; put that back with {command}" in place.end.message
    assert place.saved_steps == [1, 2, 3]
    if is_put_back:
        assert place.work(**place.changed(f"{RATE}=0.01"), from_step=2, is_rewind=True) == 0
        assert place.start.promise == "bitwise"
        assert rates(place) == [0.01] * 4
    else:
        assert place.work(allow_inexact=True, from_step=2, is_rewind=True) == 0
        assert place.start.differences == (f"{RATE}: 0.01 -> 0.5",)
