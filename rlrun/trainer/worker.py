"""The life of a session: take the lock, get ready, train, say how it ended, give the lock back."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType

import torch

from rlrun.config.changes import compare as compare_configs
from rlrun.config.changes import describe
from rlrun.config.load import config_from_dict, dump_config, load_config
from rlrun.config.schema import RunConfig
from rlrun.errors import (
    EXIT_DONE,
    EXIT_STOPPED_EARLY,
    EXIT_STOPPED_NOW,
    InexactError,
    NothingToDoError,
    RlrunError,
    StorageError,
    WorkerError,
)
from rlrun.runs import ledger, lock, store
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Outcome, SessionEnd, SessionOpening, SessionStart
from rlrun.runs.request import SessionRequest
from rlrun.runs.rollout_journal import RolloutJournal
from rlrun.runs.store import Identity
from rlrun.trainer import checkpoint, fingerprint, recovery
from rlrun.trainer.batches import BatchSource
from rlrun.trainer.loop import train
from rlrun.trainer.recovery import StartingPoint
from rlrun.trainer.session import Phase, Plan, Progress, Session
from rlrun.trainer.stopping import StopNow, Stopper
from rlrun.trainer.workbench import Workbench, build_workbench, find_device

_log = logging.getLogger(__name__)
_EXIT_CODES: dict[Outcome, int] = {
    "finished": EXIT_DONE,
    "steps_done": EXIT_DONE,
    "stopped": EXIT_STOPPED_EARLY,
    "time_limit": EXIT_STOPPED_EARLY,
    "stopped_now": EXIT_STOPPED_NOW,
}
_LOWER_BY_PHASE: dict[Phase, str] = {
    "loading": "model.dtype, sampling.batch_rows, or the model",
    "sampling": "sampling.batch_rows or sampling.max_completion_tokens",
    "updating": "grpo.micro_batch_size (and --allow-inexact), or set model.gradient_checkpointing",
    "saving": "what else uses this machine's memory",
}


@dataclass(slots=True)
class Ending:
    """Writes the `end` record of a session, however it ends, and gives the lock back."""

    run: RunDir
    held: lock.Lock
    session: Session | None = None
    outcome: Outcome = "failed"
    exit_code: int = 1
    message: str = ""
    _started: float = field(default_factory=monotonic)

    def __enter__(self) -> "Ending":
        return self

    def finish(self, outcome: Outcome) -> None:
        """Take note of an orderly end."""
        self.outcome, self.exit_code = outcome, _EXIT_CODES[outcome]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Record the end; errors that have a sentence for the user end here, others go on."""
        is_told = error is None or self._take(error)
        if error is not None and not isinstance(error, StopNow):
            self._await_save()
        try:
            ledger.append_end(self.run, self._record())
        except StorageError as refusal:  # a full disk, most likely: the exit code must say it all
            self.exit_code = refusal.exit_code
            _log.error("%s", refusal)
        finally:
            if self.session is None or not self.session.is_saving:
                self.held.release()  # else it is the process's end that gives the run back
        return is_told

    def _await_save(self) -> None:
        """Let the save before the failure finish; what goes wrong with it is of no more account."""
        if self.session is not None:
            try:
                self.session.wait_for_save()
            except StorageError as refusal:
                _log.error("%s", refusal)

    def _take(self, error: BaseException) -> bool:
        """Take note of how the session failed; return whether that says all there is to say."""
        phase = self.session.phase if self.session else "loading"
        if isinstance(error, StopNow):
            self.finish("stopped_now")
            return True
        if isinstance(error, RlrunError):
            self.exit_code, self.message = error.exit_code, str(error)
        elif is_out_of_memory(error):
            self.exit_code = WorkerError.exit_code
            self.message = (
                f"out of memory while {phase}; lower {_LOWER_BY_PHASE[phase]}; what is journaled "
                f"is kept, 'rlrun resume {self.run.name}' uses it"
            )
        else:
            self.message = (
                f"{type(error).__name__} while {phase}: {error}; this is a defect of rlrun, please "
                f"report it with {self.run.worker_log}"
            )
            return False
        _log.error("%s", self.message, exc_info=error)
        return True

    def _record(self) -> SessionEnd:
        session = self.session
        step = session.progress.step if session else 0
        return SessionEnd(
            session=self.held.owner.session,
            ended=_now(),
            step=step,
            num_steps=max(0, step - session.plan.frontier) if session else 0,
            num_replayed=session.num_replayed if session else 0,
            num_tokens=session.num_tokens if session else 0,
            seconds=round(monotonic() - self._started, 3),
            outcome=self.outcome,
            exit_code=self.exit_code,
            message=self.message,
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is the host's or the device's memory running out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def run_session(
    run: RunDir,
    request: SessionRequest,
    *,
    stopper: Stopper | None = None,
    heartbeat_seconds: float | None = lock.HEARTBEAT_SECONDS,
) -> int:
    """Work one session on a run and return its exit code.

    Raises LockedError if another process holds the run, another RlrunError if not even the ledger
    can be read or written, and what rlrun does not expect.
    """
    stopper = stopper or Stopper(max_seconds=request.max_seconds, clock=monotonic)
    held = lock.Lock(run, lambda: ledger.next_session(run), heartbeat_seconds=heartbeat_seconds)
    with Ending(run, held) as ending:
        owner = held.owner
        ledger.append_opening(run, SessionOpening(owner.session, _now(), owner.host, owner.pid))
        ending.session = _prepare(run, request, stopper, owner.session)
        ending.finish(train(ending.session))
        ending.session.close()
    return ending.exit_code


def _prepare(run: RunDir, request: SessionRequest, stopper: Stopper, number: int) -> Session:
    """Return a session that is ready to train.

    Until it is, the run is only tidied: what fails here leaves it as it was.
    """
    identity = store.read_identity(run)
    config, changes = _configuration(run, request)
    start = recovery.find_starting_point(run, run_id=identity.id, from_step=request.from_step)
    recovery.tidy(run, start.step)
    bench = build_workbench(
        config,
        device=find_device(request.device),
        num_threads=config.train.num_threads or identity.num_threads,
        needs_reference=config.grpo.kl_weight > 0 or start.has_kl_batches,
    )
    plan = _plan(run, request, identity, start, bench, number)
    verdict = fingerprint.compare(
        _fingerprint_before(run, start),
        bench.fingerprint,
        changes,
        bench.engine,
        allow_inexact=request.allow_inexact,
    )
    if start.checkpoint is not None:
        checkpoint.load(bench.learner, start.checkpoint)
    recovery.cut_logs(run, number, start.step)
    if request.config is not None:
        store.update_config(run, dump_config(config))
    journal = RolloutJournal(run)
    ledger.append_start(
        run,
        SessionStart(
            session=number,
            started=_now(),
            device=str(bench.learner.policy.device),
            from_step=start.step,
            frontier=plan.frontier,
            target_step=plan.target_step,
            max_steps=bench.max_steps,
            promise=verdict.promise,
            differences=verdict.differences,
            changes=request.changes,
            notes=start.notes,
            fingerprint=bench.fingerprint,
        ),
    )
    source = BatchSource(bench, start.recovered, journal, number, resplit=request.allow_inexact)
    return Session(plan, bench, source, journal, Progress.of(start.manifest), stopper)


def _configuration(run: RunDir, request: SessionRequest) -> tuple[RunConfig, list[str]]:
    """Return the configuration in force from now on, and its changes that enter an update."""
    current = load_config(str(run.config), []).config
    if request.config is None:
        return current, []
    wanted = config_from_dict(dict(request.config), "the session's request")
    inexact = [describe(change) for change in compare_configs(current, wanted).inexact]
    if inexact and not request.allow_inexact:
        raise InexactError(
            f"these settings enter an update: {'; '.join(inexact)}; keep them, or give up the "
            "promise of exactness with --allow-inexact"
        )
    return wanted, inexact


def _plan(
    run: RunDir,
    request: SessionRequest,
    identity: Identity,
    start: StartingPoint,
    bench: Workbench,
    number: int,
) -> Plan:
    if start.step >= bench.max_steps:
        raise NothingToDoError(
            f"run '{run.name}' is at its last step, {start.step} of {bench.max_steps}; to go "
            f"further use 'rlrun resume {run.name} --set train.max_steps={start.step + 50}'"
        )
    wanted = bench.max_steps if request.steps is None else start.frontier + request.steps
    target = min(bench.max_steps, wanted)
    return Plan(run, identity.id, number, start.step, start.frontier, target)


def _fingerprint_before(run: RunDir, start: StartingPoint) -> dict[str, object] | None:
    """Return the fingerprint of what is being continued, or None if nothing was done yet."""
    if start.manifest is not None:
        return dict(start.manifest["fingerprint"])
    starts = [session.start for session in ledger.read(run) if session.start is not None]
    return dict(starts[-1].fingerprint) if starts else None
