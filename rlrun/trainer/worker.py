"""The life of a session: take the lock, get ready, train, say how it ended, give the lock back.

What trains is imported when the run is held and that is on record: importing torch takes seconds.
"""

import logging
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING

from rlrun.errors import (
    EXIT_DONE,
    EXIT_STOPPED_EARLY,
    EXIT_STOPPED_NOW,
    FinishedError,
    RlrunError,
    StorageError,
    WorkerError,
)
from rlrun.runs import ledger, lock, mending
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Outcome, SessionEnd, SessionOpening
from rlrun.runs.request import SessionRequest
from rlrun.trainer.stopping import StopNow, Stopper

if TYPE_CHECKING:
    from rlrun.trainer.session import Phase, Session

_log = logging.getLogger(__name__)
_EXIT_CODES: dict[Outcome, int] = {
    "finished": EXIT_DONE,
    "steps_done": EXIT_DONE,
    "stopped": EXIT_STOPPED_EARLY,
    "time_limit": EXIT_STOPPED_EARLY,
    "stopped_now": EXIT_STOPPED_NOW,
}
_LOWER_BY_PHASE: dict["Phase", str] = {
    "loading": "model.dtype, sampling.batch_rows, or the model",
    "sampling": "sampling.batch_rows, sampling.max_completion_tokens or grpo.micro_batch_size",
    "updating": "grpo.micro_batch_size (and --allow-inexact), or set model.gradient_checkpointing",
    "saving": "what else uses this machine's memory",
}
# What torch says of memory that its own allocator did not ask for.
_NO_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")


@dataclass(slots=True)
class Ending:
    """Writes the `end` record of a session, however it ends, and gives the lock back."""

    run: RunDir
    held: lock.Lock
    session: "Session | None" = None
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
            if not self.held.is_lost:  # else the ledger is another session's to write
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
        if isinstance(error, FinishedError):  # the session before was killed when all was saved
            self.outcome = "finished"
        if isinstance(error, RlrunError):
            self.exit_code, self.message = error.exit_code, str(error)
        elif is_out_of_memory(error):
            self.exit_code = WorkerError.exit_code
            self.message = (
                f"out of memory while {phase}; lower {_LOWER_BY_PHASE[phase]}; what is journaled "
                f"is kept, 'rlrun resume {self.run.name}' uses it"
            )
        elif isinstance(error, OSError) and error.filename is not None:
            self.exit_code = StorageError.exit_code
            self.message = (
                f"cannot read {error.filename} while {phase}: {error.strerror}; check the disk and "
                f"the limits (ulimit -n), then 'rlrun resume {self.run.name}' goes on"
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
    is_devices = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)  # torch's
    is_others = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    return isinstance(error, MemoryError) or is_devices or is_others


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
    said: list[str] = []

    def take_number() -> int:
        number, lost = mending.mend_ledger(run)
        said.extend(lost)
        return number

    held = lock.Lock(run, take_number, heartbeat_seconds=heartbeat_seconds)
    owner = held.owner
    try:
        ledger.append_opening(run, SessionOpening(owner.session, _now(), owner.host, owner.pid))
    except BaseException:  # a session that did not open has no end: its number is free again
        held.release()
        raise
    with Ending(run, held) as ending:
        _prepare_libraries()
        from rlrun.trainer.loop import train
        from rlrun.trainer.preparation import prepare

        ending.session = prepare(run, request, stopper, held, said)
        ending.finish(train(ending.session))
        ending.session.close()
    return ending.exit_code


def _prepare_libraries() -> None:
    """Import the libraries, quiet, with what must be set before their backends start."""
    import transformers.utils.logging

    from rlrun.policy import determinism

    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    transformers.utils.logging.disable_progress_bar()
    determinism.prepare_environment()
