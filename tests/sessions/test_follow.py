"""Following a session by what it writes."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.runs.ledger import SessionEnd, SessionOpening, SessionStart
from rlrun.sessions.follow import (
    CheckpointSaved,
    Ended,
    Event,
    Follower,
    GroupsFinished,
    Opened,
    Progress,
    Started,
    StepTaken,
    advance,
    count_pending,
    follow,
)

Make = Callable[..., Any]

OPENING = SessionOpening(1, "", "gpu-2", 4121)
START = SessionStart(1, "", "cpu", 4, 6, 10, 20, "bitwise")
END = SessionEnd(1, "", 5, 1, 0, 64, 1.0, "stopped", 75)


def step(
    number: int, *, reward: float = 0.5, seconds: float = 2.0, replayed: bool = False
) -> Event:
    clock = {"seconds": seconds, "tokens_per_second": 9.0, "replayed": replayed}
    return StepTaken({"step": number, "reward_mean": reward, "reward_std": 0.0, "clock": clock})


def after(*events: Event) -> Progress:
    progress = Progress()
    for event in events:
        progress = advance(progress, event)
    return progress


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_progress_begins_at_the_checkpoint() -> None:
    assert after(Opened(OPENING), Started(START)).step == 4


def test_the_time_left_is_the_recent_pace_times_the_steps_left() -> None:
    progress = after(Started(START), step(5, seconds=2.0), step(6, seconds=4.0))
    assert progress.seconds_left == 3.0 * 4


def test_replayed_steps_say_nothing_about_the_pace() -> None:
    progress = after(Started(START), step(5, seconds=0.1, replayed=True))
    assert progress.seconds_left is None
    assert progress.step == 5


def test_zero_rewards_are_counted_until_one_is_not_zero() -> None:
    zeros = [step(number, reward=0.0) for number in (5, 6, 7)]
    assert after(Started(START), *zeros).num_zero_rewards == 3
    assert after(Started(START), *zeros, step(8, reward=0.1)).num_zero_rewards == 0


def test_an_end_and_a_checkpoint_are_kept() -> None:
    progress = after(Started(START), CheckpointSaved(5), Ended(END))
    assert (progress.checkpoint_step, progress.end) == (5, END)


@given(st.lists(st.sampled_from(["group", "batch"])))
def test_pending_groups_are_those_behind_the_last_batch(kind_of: list[str]) -> None:
    lines = [b'{"kind":"%s"}' % kind.encode() for kind in kind_of]
    behind = kind_of[::-1].index("batch") if "batch" in kind_of else len(kind_of)
    assert count_pending(0, lines) == behind


def test_a_session_is_followed_from_its_opening_to_its_end(make_run: Make) -> None:
    maker = make_run("a")
    follower = Follower(maker.run, lambda opening: opening.pid == 4121)
    assert follower.poll() == []
    maker.opens()
    assert kinds(follower.poll()) == ["Opened"]
    maker.starts()
    assert kinds(follower.poll()) == ["Started"]
    maker.journals("group", "group")
    assert follower.poll() == [GroupsFinished(2)]
    maker.journals("batch")
    maker.steps(1, 1)
    maker.saves(1)
    assert kinds(follower.poll()) == ["StepTaken", "GroupsFinished", "CheckpointSaved"]
    maker.ends(step=1, outcome="stopped")
    assert kinds(follower.poll()) == ["Ended"]
    assert follower.poll() == []


def test_everything_may_have_happened_before_the_first_look(make_run: Make) -> None:
    maker = make_run("a")
    maker.opens()
    maker.starts()
    maker.steps(1, 3)
    maker.ends(step=3, outcome="stopped")
    events = Follower(maker.run, lambda opening: True).poll()
    assert kinds(events) == ["Opened", "Started", *["StepTaken"] * 3, "Ended"]


def test_a_session_that_fails_while_loading_has_an_end_without_a_start(make_run: Make) -> None:
    maker = make_run("a")
    maker.opens()
    maker.ends(step=0, outcome="failed", exit_code=10)
    assert kinds(Follower(maker.run, lambda opening: True).poll()) == ["Opened", "Ended"]


def test_steps_of_earlier_sessions_are_left_out(make_run: Make) -> None:
    maker = make_run("a")
    maker.steps(1, 4)
    follower = Follower(maker.run, lambda opening: opening.session == 2)
    maker.opens(1)
    maker.opens(2)
    maker.starts(2, from_step=3)
    (taken,) = [event for event in follower.poll() if isinstance(event, StepTaken)]
    assert taken.record["step"] == 4


def test_sealing_the_journal_leaves_no_group_pending(make_run: Make) -> None:
    maker = make_run("a")
    maker.opens()
    maker.starts()
    maker.journals("group")
    follower = Follower(maker.run, lambda opening: True)
    assert GroupsFinished(1) in follower.poll()
    maker.journals("batch")
    maker.run.journal.rename(maker.run.segment(1, 1))
    maker.journals("group", "group")
    assert follower.poll() == [GroupsFinished(2)]


@pytest.mark.parametrize("num_polls_alive", [0, 3])
def test_the_last_look_begins_when_the_process_is_gone(
    num_polls_alive: int, make_run: Make
) -> None:
    maker = make_run("a")
    maker.opens()
    answers = [True] * num_polls_alive + [False]
    naps: list[float] = []

    def is_alive() -> bool:
        if len(answers) == 1:
            maker.ends(step=0, outcome="failed")
        return answers.pop(0)

    looks = list(follow(Follower(maker.run, lambda opening: True), is_alive, sleep=naps.append))
    assert len(looks) == num_polls_alive + 1
    assert len(naps) == num_polls_alive
    assert isinstance(looks[-1][-1], Ended)
