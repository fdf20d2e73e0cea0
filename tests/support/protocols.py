"""The protocols by which rlrun writes, each small enough to be refused thousands of times.

`prepare` makes what is there before, `act` writes, and can be called again after it failed; `view`
is what a reader makes of the directory, and must never be anything that an unhindered `act` does
not also show on its way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlrun.runs import (
    checkpoints,
    files,
    jsonl,
    ledger,
    lock,
    mending,
    quarantine,
    rewind,
    salvage,
    step_logs,
    store,
)
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import SessionEnd, SessionOpening
from rlrun.runs.retention import Pruner, Rules
from rlrun.runs.rollout_journal import RolloutJournal, sealed_segments
from rlrun.runs.store import NewRun
from support import journal
from support.runs import empty_run

RUN_ID = "0123456789abcdef"
CONTENTS = {"optimizer.pt": b"moments" * 9, "model/weights": b"weights" * 9}
OPENING = SessionOpening(1, "2026-01-31T12:00:00+00:00", "gpu-2", 4121)
END = SessionEnd(1, "2026-01-31T12:00:09+00:00", 2, 2, 0, 64, 9.0, "finished", 0)


@dataclass(frozen=True)
class Protocol:
    """A way of writing, and what a reader sees of it."""

    prepare: Callable[[RunDir], None]
    act: Callable[[RunDir], object]
    view: Callable[[RunDir], Any]


def nothing(run: RunDir) -> None:
    """Leave the run as it was created."""


def text_of(run: RunDir) -> Any:
    return run.config.read_bytes()


def link_of(run: RunDir) -> Any:
    return run.latest_link.is_symlink() and str(run.latest_link.readlink())


def records_of(run: RunDir) -> Any:
    """Return the journal's records by id or step: twice the same is once."""
    paths = [*(path for _, _, path in sealed_segments(run)), run.journal]
    records = [record for path in paths for record in jsonl.read(path, checked=True)]
    return {record.get("id", record["first_step"]): record for record in records}


def steps_of(run: RunDir) -> Any:
    found = (
        checkpoints.inspect(run, step, run_id=RUN_ID, with_hashes=True)
        for step in checkpoints.list_steps(run)
    )
    return [(step.step, step.is_valid) for step in found]


def publish(step: int) -> Callable[[RunDir], None]:
    info = {"run_id": RUN_ID, "session": 1, "step": step}
    return lambda run: checkpoints.publish(run, step, CONTENTS, info)


def publish_spoiled(run: RunDir) -> None:
    publish(2)(run)
    (run.step(2) / "optimizer.pt").write_bytes(b"spoiled")


def publish_thrice(run: RunDir) -> None:
    for step in (2, 4, 4):
        publish(step)(run)


def make_links(run: RunDir) -> None:
    publish(2)(run)
    run.latest_link.unlink()
    run.latest_link.symlink_to("step_1")


def journal_batches(run: RunDir) -> None:
    rollouts = RolloutJournal(run)
    for step in (1, 2):
        rollouts.append_group(journal.group(step))
        rollouts.append_batch(journal.batch(step))
    rollouts.close()


def journal_torn(run: RunDir) -> None:
    journal_batches(run)
    run.journal.write_bytes(run.journal.read_bytes()[:-9])


def go_on_journaling(run: RunDir) -> None:
    """Append what is not there yet, as a session does that recovers, and seal."""
    known = records_of(run)
    rollouts = RolloutJournal(run)
    for step in (1, 2, 3):
        if f"{step}.0.1" not in known:
            rollouts.append_group(journal.group(step))
        if step not in known:
            rollouts.append_batch(journal.batch(step))
    rollouts.seal(3)
    rollouts.close()


def log_steps(run: RunDir) -> None:
    run.train_log.write_text("".join(f'{{"step":{step}}}\n' for step in range(1, 6)) + '{"st')
    run.ratios.write_text("".join(f'{{"step":{step}}}\n' for step in range(1, 4)))


