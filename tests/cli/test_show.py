"""What reaches the screen: terminals wide and narrow, pipes, and no colour."""

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rlrun.cli import show
from rlrun.runs.ledger import SessionOpening, SessionStart
from rlrun.sessions.follow import Progress

HEADER = ("RUN", "STATUS", "WHERE")
ROWS = [("a" * 30, "running", "gpu-2:4121"), ("b", "lost", "-")]
START = SessionStart(1, "", "cpu", 0, 0, 10, 10, "bitwise")
AT_WORK = Progress(
    start=START,
    step=3,
    record={"clock": {"tokens_per_second": 1234.0}},
    rewards=tuple(number / 30 for number in range(30)),
    seconds=(2.0,),
)
ESCAPE = "\x1b"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make rich believe in a terminal of 40 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return monkeypatch


def test_a_pipe_gets_whole_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(HEADER, ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "RUN                             STATUS   WHERE",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  running  gpu-2:4121",
        "b                               lost     -",
    ]


def test_a_narrow_terminal_leaves_columns_out_and_says_so(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show.table(HEADER, ROWS)
    captured = capsys.readouterr()
    assert "WHERE" not in captured.out
    assert "STATUS" in captured.out
    assert ESCAPE in captured.out
    assert "1 column hidden" in captured.err


def test_no_color_takes_every_style_away(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setenv("NO_COLOR", "1")
    show.table(HEADER, ROWS)
    show.error("no")
    show.warn("no")
    captured = capsys.readouterr()
    assert ESCAPE not in captured.out + captured.err


def test_a_sentence_breaks_between_words_on_a_terminal_and_a_command_never(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setenv("NO_COLOR", "1")
    show.talk("one two three four five six seven eight nine")
    show.hints(["rlrun resume " + "a" * 40])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].rstrip() == "one two three four five six seven eight"
    assert lines[-1] == "next: rlrun resume " + "a" * 40


@given(st.lists(st.integers(1, 50), min_size=1, max_size=9), st.integers(1, 300))
def test_as_many_columns_as_fit_but_never_fewer_than_two(widths: list[int], width: int) -> None:
    fitting = show.num_fitting(widths, width)
    assert min(2, len(widths)) <= fitting <= len(widths)
    needed = sum(widths[:fitting]) + 2 * fitting
    assert needed <= width or fitting <= 2


def test_markup_in_a_name_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show.out("[red]x[/red] :smile:")
    assert capsys.readouterr().out == "[red]x[/red] :smile:\n"


def test_labels_and_values_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    show.pairs([("run", "a"), ("status", "new")])
    assert capsys.readouterr().out == "run     a\nstatus  new\n"


@pytest.mark.parametrize("width", [1, 10, 40, 160])
@pytest.mark.parametrize(
    "progress",
    [Progress(), Progress(opening=SessionOpening(1, "", "h", 1)), Progress(start=START), AT_WORK],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_live_lines_fit_any_width_and_encoding(
    width: int, progress: Progress, encoding: str
) -> None:
    raw = io.BytesIO()
    screen = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    with show.LiveView(console, "run 'a'", 16) as view:
        view.update(progress)
        view.say("a sentence")
        view.warn("a warning")
    screen.flush()
    said = "".join(raw.getvalue().decode(encoding).split())  # however it was broken into lines
    assert "asentence" in said
    assert "warning:awarning" in said


def test_the_live_lines_show_step_reward_pace_and_groups() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=100)
    console.print(show.live_lines(AT_WORK, "run 'a'", 16, is_ascii=True))
    text = screen.getvalue()
    assert "step 3/10" in text
    assert "reward 0.967 _" in text
    assert "1,234 tokens/s | 14 s left | nothing saved yet | groups 0/16" in text


def test_a_stream_that_is_no_terminal_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with show.session_view("run 'a'", 16) as view:
        view.update(AT_WORK)
        view.warn("look")
    assert view.has_step_lines
    assert capsys.readouterr().err.splitlines() == ["warning: look"]


def test_a_dumb_terminal_gets_lines(terminal: pytest.MonkeyPatch) -> None:
    terminal.setenv("TERM", "dumb")
    assert show.session_view("run 'a'", 16).has_step_lines


def drawn(width: int, *update: Any) -> list[str]:
    """Return the lines of a meter on a terminal of so many columns, its bars as they are."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    with show.Meter(console) as meter:
        screen.seek(0)
        screen.truncate()
        meter.update(*update)
        text = screen.getvalue()
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line) for line in text.splitlines()]


@pytest.mark.parametrize("width", range(1, 120, 7))
def test_a_meter_is_one_line_and_leaves_room_behind_it(width: int) -> None:
    lines = drawn(width, "step_3", 229, 700, "466 tokens/s | 2.7 s left")
    assert len(lines) == 1
    assert len(lines[0].rstrip()) <= max(1, width - 3)


def test_a_meter_gives_up_its_bar_before_its_words() -> None:
    words = "229/700 | 466 tokens/s | 2.7 s left"
    (wide,), (narrow,) = (
        drawn(width, "step_3", 229, 700, "466 tokens/s | 2.7 s left") for width in (90, 46)
    )
    assert wide.startswith("step_3 ")
    assert wide.rstrip().endswith(words)
    assert narrow.rstrip() == f"step_3 {words}"


def test_a_meter_without_a_total_is_its_title() -> None:
    assert [line.rstrip() for line in drawn(40, "waiting", 0, 0, "")] == ["waiting"]


def test_a_meter_on_a_pipe_says_its_lines_and_draws_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with show.meter() as meter:
        meter.update("step_3", 1, 2, "facts")
        meter.say("a line")
        meter.warn("look")
    assert not meter.is_live
    assert capsys.readouterr().err == "a line\nwarning: look\n"


def test_a_meter_on_a_dumb_terminal_draws_nothing(terminal: pytest.MonkeyPatch) -> None:
    terminal.setenv("TERM", "dumb")
    assert not show.meter().is_live


def test_a_sentence_of_a_result_breaks_between_words_on_a_terminal_alone(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "one two three four five six seven eight nine"
    show.sentence(line)
    assert len(capsys.readouterr().out.splitlines()) == 2
    terminal.delenv("FORCE_COLOR")
    show.sentence(line)
    assert capsys.readouterr().out == f"{line}\n"
