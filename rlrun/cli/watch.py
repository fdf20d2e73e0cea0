"""Work on a run: start the worker, show what it does, and say how it ended."""

import signal
from dataclasses import dataclass
from pathlib import Path

from rlrun import errors
from rlrun.cli import sentences, show, text
from rlrun.cli.show import View
from rlrun.errors import LockedError, RlrunError, WorkerError
from rlrun.runs import ledger, lock
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import SessionEnd
from rlrun.runs.request import SessionRequest
from rlrun.sessions import launch, state
from rlrun.sessions.follow import (
    CheckpointSaved,
    Event,
    Follower,
    Opened,
    Progress,
    Started,
    StepTaken,
    advance,
    follow,
)
from rlrun.sessions.launch import Worker
from rlrun.sessions.relay import Relay


@dataclass(frozen=True, slots=True)
class Job:
    """A session to be, and how it is to be shown."""

    run: RunDir
    request: SessionRequest
    num_groups: int | None  # of a batch
    root: Path | None  # what --root said, for the hints
    is_detached: bool = False


def work(job: Job) -> int:
    """Run a session and return the exit code of its worker; 0 at once if it is detached.

    Raises what the worker failed with.
    """
    if job.is_detached:
        launch.start_worker(job.run, job.request, command=launch.WORKER_COMMAND)
        show.out(job.run.name)
        show.talk("the session goes on by itself")
        show.hints(sentences.next_commands(job.run, "running", job.root))
        return errors.EXIT_DONE
    with Relay() as relay:
        return _attend(job, relay)


def _attend(job: Job, relay: Relay) -> int:
    run = job.run
    last_session = ledger.next_session(run) - 1
    worker = launch.start_worker(run, job.request, command=launch.WORKER_COMMAND)
    relay.attach(worker)
    follower = Follower(
        run, lambda opening: opening.session > last_session and opening.pid == worker.pid
    )
    with show.session_view(f"run '{run.name}'", job.num_groups) as view:
        progress = _watch(follower, worker, relay, view, run.name)
    exit_code = worker.wait()
    if progress.end is not None:
        return _conclude(job, progress, progress.end, exit_code)
    if relay.num_signals and (progress.opening is None or exit_code == -signal.SIGKILL):
        show.talk(sentences.silent_stop(progress))
        show.hints(sentences.next_commands(run, "lost", job.root)[:1])
        return errors.EXIT_STOPPED_NOW
    raise silent_death(run, exit_code, progress)


def _watch(follower: Follower, worker: Worker, relay: Relay, view: View, name: str) -> Progress:
    progress = Progress()
    num_signals_said = 0
    for events in follow(follower, lambda: worker.poll() is None):
        for event in events:
            progress = advance(progress, event)
            tell(view, event, progress, name)
        while num_signals_said < min(relay.num_signals, 3):
            num_signals_said += 1
            view.say(sentences.signal_line(num_signals_said))
        view.update(progress)
    return progress


def tell(view: View, event: Event, progress: Progress, name: str) -> None:
    """Say what is to be said of an event, given the progress with it."""
    max_steps = progress.start.max_steps if progress.start else None
    match event:
        case Opened() if view.has_step_lines:
            view.say(sentences.PREPARING)
        case Started(start):
            for line in sentences.start_lines(start, name):
                view.say(line)
        case StepTaken(record):
            if view.has_step_lines:
                view.say(sentences.step_line(record, max_steps))
            if progress.num_zero_rewards == sentences.NUM_ZERO_REWARDS:
                view.warn(sentences.ZERO_REWARD)
        case CheckpointSaved(step):
            if view.has_step_lines and progress.start and step != progress.start.from_step:
                view.say(f"saved step {step}")
        case _:
            return


def _conclude(job: Job, progress: Progress, end: SessionEnd, exit_code: int) -> int:
    if end.outcome == "failed":
        raise failure(end.exit_code, end.message)
    max_steps = progress.start.max_steps if progress.start else end.step
    reward = f"{text.number(progress.rewards[-1])} " if progress.rewards else "-"
    reward += show.curve(progress.rewards)
    show.pairs(sentences.end_rows(job.run, end, max_steps, reward))
    commands = sentences.next_commands(job.run, state.look(job.run)[0], job.root)
    show.hints([*commands, f"tensorboard --logdir {job.run.tensorboard}"])
    return exit_code


def failure(exit_code: int, message: str) -> RlrunError:
    """Return the error of a worker that ended with this code and this sentence."""
    kinds = {kind.exit_code: kind for kind in RlrunError.__subclasses__()}
    return kinds.get(exit_code, RlrunError)(message)


def silent_death(run: RunDir, exit_code: int, progress: Progress) -> RlrunError:
    """Return the error of a worker that left no end in the ledger."""
    holder = lock.find_holder(run)
    if exit_code == LockedError.exit_code and holder is not None:
        return lock.refuse(run, holder)
    how = f"ended with code {exit_code}"
    if exit_code < 0:
        how = f"was killed by {signal.Signals(-exit_code).name}"
        if -exit_code == signal.SIGKILL:
            how += " (out of memory?)"
    when = f"at step {progress.step}" if progress.start else "before its first step"
    return WorkerError(
        f"the worker of run '{run.name}' {how} {when} without saying why; what it printed is shown "
        f"by 'rlrun logs {run.name} --worker', and 'rlrun resume {run.name}' goes on from what is "
        "saved and journaled"
    )