def kept_and_cut(run: RunDir) -> Any:
    """Return whether the kept part stands, and whether the tail is anywhere."""
    kept, tail = b'{"step":1}\n{"step":2}\n', b'{"step":3}\n{"step":4}\n{"step":5}\n{"st'
    saved = run.abandoned(1) / "train_log.jsonl"
    log = run.train_log.read_bytes()
    is_saved = saved.exists() and saved.read_bytes() == tail
    return log.startswith(kept), log == kept + tail or (log == kept and is_saved)


def leave_leftovers(run: RunDir) -> None:
    publish(2)(run)
    (run.unfinished_step(4) / "model").mkdir(parents=True)
    (run.unfinished_step(4) / "model" / "weights").write_bytes(b"half")
    (run.path / ".config.yaml.tmp").write_bytes(b"half")
    (run.training_state / ".step_latest.tmp").symlink_to("step_4")


def hold(run: RunDir) -> None:
    lock.Lock(run, lambda: 1, heartbeat_seconds=None).release()


def is_free(run: RunDir) -> Any:
    hold(run)
    return run.lock.exists()


def open_and_end(run: RunDir) -> None:
    known = ledger.read(run)
    if not known:
        ledger.append_opening(run, OPENING)
    if not known or known[0].end is None:
        ledger.append_end(run, END)


def tear_ledger(run: RunDir) -> None:
    run.sessions.write_bytes(b'{"event":"open","ho')


def log_and_sync(run: RunDir) -> None:
    """Append to a log that is synced now and then, from where it stands."""
    whole = jsonl.whole_size(run.ratios, checked=False)
    if run.ratios.exists() and whole < run.ratios.stat().st_size:
        files.truncate(run.ratios, whole)
    appender = files.Appender(run.ratios)
    for step in range(len(jsonl.read(run.ratios)) + 1, 5):
        appender.append(b'{"step":%d}\n' % step, sync=False)
        if step % 2 == 0:
            appender.sync()
    appender.close()


def create_other(run: RunDir) -> None:
    root, now = run.path.parents[1], datetime(2026, 1, 31, tzinfo=UTC)
    if "other" not in [found.name for found in store.list_runs(root)]:
        store.create_run(root, NewRun("seed: 1\n", 1), name="other", now=now)


def runs_of(run: RunDir) -> Any:
    found = store.list_runs(run.path.parents[1])
    return [(r.name, r.config.read_bytes(), len(store.read_identity(r).id)) for r in found]


def take_windows(run: RunDir) -> None:
    """Leave three sealed windows of two steps, a checkpoint of each step, and the logs."""
    rollouts = RolloutJournal(run)
    for first in (1, 3, 5):
        rollouts.append_group(journal.group(first))
        rollouts.append_batch(journal.batch(first, first + 1))
        for step in (first, first + 1):
            publish(step)(run)
            if step != 2:  # so that a segment reaches over step 2 and the window of 3
                rollouts.seal(step)
    rollouts.close()
    log_steps(run)


def go_back(run: RunDir) -> None:
    """Rewind to step 2, or finish that."""
    known = [step for step in checkpoints.list_steps(run) if step > 2]
    intent = rewind.pending(run) or (rewind.begin(run, 2) if known else None)
    if intent is not None:
        rewind.finish(run, intent, session=1)


def everywhere(run: RunDir) -> Any:
    """Return what is left to go on with, and whether every checkpoint is still somewhere."""
    kept = [step for step in steps_of(run) if step[0] <= 2]
    found = {path.parent.name for path in run.path.rglob("training_info.json")}
    records = [key for key in records_of(run) if key in (1, "1.0.1")]
    return kept, sorted(name for name in found if name != "step_latest"), records


def spoil_newest(run: RunDir) -> None:
    for step in (2, 4):
        publish(step)(run)
    (run.step(4) / "optimizer.pt").write_bytes(b"spoiled")


