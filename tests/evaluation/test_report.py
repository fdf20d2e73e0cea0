"""What is written of an evaluation, and what a folder is found to say."""

import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
from support.evaluations import keep, make_job, step_target

from rlrun.errors import DamagedError
from rlrun.evaluation import report
from rlrun.evaluation.report import comparisons
from rlrun.evaluation.targets import Target
from rlrun.evaluation.work import Job

DOCUMENT = Path(__file__).parents[2] / "docs" / "evaluation.md"
MINE = Target("mine_0123abcd", None, None, None, "model mine")
BASE = step_target(0)


def write(job: Job, **steps: str) -> tuple[str, ...]:
    """Keep one sample a question of each step, and write the tables."""
    targets = []
    for label, signs in steps.items():
        target = MINE if label == "mine" else step_target(int(label.removeprefix("step_")))
        keep(job, target, signs)
        targets.append(target)
    return report.write(job, targets)


def table(job: Job) -> pd.DataFrame:
    return pd.read_csv(job.folder.consolidated)


def test_steps_are_compared_with_the_base_and_the_step_before(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    assert write(job, step_0="+---", step_5="++--", step_9="-+++") == ("step_0", "step_5", "step_9")
    rows = report.read(job.folder).rows
    assert [row.scored.numbers.accuracy for row in rows] == [0.25, 0.5, 0.75]
    assert rows[0].to_base is rows[0].to_previous is None
    last = rows[2]
    assert last.to_base is not None
    assert last.to_previous is not None
    assert (last.to_base.other, last.to_base.comparison.difference) == ("step_0", 0.5)
    assert last.to_base.comparison.gained == ("q1", "q2", "q3")
    assert last.to_base.comparison.lost == ("q0",)
    assert (last.to_previous.other, last.to_previous.comparison.difference) == ("step_5", 0.25)


def test_p_values_are_adjusted_for_all_comparisons_of_the_table(tmp_path: Path) -> None:
    job = make_job(tmp_path, 8)
    write(job, step_0="--------", step_1="++++++++", step_2="--------")
    found = table(job).set_index("label")
    # 1 with 0, 2 with 0 and 2 with 1: two of 2 / 2**8, one of 1; Holm takes them 3- and 2-fold.
    assert found.loc["step_1", "p_base"] == found.loc["step_2", "p_previous"] == 2 / 256
    assert found.loc["step_1", "p_adjusted_base"] == 3 * 2 / 256
    assert found.loc["step_1", "p_adjusted_previous"] == 3 * 2 / 256
    assert found.loc["step_2", "p_adjusted_previous"] == 3 * 2 / 256  # 2-fold, but no smaller
    assert found.loc["step_2", "p_adjusted_base"] == 1


def test_which_rows_are_compared_with_which() -> None:
    steps: list[tuple[str, int | None]] = [("step_0", 0), ("step_1", 1), ("step_2", 2)]
    assert comparisons(steps) == [
        ("step_1", "step_0"), ("step_2", "step_0"), ("step_2", "step_1"),
    ]  # fmt: skip
    assert comparisons(steps[1:]) == [("step_2", "step_1")]
    assert comparisons([steps[0], ("mine", None), ("yours", None)]) == [
        ("mine", "step_0"), ("yours", "step_0"),
    ]  # fmt: skip
    assert comparisons([]) == []


def test_a_folder_that_is_no_step_has_none_before_it_and_is_never_the_best(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_0="----", step_1="+---", step_2="++--", mine="++++")
    found = report.read(job.folder)
    last = found.rows[-1]
    assert last.scored.numbers.label == MINE.label
    assert last.to_base is not None
    assert last.to_previous is last.to_best is None
    assert found.best is not None
    assert found.best.step == 2


def test_the_best_is_a_trained_step_and_never_the_base(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_0="++++", step_1="+---", step_2="++--")
    found = report.read(job.folder)
    assert found.best is not None
    assert found.winner is found.rows[2].scored
    assert found.best.step == 2
    assert found.rows[0].to_best is found.rows[2].to_best is None
    to_best = found.rows[1].to_best
    assert to_best is not None
    assert (to_best.other, to_best.comparison.difference) == ("step_2", -0.25)
    assert to_best.p_adjusted == found.best.p_values[1]


def test_one_trained_step_is_no_choice(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_0="++++", step_1="+---")
    found = report.read(job.folder)
    assert found.best is found.winner is None


def test_steps_without_a_common_question_are_not_compared(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_0="++!!", step_1="!!+-", step_2="!!++")
    rows = report.read(job.folder).rows
    assert [row.to_base for row in rows] == [None] * 3
    assert rows[1].to_previous is None
    assert rows[2].to_previous is not None
    assert rows[2].to_previous.comparison.num_questions == 2


def test_questions_with_fewer_samples_choose_no_best_step(tmp_path: Path) -> None:
    job = make_job(tmp_path, 3, num_samples=2)
    for step, samples in ((1, ("+++", "!-+")), (2, ("---", "+!-")), (3, ("+--", "!!+"))):
        keep(job, step_target(step), *samples)
    report.write(job, [step_target(step) for step in (1, 2, 3)])
    assert report.read(job.folder).best is None  # only the last question is whole at every step


def test_a_step_of_which_nothing_counts_has_no_row(tmp_path: Path) -> None:
    job = make_job(tmp_path, 2)
    assert write(job, step_1="!!", step_2="+-") == ("step_2",)
    assert list(table(job)["label"]) == ["step_2"]
    assert not job.folder.step("step_1").summary.exists()


def test_tables_load_in_pandas_without_options(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_0="+---", step_1="++-?", step_2="++!+")
    found = table(job)
    types = found.dtypes.astype(str).to_dict()
    assert types.pop("label") in ("object", "str")
    whole = {"step", "num_samples", "num_questions", "num_completions"}
    whole |= {name for name in types if name.startswith("num_")}
    assert {name for name, kind in types.items() if kind == "int64"} == whole
    assert {kind for name, kind in types.items() if name not in whole} == {"float64"}
    assert found["diff_base"].isna().tolist() == [True, False, False]
    single = pd.read_csv(job.folder.step("step_1").metrics)
    assert single.shape[0] == 1
    pd.testing.assert_series_equal(
        single.iloc[0], found.iloc[1][single.columns], check_names=False, check_dtype=False
    )


def test_the_columns_are_those_that_are_documented(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_0="+---", step_1="++--")
    text = DOCUMENT.read_text()
    rows = re.findall(r"^\| (`.*?) \|", text.partition("## Columns")[2], re.MULTILINE)
    documented = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    columns = list(table(job).columns)
    first, last = documented.index("num_correct"), documented.index("num_engine_error")
    assert documented[first + 1 : last] == []  # an ellipsis stands between them
    ellipsis = columns[columns.index("num_correct") + 1 : columns.index("num_engine_error")]
    documented[last:last] = ellipsis
    bases = [name for name in documented if name.endswith("_base") or "_base_" in name]
    others = [name.replace("base", other) for other in ("previous", "best") for name in bases]
    assert "`..._previous`, `..._best`" in text
    assert [name for name in documented if "..." not in name] + others == columns


def test_a_summary_says_what_it_was_made_of(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_1="++-0")
    summary = json.loads(job.folder.step("step_1").summary.read_text())
    (row,) = report.read(job.folder).rows
    assert summary | asdict(row.scored.numbers) == summary
    assert summary["dataset"] == "sums"
    assert summary["engine"] == "torch 1"
    assert summary["grader"] == "code"
    assert summary["model_hash"] == "model 1"
    assert summary["plan_hash"] == job.plan.hash
    assert summary["written"].endswith("+00:00")


def test_nothing_is_written_anew_where_nothing_changed(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_0="+---", step_1="++--")
    files = [path for path in job.folder.path.rglob("*.*") if path.is_file()]
    for path in files:
        os.utime(path, (1, 1))
    report.write(job, [BASE, step_target(1)])
    assert {path.stat().st_mtime for path in files} == {1}
    keep(job, step_target(1), "+++-")
    report.write(job, [BASE, step_target(1)])
    changed = {path.name for path in files if path.stat().st_mtime != 1}
    assert changed == {
        "completions.jsonl", "metrics.csv", "summary.json", "consolidated_metrics.csv",
    }  # fmt: skip


def test_steps_stay_in_the_table_that_are_not_asked_for_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_0="+---", step_1="++--")
    assert write(job, step_2="+++-") == ("step_2",)
    assert list(table(job)["label"]) == ["step_0", "step_1", "step_2"]


