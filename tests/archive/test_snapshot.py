from pathlib import Path
from typing import Any

import pytest

from rlrun.archive import blobs, snapshot
from rlrun.archive.snapshot import Source
from rlrun.errors import ArchiveError, DamagedError, LockedError
from rlrun.runs import archived, checkpoints, files


def paths_of(made: Any, root: Path, evaluations: Any = None) -> list[str]:
    found = snapshot.of_records(root, made.run, evaluations or {})
    return [source.path for source in found]


def test_records_are_everything_but_checkpoints_and_what_is_of_the_moment(
    made: Any, root: Path
) -> None:
    made.journals("group")
    (made.run.segments / "step_1-10.jsonl").write_bytes(b"{}\n")
    (made.run.logs / ".train_log.jsonl.tmp").write_bytes(b"{")
    made.run.lock.write_text("{}")
    made.run.pins.mkdir()
    (made.run.pins / "step_10").write_bytes(b"")
    made.run.quarantine.mkdir()
    (made.run.quarantine / "step_5.0").write_bytes(b"")
    (made.run.abandoned_root / "rewind_0" / "logs").mkdir(parents=True)
    (made.run.abandoned_root / "rewind_0" / "logs" / "train_log.jsonl").write_bytes(b"{}\n")
    archived.note(made.run, "pushed", [(10, "a", 1)], "there")
    assert paths_of(made, root) == [
        "run/abandoned/rewind_0/logs/train_log.jsonl",
        "run/config.yaml",
        "run/logs/rollouts.jsonl",
        "run/logs/rollouts/step_1-10.jsonl",
        "run/logs/sessions.jsonl",
        "run/logs/train_log.jsonl",
        "run/pins/step_10",
        "run/run.json",
    ]


def test_evaluations_are_records_too(made: Any, root: Path) -> None:
    folder = root / "eval_runs" / "sums_gsm8k"
    (folder / "step_10_gsm8k").mkdir(parents=True)
    (folder / "step_10_gsm8k" / "metrics.csv").write_text("a\n")
    (folder / "lock").write_text("")
    found = [one for one in paths_of(made, root, {"sums_gsm8k": folder}) if "eval" in one]
    assert found == ["eval_runs/sums_gsm8k/step_10_gsm8k/metrics.csv"]