def put_aside(run: RunDir) -> None:
    if run.step(4).exists():
        quarantine.set_aside(run, run.step(4), "spoiled", session=1)


def spoiled_and_good(run: RunDir) -> Any:
    spoiled = [p for p in run.path.rglob("optimizer.pt") if p.read_bytes() == b"spoiled"]
    return steps_of(run)[:1], len({path.parent.name.split(".")[0] for path in spoiled})


def publish_four(run: RunDir) -> None:
    for step in (1, 2, 3, 4):
        publish(step)(run)


def kept_and_sound(run: RunDir) -> Any:
    """Return what must stay, and whether all that is there is whole: one refusal stops no other."""
    steps = steps_of(run)
    return steps[-2:], all(is_valid for _, is_valid in steps)


def prune(run: RunDir) -> None:
    checkpoints.remove_leftovers(run)
    Pruner(run, RUN_ID).prune(Rules(keep_latest=2))


def spoil_ledger(run: RunDir) -> None:
    """Leave a ledger of which the first line does not read."""
    ledger.append_opening(run, OPENING)
    run.sessions.write_bytes(b"spoiled\n" + run.sessions.read_bytes())


def spoil_journal(run: RunDir) -> None:
    """Leave a sealed segment that has lost its last batch, and another behind it."""
    rollouts = RolloutJournal(run)
    for step in (1, 2, 3):
        rollouts.append_group(journal.group(step))
        rollouts.append_batch(journal.batch(step))
        if step == 2:
            rollouts.seal(2)
    rollouts.close()
    path = run.segment(1, 2)
    path.write_bytes(path.read_bytes()[:-9])


def mend_journal(run: RunDir) -> None:
    problem = salvage.look(run, 0).problem
    if problem is not None:
        salvage.mend(run, 0, problem, session=1)


def salvaged(run: RunDir) -> Any:
    recovered = salvage.look(run, 0).recovered
    return sorted(recovered.batches), sorted(recovered.groups)


PROTOCOLS: dict[str, Protocol] = {
    "mend the ledger": Protocol(
        spoil_ledger, mending.mend_ledger, lambda run: ledger.read(run, is_lenient=True)
    ),
    "mend the journal": Protocol(spoil_journal, mend_journal, salvaged),
    "change the configuration": Protocol(
        nothing, lambda run: store.update_config(run, "seed: 1\n"), text_of
    ),
    "point the link": Protocol(
        make_links, lambda run: checkpoints.repair_link(run, 2, session=1), link_of
    ),
    "publish": Protocol(nothing, publish_thrice, steps_of),
    "publish again what is spoiled": Protocol(publish_spoiled, publish(2), steps_of),
    "journal and seal": Protocol(nothing, go_on_journaling, records_of),
    "journal behind a torn line": Protocol(journal_torn, go_on_journaling, records_of),
    "cut the logs": Protocol(
        log_steps, lambda run: step_logs.cut(run, run.abandoned(1), 2, session=1), kept_and_cut
    ),
    "remove leftovers": Protocol(leave_leftovers, checkpoints.remove_leftovers, steps_of),
    "take and release the lock": Protocol(nothing, hold, is_free),
    "open and end a session": Protocol(nothing, open_and_end, ledger.read),
    "open behind a torn line": Protocol(tear_ledger, open_and_end, ledger.read),
    "log and sync": Protocol(nothing, log_and_sync, lambda run: jsonl.read(run.ratios)),
    "go back": Protocol(take_windows, go_back, everywhere),
    "put aside what is spoiled": Protocol(spoil_newest, put_aside, spoiled_and_good),
    "prune": Protocol(publish_four, prune, kept_and_sound),
    "create a run": Protocol(nothing, create_other, runs_of),
}


def prepared(root: Path, protocol: Protocol) -> RunDir:
    """Return a run on which `protocol` can act."""
    run = empty_run(root)
    protocol.prepare(run)
    return run