def test_what_is_stored_of_another_plan_is_passed_over(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_1="++--", step_2="+++-")
    path = job.folder.step("step_1").summary
    path.write_text(json.dumps(json.loads(path.read_text()) | {"plan_hash": "another"}))
    assert [row.scored.numbers.label for row in report.read(job.folder).rows] == ["step_2"]


def test_numbers_are_those_of_the_records_whatever_the_summary_says(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_1="++--")
    keep(job, step_target(1), "++++")  # graded again, and killed before the summary
    (row,) = report.read(job.folder).rows
    assert row.scored.numbers.accuracy == 1


def test_which_model_a_label_stands_for(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_1="++--")
    assert report.stands_for(job, step_target(1))
    assert not report.stands_for(job, step_target(1, model="retrained"))
    assert not report.stands_for(job, step_target(2))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "is no summary in JSON"), ("[1]", "is no summary in JSON"), ("%s", "has no 'label'")],
)
def test_a_summary_that_does_not_read_is_said(text: str, sentence: str, tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_1="++--")
    path = job.folder.step("step_1").summary
    path.write_text(text.replace("%s", json.dumps({"plan_hash": job.plan.hash})))
    with pytest.raises(DamagedError, match=rf"summary\.json {sentence}.*nothing is generated anew"):
        report.read(job.folder)


def test_a_summary_without_its_completions_is_said(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_1="++--")
    job.folder.step("step_1").completions.unlink()
    with pytest.raises(
        DamagedError, match=r"has none of the completions that summary\.json sums up"
    ):
        report.read(job.folder)


def test_a_folder_without_a_plan_is_said(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    job.folder.config.unlink()
    with pytest.raises(DamagedError, match=r"has no eval_config\.yaml; evaluate again"):
        report.read(job.folder)


def test_another_models_completions_have_no_part_in_a_row(tmp_path: Path) -> None:
    job = make_job(tmp_path, 4)
    write(job, step_1="++++")
    retrained = step_target(1, model="retrained")
    keep(job, retrained, "----")
    report.write(job, [replace(retrained)])
    (row,) = report.read(job.folder).rows
    assert (row.scored.model_hash, row.scored.numbers.accuracy) == ("retrained", 0)
