"""What happened, as sentences."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from rlrun.cli import sentences
from rlrun.cli.app import COMMANDS
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Outcome, SessionEnd, SessionStart
from rlrun.sessions.follow import Progress
from rlrun.sessions.state import Status

RUN = RunDir(Path("/r/training_runs/a"))


def start(**fields: Any) -> SessionStart:
    values: dict[str, Any] = {
        "session": 2, "started": "", "device": "cpu", "from_step": 50, "frontier": 57,
        "target_step": 60, "max_steps": 100, "promise": "bitwise",
    } | fields  # fmt: skip
    return SessionStart(**values)


def test_a_resume_says_what_it_promises_and_what_it_replays() -> None:
    assert sentences.start_lines(start(), "a") == [
        "run 'a', session 2 on cpu, to step 60/100",
        "bitwise: continues from step 50, replaying 7 journaled steps to reach 57",
    ]


def test_a_new_run_begins_at_step_0() -> None:
    lines = sentences.start_lines(start(from_step=0, frontier=0), "a")
    assert lines[1] == "bitwise: begins at step 0"


def test_differences_changes_and_notes_are_said_one_a_line() -> None:
    lines = sentences.start_lines(
        start(promise="best effort", differences=("torch: 1 -> 2",), changes=("x",), notes=("n",)),
        "a",
    )
    assert lines[2:] == ["note: n", "changed: x", "difference: torch: 1 -> 2"]


def test_a_step_is_one_line_whose_columns_line_up(step_record: Callable[..., Any]) -> None:
    assert sentences.step_line(step_record(7), 100) == (
        "step   7/100  reward 0.500  loss -0.0125  kl 0.0010  1,234 tokens/s  2.0 s"
    )


def test_a_replayed_step_says_so(step_record: Callable[..., Any]) -> None:
    assert sentences.step_line(step_record(7, replayed=True), 9).endswith("  replayed")


def test_a_record_of_another_tool_shows_what_it_has() -> None:
    assert sentences.step_line({"step": 40}, None) == "step 40"


def test_live_facts_name_what_is_not_known_yet() -> None:
    assert sentences.live_facts(Progress(start=start()), 16) == (
        "no time estimate yet | nothing saved yet | groups 0/16"
    )


def test_live_facts_of_a_session_at_work(step_record: Callable[..., Any]) -> None:
    progress = Progress(
        start=start(), step=58, record=step_record(58), seconds=(4.0,), checkpoint_step=50,
        num_groups=3,
    )  # fmt: skip
    assert sentences.live_facts(progress, None) == (
        "1,234 tokens/s | 8.0 s left | saved step 50 | groups 3"
    )


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_every_outcome_has_a_sentence(outcome: Outcome) -> None:
    end = SessionEnd(1, "", 5, 5, 0, 0, 1.0, outcome, 0)
    assert sentences.outcome(end)


def test_a_session_without_an_end_was_killed_unless_it_runs() -> None:
    assert sentences.outcome(None) == "killed"
    assert sentences.outcome_word(None, is_running=True) == "running"


def test_the_third_and_later_signals_say_the_same() -> None:
    said = [sentences.signal_line(count) for count in (1, 2, 3, 4)]
    assert said[0].startswith("stopping: finishing what is needed and saving; press Ctrl-C again")
    assert said[1].startswith("stopping now")
    assert said[2] == said[3] == sentences.KILLED


@pytest.mark.parametrize("status", [*get_args(Status), "foreign", "damaged"])
def test_every_status_has_a_next_command_with_the_given_root(status: Any) -> None:
    commands = sentences.next_commands(RUN, status, Path("/my runs"))
    assert commands
    assert all(command.endswith(" --root '/my runs'") for command in commands)


def test_a_stopped_run_can_be_resumed() -> None:
    assert sentences.next_commands(RUN, "stopped", None) == ["rlrun resume a", "rlrun status a"]


def test_an_errors_commands_get_the_root_that_was_given() -> None:
    sentence = "run 'a' is finished; extend it with 'rlrun resume a --set x=N', or look at '/tmp'"
    assert sentences.with_root(sentence, "/my runs") == (
        "run 'a' is finished; extend it with 'rlrun resume a --set x=N --root '/my runs'', "
        "or look at '/tmp'"
    )
    assert sentences.with_root(sentence, None) == sentence


def test_every_command_is_known_as_one_that_an_error_may_recommend() -> None:
    names = [name for name in COMMANDS if name != "config"]
    for name in names:
        assert sentences.with_root(f"'rlrun {name} a'", "/r") == f"'rlrun {name} a --root /r'"
