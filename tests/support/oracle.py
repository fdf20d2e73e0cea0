"""What a run amounts to, so that an interrupted one can be compared with one that never stopped."""

import hashlib
from pathlib import Path
from typing import Any

from rlrun.runs import checkpoints, jsonl, rollout_journal, store
from rlrun.runs.layout import RunDir

STATE_FILES = ("model/adapter_model.safetensors", "model/adapter_config.json",
               "model/model.safetensors", "optimizer.pt", "scheduler.pt")  # fmt: skip


def digest(run_dir: Path) -> dict[str, Any]:
    """Return everything about a finished run that must not depend on how it was interrupted."""
    run = RunDir(run_dir)
    run_id = store.read_identity(run).id
    newest, passed = checkpoints.newest_valid(run, run_id=run_id, with_hashes=True)
    assert newest is not None
    assert newest.manifest is not None
    assert not passed
    return {
        "step": newest.step,
        "state": state_of(newest.path),
        "totals": newest.manifest["totals"]["completion_tokens"],
        "position": (newest.manifest["data_position"], newest.manifest["batches"]),
        "train_log": [without_clock(record) for record in jsonl.read(run.train_log)],
        "ratios": jsonl.read(run.ratios),
        "journal": journal_of(run),
        "events": events_of(run),
    }


def state_of(step_dir: Path) -> dict[str, str]:
    """Return the hash of each file of a checkpoint that is a function of the training state."""
    present = [name for name in STATE_FILES if (step_dir / name).exists()]
    return {name: hashlib.sha256((step_dir / name).read_bytes()).hexdigest() for name in present}


def without_clock(record: jsonl.Record) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "clock"}


def journal_of(run: RunDir) -> list[tuple[Any, ...]]:
    """Return all groups and batches in step order, without the sessions that wrote them."""
    paths = [path for _, _, path in rollout_journal.sealed_segments(run)] + [run.journal]
    records = [record for path in paths for record in jsonl.read(path, checked=True)]
    plain = []
    for record in records:
        kept = {key: value for key, value in record.items() if key not in ("id", "groups")}
        kept["config"] = {k: v for k, v in record.get("config", {}).items() if k != "saving"}
        plain.append((record["first_step"], record["kind"] == "batch", record.get("slot", 0), kept))
    return sorted(plain, key=lambda row: row[:3])


def events_of(run: RunDir) -> dict[str, list[tuple[int, float]]]:
    """Return TensorBoard's scalars as TensorBoard reads them, those of the wall clock aside."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = [tag for tag in accumulator.Tags()["scalars"] if not tag.startswith("clock/")]
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags}


def differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Return the names of what differs, for a message that a person can start from."""
    return [key for key in left if left[key] != right[key]]


def litter(run_dir: Path) -> list[str]:
    """Return leftovers that a finished run should not have."""
    return [str(path.relative_to(run_dir)) for path in run_dir.rglob("*")
            if path.name.endswith(".tmp") or path.name == "lock.json"]  # fmt: skip
