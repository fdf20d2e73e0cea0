"""From a run on disk and a request to a session that is ready to train."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rlrun.config.changes import extension
from rlrun.config.load import dump_config
from rlrun.errors import FinishedError, NothingToDoError
from rlrun.policy.device import find_device
from rlrun.runs import ledger, mending, rewind, step_logs, store
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import SessionStart
from rlrun.runs.lock import Lock
from rlrun.runs.request import SessionRequest
from rlrun.runs.retention import Pruner
from rlrun.runs.rollout_journal import RolloutJournal
from rlrun.runs.store import Identity
from rlrun.trainer import checkpoint, fingerprint, recovery
from rlrun.trainer.batches import BatchSource
from rlrun.trainer.fingerprint import Verdict
from rlrun.trainer.orders import Orders, take_orders
from rlrun.trainer.recovery import StartingPoint
from rlrun.trainer.session import Plan, Progress, Session
from rlrun.trainer.stopping import Stopper
from rlrun.trainer.workbench import Workbench, build_workbench


def prepare(
    run: RunDir, request: SessionRequest, stopper: Stopper, held: Lock, said: Sequence[str] = ()
) -> Session:
    """Return a session that is ready to train; `said` is what was found on the way here.

    Until it is, the run is only tidied: what fails here leaves it as it was.
    """
    number = held.owner.session
    identity = store.read_identity(run)
    said = [*said, *mending.mend_notes(run, session=number)]
    if finished := rewind.finish_pending(run, session=number):
        said.append(finished)
    start = _find_start(run, identity, request)
    if not request.is_rewind:
        recovery.tidy(run, start, session=number)
    orders = take_orders(run, request, start)
    bench = build_workbench(
        orders.config,
        device=find_device(request.device),
        num_threads=orders.config.train.num_threads or identity.num_threads,
        needs_reference=orders.config.grpo.kl_weight > 0 or start.has_kl_batches,
    )
    plan = _plan(run, request, identity, start, bench, number)
    verdict = _judge(run, request, orders, start, bench)
    if start.checkpoint is not None:
        checkpoint.load(bench.learner, start.checkpoint)
    progress = Progress.of(start.manifest)
    progress.seconds += step_logs.seconds_between(run, start.step, start.frontier)
    held.require()
    if request.is_rewind:
        said += _go_back(run, start, number)
    said += step_logs.cut(run, run.abandoned(number), start.step, session=number)
    if request.config is not None:
        store.update_config(run, dump_config(orders.config))
    journal = RolloutJournal(run, held.require)
    ledger.append_start(run, _start_record(plan, request, start, bench, verdict, said))
    source = BatchSource(bench, start.recovered, journal, number)
    pruner = Pruner(run, identity.id)
    if start.checkpoint is not None:
        pruner.note(start.checkpoint)
    return Session(plan, bench, source, journal, progress, stopper, pruner)


def _find_start(run: RunDir, identity: Identity, request: SessionRequest) -> StartingPoint:
    if request.is_rewind and request.from_step is not None:
        return recovery.find_older_starting_point(run, run_id=identity.id, step=request.from_step)
    return recovery.find_starting_point(run, run_id=identity.id, from_step=request.from_step)


def _go_back(run: RunDir, start: StartingPoint, number: int) -> list[str]:
    """Abandon what is behind the starting point; return what there is to say of it."""
    intent = rewind.begin(run, start.step)
    lost = rewind.finish(run, intent, session=number)
    recovery.tidy(run, start, session=number)
    where = f"what was behind it is in abandoned/{intent.folder}"
    return [f"went back to step {intent.step}; {where}", *lost]


def _plan(
    run: RunDir,
    request: SessionRequest,
    identity: Identity,
    start: StartingPoint,
    bench: Workbench,
    number: int,
) -> Plan:
    if start.step >= bench.max_steps:
        is_whole = request.config is None  # the run's own end, not one that was asked for
        raise (FinishedError if is_whole else NothingToDoError)(
            f"run '{run.name}' is at its last step, {start.step} of {bench.max_steps}; to go "
            f"further use 'rlrun resume {run.name} {extension(bench.config)}'"
        )
    wanted = bench.max_steps if request.steps is None else start.frontier + request.steps
    target = min(bench.max_steps, wanted)
    return Plan(run, identity.id, number, start.step, start.frontier, target)


def _judge(
    run: RunDir, request: SessionRequest, orders: Orders, start: StartingPoint, bench: Workbench
) -> Verdict:
    """Return what the session promises, given all that made what it goes on from."""
    since = 0 if start.manifest is None else start.manifest["session"]
    later = [
        session.start
        for session in (ledger.read(run) if start.has_beyond else ())
        if session.start is not None and session.start.session > since
    ]
    before = [] if start.manifest is None else [start.manifest["fingerprint"]]
    inherited: list[str] = []
    if start.recovered.batches or start.recovered.groups:
        inherited = [
            f"session {past.session} journaled steps after {start.step} at best effort"
            for past in later
            if past.promise == "best effort"
        ]
        if ledger.lost_up_to(run) > since:
            inherited.append(f"the ledger lost a record of who journaled after step {start.step}")
    return fingerprint.compare(
        [*before, *(past.fingerprint for past in later)],
        bench.fingerprint,
        [*orders.sentences, *inherited],
        bench.engine,
        allow_inexact=request.allow_inexact,
    )


def _start_record(
    plan: Plan,
    request: SessionRequest,
    start: StartingPoint,
    bench: Workbench,
    verdict: Verdict,
    said: Sequence[str],
) -> SessionStart:
    return SessionStart(
        session=plan.session,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        device=str(bench.learner.policy.device),
        from_step=start.step,
        frontier=plan.frontier,
        target_step=plan.target_step,
        max_steps=bench.max_steps,
        promise=verdict.promise,
        differences=verdict.differences,
        changes=request.changes,
        notes=(*said, *start.notes),
        fingerprint=bench.fingerprint,
    )
