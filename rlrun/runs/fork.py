"""Another run that begins where one stands; the parent is only read (docs/design.md, 13)."""

from datetime import datetime
from pathlib import Path

from rlrun.errors import DamagedError
from rlrun.runs import checkpoints, files, jsonl, manifest, pins, rollout_journal, step_logs, store
from rlrun.runs.checkpoints import Step
from rlrun.runs.jsonl import Record
from rlrun.runs.layout import RunDir
from rlrun.runs.rollout_journal import Recovered
from rlrun.runs.store import Identity, NewRun, Parent


def fork(
    parent: RunDir, step: int, root: Path, *, name: str, config_text: str, now: datetime
) -> RunDir:
    """Create a run from the parent's `step`, whole or not at all, and return it.

    It has the parent's checkpoint under its own id, the logs up to there, and the journal of a
    window that the step cuts.  Raises RunExistsError, and what `checkpoints.require` raises.
    """
    origin = store.read_identity(parent)
    found = checkpoints.require(parent, step, run_id=origin.id)
    recovered = _recover(parent, found)
    cut = [batch for batch in recovered.batches.values() if batch["first_step"] <= step]
    groups = [recovered.groups[group] for batch in cut for group in batch["groups"]]

    def fill(unfinished: RunDir, identity: Identity) -> None:
        _copy_checkpoint(found, unfinished, identity)
        for log in (parent.train_log, parent.ratios):
            _copy_log(log, unfinished.logs / log.name, step)
        journal = b"".join(_line_of(record) for record in [*groups, *cut])
        files.write_new(unfinished.journal, journal)

    new = NewRun(
        config_text=config_text,
        num_threads=origin.num_threads,
        parent=Parent(origin.id, parent.name, step),
        fill=fill,
    )
    with pins.hold(found.path):
        return store.create_run(root, new, name=name, now=now)


def _recover(parent: RunDir, step: Step) -> Recovered:
    """Return what the parent's journal holds beyond a step of it.

    A session may seal a segment while it is being read, which then looks damaged: look again.
    """
    try:
        return _recover_once(parent, step)
    except DamagedError:
        return _recover_once(parent, step)


def _recover_once(parent: RunDir, step: Step) -> Recovered:
    recovered = rollout_journal.recover(parent, step.step)
    if step.manifest is not None:
        rollout_journal.require_window(parent, step.manifest, recovered)
    return recovered


def _copy_checkpoint(step: Step, run: RunDir, identity: Identity) -> None:
    """Write the checkpoint again under the new run's id; what is copied is what was hashed."""
    info = dict(step.manifest or {})
    contents = {}
    for name, entry in info.pop("files").items():
        data = (step.path / name).read_bytes()
        if manifest.describe_bytes(data) != entry:
            raise DamagedError(f"{step.path / name} changed while it was copied; try again")
        contents[name] = data
    for key in ("format_version", "manifest_hash"):
        info.pop(key)
    # Session 0: before all sessions of the new run, whose numbers begin at 1.
    checkpoints.publish(run, step.step, contents, {**info, "run_id": identity.id, "session": 0})


def _copy_log(source: Path, target: Path, step: int) -> None:
    if source.exists():
        kept = step_logs.up_to(jsonl.read_raw(source, checked=False), step)
        files.write_new(target, step_logs.mended(kept, step, None))


def _line_of(record: Record) -> bytes:
    return jsonl.encode(record, checked=True)
