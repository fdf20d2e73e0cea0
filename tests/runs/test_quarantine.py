"""What does not verify is moved aside, with its reason."""

from support.calls import recorded

from rlrun.runs import jsonl, quarantine
from rlrun.runs.layout import RunDir


def spoiled(run: RunDir, step: int = 3) -> None:
    run.step(step).mkdir(parents=True)
    (run.step(step) / "weights").write_bytes(b"bad")


def test_a_folder_is_moved_whole_and_its_reason_is_kept(run: RunDir) -> None:
    spoiled(run)
    moved = quarantine.set_aside(run, run.step(3), "weights is too short", session=2)
    assert moved == run.quarantine / "step_3.0"
    assert (moved / "weights").read_bytes() == b"bad"
    assert not run.step(3).exists()
    (record,) = jsonl.read(run.quarantine_reasons)
    assert (record["folder"], record["reason"]) == ("step_3.0", "weights is too short")
    assert record["session"] == 2


def test_nothing_in_the_quarantine_is_ever_replaced(run: RunDir) -> None:
    for _ in range(3):
        spoiled(run)
        quarantine.set_aside(run, run.step(3), "bad", session=1)
    folders = [record["folder"] for record in jsonl.read(run.quarantine_reasons)]
    assert folders == ["step_3.0", "step_3.1", "step_3.2"]
    assert all((run.quarantine / folder / "weights").is_file() for folder in folders)


def test_the_reason_is_durable_before_anything_moves(run: RunDir) -> None:
    spoiled(run)
    with recorded() as calls:
        quarantine.set_aside(run, run.step(3), "bad", session=1)
    assert calls.index("fsync reasons.jsonl") < calls.index("rename step_3.0")
    assert calls[-2:] == ["fsync quarantine", "fsync training_state"]
