"""What is said while an evaluation works, on a live terminal and elsewhere."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from rlrun.cli import eval_view
from rlrun.cli.eval_view import EvalView
from rlrun.cli.show import Meter
from rlrun.engines.spec import EngineInfo
from rlrun.evaluation.records import Record
from rlrun.evaluation.targets import Target

TARGET = Target("step_3", 3, None, None, "model")
RECORD = Record("model", "plan", "q0", 0, 7, "correct", "46", 10, "stop", "46", "g", -0.5, 0.5)
FAILED = replace(RECORD, verdict="engine_error", text=None, num_tokens=0, reason="it fails")
INFO = EngineInfo("vllm", "0.12", "cuda", {}, "w", "t", is_pure=False)


class Screen:
    """A view and what it has written: to a terminal of 80 columns, or to a pipe."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._file = io.StringIO()
        console = Console(
            file=self._file, force_terminal=is_terminal, width=80, color_system=None, markup=False
        )
        self.meter = Meter(console)
        self.view = EvalView(self.meter, "run")

    def lines(self) -> list[str]:
        """Return what was written since this was called last."""
        text = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return text.splitlines()


@pytest.fixture
def pipe() -> Screen:
    return Screen(is_terminal=False)


def test_each_stage_is_a_line_where_there_is_no_live_one(pipe: Screen) -> None:
    view = pipe.view
    view.say("hello")
    view.engine_starts()
    view.engine_ready(INFO, 12.0)
    view.begins(TARGET, 4, 6)
    view.begins(TARGET, 0, 10)
    view.begins(TARGET, 10, 0)
    view.completed(TARGET, RECORD)
    view.ends(TARGET, {("q0", 0): RECORD, ("q1", 0): replace(RECORD, verdict="wrong")})
    view.gives_up("step_4", "it is refused")
    view.stopped()
    assert pipe.lines() == [
        "hello",
        "run: starting the engine, which may take minutes",
        "engine: vllm 0.12 on cuda, up in 12 s",
        "step_3: 6 completions there already, 4 to come",
        "step_3: 1 of 2 correct (50.0%)",
        "warning: step_4 cannot be scored: it is refused",
        "stopped: 1 completion made by this command kept; the same command goes on",
    ]


def test_what_does_not_count_is_not_a_mistake_in_the_line_of_a_checkpoint(pipe: Screen) -> None:
    pipe.view.ends(TARGET, {("q0", 0): RECORD, ("q1", 0): FAILED})
    pipe.view.ends(TARGET, {("q1", 0): FAILED})
    assert pipe.lines() == [
        "step_3: 1 of 1 correct (100.0%)", "step_3: 0 of 0 correct (none counted)",
    ]  # fmt: skip


def test_progress_is_said_every_half_minute_where_there_is_no_live_line(
    pipe: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(eval_view.time, "monotonic", lambda: now)
    view = EvalView(pipe.meter, "run")
    view.begins(TARGET, 100, 0)
    for _ in range(40):
        now += 1.0
        view.completed(TARGET, RECORD)
    assert pipe.lines() == ["step_3: 31/100 completions, 20 tokens/s, 34 s left"]


def test_a_completion_that_fails_is_no_progress(pipe: Screen) -> None:
    pipe.view.begins(TARGET, 1, 0)
    for record in (FAILED, FAILED, RECORD):
        pipe.view.completed(TARGET, record)
    pipe.view.stopped()
    assert pipe.lines()[-1].startswith("stopped: 1 completion made")


def test_waiting_is_said_once_until_something_happens(pipe: Screen) -> None:
    view = pipe.view
    for _ in range(3):
        view.waits()
    view.completed(TARGET, RECORD)
    view.waits()
    assert pipe.lines() == ["run: waiting for a checkpoint (Ctrl-C stops following)"] * 2


def test_an_engine_that_fails_is_a_warning_and_its_next_start_is_said_again(pipe: Screen) -> None:
    pipe.view.engine_starts()
    pipe.view.engine_failed("it died")
    pipe.view.engine_starts()
    starts = "run: starting the engine, which may take minutes"
    assert pipe.lines() == [starts, "warning: it died; what it has completed is kept", starts]


@pytest.mark.parametrize(
    ("act", "live"),
    [
        (EvalView.engine_starts, "run: starting the engine, which may take minutes"),
        (EvalView.waits, "run: waiting for a checkpoint (Ctrl-C stops following)"),
        (lambda view: view.completed(TARGET, RECORD), "1/4 | 20 tokens/s | 1.5 s left"),
    ],
)
def test_on_a_terminal_a_live_line_says_it(act: Callable[[EvalView], None], live: str) -> None:
    screen = Screen(is_terminal=True)
    with screen.meter:
        screen.view.begins(TARGET, 4, 0)
        screen.lines()
        act(screen.view)
        drawn = screen.lines()
    assert any(live in line for line in drawn)
    assert screen.meter.is_live
