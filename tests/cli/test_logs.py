"""`rlrun logs`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from rlrun.cli import logs
from rlrun.sessions.tail import Tail

Run = Callable[..., Any]


def test_the_last_steps_are_shown_one_a_line(rlrun: Run, make_run: Run) -> None:
    maker = make_run("a")
    maker.opens()
    maker.starts()
    maker.steps(1, 9)
    lines = rlrun("logs", "a", "-n", "2").out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("step  9/10  reward 0.500")


def test_json_is_the_records_themselves(rlrun: Run, make_run: Run) -> None:
    maker = make_run("a")
    maker.steps(1, 3)
    records = [json.loads(line) for line in rlrun("logs", "a", "--json").out.splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3]


def test_the_words_of_the_worker_are_shown_as_they_are(rlrun: Run, make_run: Run) -> None:
    make_run("a").run.worker_log.write_bytes(b"one\nCUDA [red] error \xff\n")
    assert rlrun("logs", "a", "--worker").out.splitlines() == ["one", "CUDA [red] error \ufffd"]


def test_nothing_to_show_is_said(rlrun: Run, make_run: Run) -> None:
    make_run("a")
    said = rlrun("logs", "a")
    assert (said.code, said.out) == (0, "")
    assert "train_log.jsonl has nothing yet" in said.err


def test_records_of_another_tool_are_shown_as_far_as_they_go(
    rlrun: Run, make_foreign_run: Run
) -> None:
    make_foreign_run("old")
    assert rlrun("logs", "old").out.splitlines() == [
        "step 40  reward 0.250",
        '{"note": "no step"}',
    ]


def test_following_a_finished_run_ends_at_once(rlrun: Run, make_run: Run) -> None:
    maker = make_run("a")
    maker.opens()
    maker.steps(1, 1)
    maker.ends(step=1, outcome="finished")
    assert len(rlrun("logs", "-f", "a").out.splitlines()) == 1


def test_following_goes_on_until_nobody_holds_the_run(make_run: Run) -> None:
    maker = make_run("a")
    maker.steps(1, 2)
    held: list[Any] = []
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        match len(naps):
            case 1:
                held.append(maker.is_held_here())
            case 2:
                maker.steps(3, 3)
            case 3:
                maker.steps(4, 4)
                held[0].release()

    tail = Tail(maker.run.train_log, num_last_lines=1)
    lines = logs.follow_lines(maker.run, tail, clock=lambda: 0.0, sleep=sleep)
    assert [json.loads(line)["step"] for line in lines] == [2, 3, 4]


def test_following_waits_a_little_for_the_first_session_of_a_run(make_run: Run) -> None:
    maker = make_run("a")
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    tail = Tail(maker.run.train_log)
    assert list(logs.follow_lines(maker.run, tail, clock=lambda: now[0], sleep=sleep)) == []
    assert now[0] == pytest.approx(3.0, abs=0.3)


def test_following_a_run_that_nobody_works_on_says_how_its_last_session_ended(
    rlrun: Run, make_run: Run
) -> None:
    maker = make_run("a")
    maker.opens()
    maker.starts()
    maker.steps(1, 2)
    maker.ends(step=2, outcome="stopped", exit_code=75)
    said = rlrun("logs", "-f", "a")
    assert said.code == 0
    assert "session 1: stopped early, everything saved at step 2" in said.err


def test_following_a_run_whose_session_failed_ends_with_its_error(
    rlrun: Run, make_run: Run
) -> None:
    maker = make_run("a")
    maker.opens()
    maker.ends(step=0, outcome="failed", exit_code=3, message="there is no such model")
    said = rlrun("logs", "-f", "a")
    assert said.code == 3
    assert said.err.splitlines()[-1] == "error: there is no such model"


def test_following_tells_what_is_saved_between_the_steps(
    make_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = make_run("a")
    maker.opens()
    maker.starts()
    lines = logs.StepLines(maker.run, has_saves=True)
    maker.steps(1, 2)
    records = maker.run.train_log.read_bytes().splitlines()
    lines(records[0])
    maker.saves(2)
    lines(records[1])
    said = capsys.readouterr()
    assert [line[:10] for line in said.out.splitlines()] == ["step  1/10", "step  2/10"]
    assert said.err == "saved step 2\n"


def test_leaving_with_ctrl_c_is_no_failure(
    rlrun: Run, make_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Any:
        yield b'{"step": 1}'
        raise KeyboardInterrupt

    make_run("a")
    monkeypatch.setattr(logs, "follow_lines", interrupted)
    said = rlrun("logs", "-f", "a")
    assert (said.code, said.out) == (0, "step 1\n")
    assert "left; a session that is running goes on" in said.err