def test_a_log_that_grows_meanwhile_is_taken_as_it_was(
    made: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = made.run.train_log.stat().st_size
    real = blobs.of_file

    def of_file(path: Path, *, size: int | None = None) -> Any:
        if path == made.run.config:
            made.steps(31, 40)
        return real(path, size=size)

    monkeypatch.setattr(snapshot.blobs, "of_file", of_file)
    found = {source.path: source.blob for source in snapshot.of_records(root, made.run, {})}
    assert found["run/logs/train_log.jsonl"].seal.size == size


def test_a_segment_that_is_sealed_meanwhile_is_there_once(
    made: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.journals("group")
    real, was_sealed = snapshot._record_files, []

    def record_files(run: Any) -> Any:
        if not was_sealed:
            was_sealed.append(True)
            yield from real(run)
            files.rename(run.journal, run.segment(1, 1))
            return
        yield from real(run)

    monkeypatch.setattr(snapshot, "_record_files", record_files)
    found = paths_of(made, root)
    assert "run/logs/rollouts/step_1-1.jsonl" in found
    assert "run/logs/rollouts.jsonl" not in found


def test_a_run_that_is_being_rewound_has_no_snapshot(made: Any, root: Path) -> None:
    made.run.rewind.write_text("{}")
    with pytest.raises(LockedError):
        paths_of(made, root)


def test_every_file_of_a_checkpoint_is_compared_with_its_manifest(made: Any) -> None:
    def step() -> Any:
        return checkpoints.inspect(made.run, 10, run_id=made.id, with_hashes=False)

    assert [one.path for one in snapshot.of_step(step())] == ["model/weights", "training_info.json"]
    (made.run.step(10) / "model" / "weights").write_bytes(b"54321")
    with pytest.raises(DamagedError, match="does not match its SHA-256"):
        snapshot.of_step(step())
    (made.run.step(10) / "model" / "weights").write_bytes(b"1")
    with pytest.raises(DamagedError, match="does not verify"):
        snapshot.of_step(step())


def test_a_segment_that_is_sealed_while_others_are_read_is_taken_as_it_was(
    made: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.run.journal.write_bytes(b"batch of step 31\n")
    real, sealed = blobs.of_file, made.run.segment(31, 31)

    def of_file(path: Path, *, size: int | None = None) -> Any:
        if not sealed.exists():
            files.rename(made.run.journal, sealed)
            made.run.journal.write_bytes(b"others\n")
        return real(path, size=size)

    monkeypatch.setattr(snapshot.blobs, "of_file", of_file)
    found = {source.path: source.blob for source in snapshot.of_records(root, made.run, {})}
    assert sealed.exists()
    assert f"run/logs/rollouts/{sealed.name}" not in found
    assert found["run/logs/rollouts.jsonl"].read(0, 100) == b"batch of step 31\n"


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "a\udcff"])
def test_a_name_that_no_restore_would_take_is_refused(name: str, made: Any, root: Path) -> None:
    (made.run.tensorboard / name).write_bytes(b"")
    with pytest.raises(ArchiveError, match="rename it") as caught:
        paths_of(made, root)
    assert str(caught.value).isprintable()


def test_a_file_that_goes_meanwhile_is_left_out(
    made: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = snapshot._record_files
    monkeypatch.setattr(
        snapshot, "_record_files", lambda run: iter([*real(run), run.pins / "step_10"])
    )
    assert "run/pins/step_10" not in paths_of(made, root)


def evaluations_of(made: Any, here: dict[str, bytes], there: dict[str, bytes]) -> dict[str, bytes]:
    """Return which bytes of evaluations the records have, by the path below the evaluation."""
    texts = {blobs.of_bytes(text).seal.sha256: text for text in (*here.values(), *there.values())}
    before = None
    for files_ in (there, here):
        sources = [Source(f"eval_runs/sums_a/{path}", blobs.of_bytes(text))
                   for path, text in sorted(files_.items())]  # fmt: skip
        before = snapshot.archived_records(made.run, sources, before)
    assert before is not None
    return {
        entry.path.removeprefix("eval_runs/sums_a/"): texts[entry.seal.sha256]
        for entry in before.entries
    }


def test_a_step_that_was_evaluated_elsewhere_stays_beside_those_from_here(made: Any) -> None:
    here, there = {"step_10_a/summary.json": b"h"}, {"step_20_a/summary.json": b"t"}
    assert evaluations_of(made, here, there) == here | there


def test_a_step_s_folder_is_taken_whole_from_here_unless_there_is_more_of_it_there(
    made: Any,
) -> None:
    part, other_part = {"step_10_a/completions.jsonl": b"h"}, {"step_10_a/metrics.csv": b"h"}
    whole = {"step_10_a/completions.jsonl": b"t", "step_10_a/metrics.csv": b"t"}
    assert evaluations_of(made, part, whole) == whole
    assert evaluations_of(made, whole, part) == whole
    assert evaluations_of(made, part, other_part) == part
    again = dict.fromkeys(whole, b"h")
    assert evaluations_of(made, again, whole) == again


def test_the_table_of_all_steps_is_of_whoever_has_them_all(made: Any) -> None:
    table = "consolidated_metrics.csv"
    here = {"step_10_a/summary.json": b"1", table: b"of 10"}
    there = {"step_20_a/summary.json": b"2", table: b"of 20"}
    both = {**here, **there, table: b"of both"}
    assert evaluations_of(made, here, there)[table] == b"of 20"
    assert evaluations_of(made, both, there)[table] == b"of both"
    assert evaluations_of(made, here, both)[table] == b"of both"
    assert evaluations_of(made, here, {"step_20_a/summary.json": b"2"})[table] == b"of 10"


def test_a_plan_and_its_questions_are_left_out_together(made: Any) -> None:
    names = ["eval_config.yaml", "questions.jsonl", "step_10_a/completions.jsonl"]
    sources = [Source(f"eval_runs/sums_a/{name}", blobs.of_bytes(b"1")) for name in names]
    found = snapshot.archived_records(made.run, sources, None)
    for name in names[:2]:
        left = snapshot.without(found, [f"eval_runs/sums_a/{name}"])
        assert [one.path for one in left.entries] == [f"eval_runs/sums_a/{names[2]}"]
    left = snapshot.without(found, [f"eval_runs/sums_a/{names[2]}"])
    assert [one.path for one in left.entries] == [f"eval_runs/sums_a/{name}" for name in names[:2]]


@pytest.mark.parametrize(
    ("path", "is_optional"),
    [
        ("eval_runs/sums_a/step_10_a/summary.json", True),
        ("run/tensorboard/events.1", True),
        ("run/abandoned/rewind_0/logs/train_log.jsonl", True),
        ("run/logs/worker.log", True),
        ("run/config.yaml", False),
        ("run/logs/sessions.jsonl", False),
        ("run/logs/train_log.jsonl", False),
        ("run/logs/rollouts/step_1-10.jsonl", False),
        ("run/pins/step_10", False),
    ],
)
def test_a_run_can_go_on_without_what_tells_of_the_past(path: str, is_optional: bool) -> None:
    assert snapshot.is_optional(path) == is_optional
