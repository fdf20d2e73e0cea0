"""The words and the table of an evaluation."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import scoring
from support.evaluations import keep, make_job, step_target

from rlrun.cli import scoreboard
from rlrun.evaluation import power, report
from rlrun.evaluation.evaluate import Evaluated
from rlrun.evaluation.report import Report
from rlrun.evaluation.request import prepare
from rlrun.evaluation.targets import Target

Run = Callable[..., Any]


def found(root: Path, num_samples: int = 1, **steps: tuple[str, ...]) -> tuple[Report, Evaluated]:
    """Return the report of steps, and the evaluation that wrote it."""
    job = make_job(root, len(next(iter(steps.values()))[0]), num_samples)
    targets = []
    for label, samples in steps.items():
        number = label.removeprefix("step_")
        step = int(number) if number.isdecimal() else None
        targets.append(Target(label, step, None, None, f"model {label}"))
        keep(job, targets[-1], *samples)
    scored = report.write(job, targets)
    labels = tuple(one.label for one in targets)
    return report.read(job.folder), Evaluated(job.folder, job.plan, labels, scored, {}, 1, 2.5)


def shown(root: Path, capsys: pytest.CaptureFixture[str], **steps: tuple[str, ...]) -> list[str]:
    scoreboard.show_steps(*found(root, len(next(iter(steps.values()))), **steps))
    return capsys.readouterr().out.splitlines()


def test_the_smallest_difference_counts_the_comparisons_of_the_table(root: Path) -> None:
    run = scoring.make_run(root, 1, 2, 3).run
    lines = scoreboard.plan_lines(
        prepare(scoring.request_of(root, run, "eval.max_samples=100"), "torch")
    )
    smallest = power.smallest_difference(100, 0.2, num_comparisons=5)  # 3 to the base, 2 between
    assert smallest is not None
    assert lines == [
        "100 questions of 843 in arithmetic, 1 completion each, greedy, for 4 models",
        f"a difference of {smallest:.1%} would be seen with 80% chance (in 5 comparisons, if one "
        "question in five changes its verdict)",
    ]


def test_the_smallest_difference_of_one_comparison_can_be_checked_by_hand() -> None:
    # d sqrt(n) = 1.959964 sqrt(psi) + 0.841621 sqrt(psi - d d), n = 100, psi = 0.2
    smallest = power.smallest_difference(100, 0.2)
    assert smallest is not None
    assert 10 * smallest == pytest.approx(
        1.959964 * math.sqrt(0.2) + 0.841621 * math.sqrt(0.2 - smallest**2), abs=1e-5
    )


def test_few_questions_show_nothing(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    request = scoring.request_of(root, run, "eval.max_samples=1")
    assert scoreboard.plan_lines(prepare(request, "torch")) == [
        "1 question of 843 in arithmetic, 1 completion each, greedy, for 2 models",
        "so few questions cannot show any difference; ask more of them",
    ]


def test_columns_that_are_empty_are_left_out(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, row, *rest = shown(root, capsys, step_3=("+-0<",))
    assert header.split() == [
        "STEP", "ACCURACY", "95%", "INTERVAL", "ANSWERED", "CUT", "OFF", "TOKENS", "QUESTIONS",
    ]  # fmt: skip
    assert row.split() == ["3", "25.0%", "4.6%", "to", "69.9%", "50%", "25%", "10", "4"]
    assert rest == []


def test_samples_have_columns_of_their_own(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, row, *_ = shown(root, capsys, step_3=("+-", "+-", "--"))
    assert header.split()[4:6] == ["PASS@K", "MAJ@K"]
    assert row.split()[5:7] == ["50.0%", "50.0%"]


def test_the_best_step_is_marked_and_what_it_is_worth_is_said(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(
        root, capsys, step_0=("++++++++++",), step_1=("----------",), step_2=("++++++++--",),
        step_3=("+++++++---",),
    )  # fmt: skip
    assert [line.split("  ")[0] for line in lines[1:5]] == ["0", "1", "2 (best)", "3"]
    assert lines[5].startswith("best: step 2 with 80.0%; chosen among 3, so ")
    assert lines[6] == "it cannot be told from step 3 by these questions"
    assert "<0.001" not in lines[2]
    assert "0.010" in lines[2]  # 2 / 2**10, five-fold


def test_a_folder_that_is_no_step_has_its_name(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(root, capsys, step_0=("++--",), mine_0123abcd=("+++-",))
    assert lines[2].split()[:2] == ["mine_0123abcd", "75.0%"]


def test_nothing_is_shown_where_nothing_was_scored(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(root, capsys, step_1=("!!",)) == []
    assert capsys.readouterr().err == ""


def test_what_does_not_count_is_said_below(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(root, capsys, step_1=("+!!?",))
    assert lines[2:] == [
        "step_1: not counted: 2 completions that the engine failed at; the same command tries "
        "again",
        "step_1: not counted: 1 completion whose check took too long; the same command tries again",
    ]


@pytest.mark.parametrize(
    ("given_up", "num_asked", "sentence"),
    [
        ({"step_1": "why"}, 3, "1 of 3 models could not be scored whole (step_1: why); the others "
         "were, and the same command tries again"),
        ({"step_1": "a", "step_2": "b"}, 2, "2 of 2 models could not be scored whole (step_1: a; "
         "step_2: b); the same command tries again"),
        ({"step_1": "a"}, 1, "1 of 1 model could not be scored whole (step_1: a); the same command "
         "tries again"),
    ],
)  # fmt: skip
def test_what_could_not_be_scored_is_one_sentence(
    given_up: dict[str, str], num_asked: int, sentence: str
) -> None:
    assert scoreboard.failures(given_up, num_asked) == sentence


def test_the_next_commands_follow_what_there_is(root: Path) -> None:
    run = scoring.make_run(root, 1, 2).run
    request = scoring.request_of(root, run)
    several, _ = found(root / "x", step_0=("+-",), step_2=("++",))
    one, _ = found(root / "y", step_2=("++",))
    folder, _ = found(root / "z", step_0=("+-",), mine_0123abcd=("++",))
    assert scoreboard.next_commands(request, several) == ["compare a 0 2", "status a"]
    assert scoreboard.next_commands(request, one) == ["status a"]
    assert scoreboard.next_commands(request, folder) == ["compare a 0 mine_0123abcd", "status a"]
    assert scoreboard.next_commands(replace(request, run=None), one) == []


def test_json_can_be_written_whatever_is_missing(root: Path) -> None:
    run = scoring.make_run(root, 1).run
    data = scoreboard.as_data(
        scoring.request_of(root, run), *reversed(found(root / "x", step_1=("+-",)))
    )
    again = json.loads(json.dumps(data, allow_nan=False))
    assert again["best"] is None
    assert again["engine_start_seconds"] == 2.5
    assert again["steps"][0]["p_base"] is None
    assert step_target(1).label == again["steps"][0]["label"]
