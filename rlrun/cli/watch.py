"""Work on a run: start the worker, show what it does, and say how it ended."""

import signal
from dataclasses import dataclass

from rlrun import errors
from rlrun.cli import sentences, show, text
from rlrun.cli.options import Orders
from rlrun.cli.show import View
from rlrun.errors import DamagedError, LockedError, RlrunError, StorageError, WorkerError
from rlrun.runs import ledger, lock, store
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
    Warned,
    advance,
    follow,
)
from rlrun.sessions.launch import Worker
from rlrun.sessions.relay import Relay

_TELLING = frozenset({StorageError.exit_code, DamagedError.exit_code})
"""Codes that say what happened where the worker could not even record it."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be, and how it is to be shown."""

    run: RunDir
    request: SessionRequest
    num_groups: int | None  # of a batch
    orders: Orders


def work(new: NewSession) -> int:
    """Run a session and return the exit code of its worker; 0 at once if it is detached.

    Raises what the worker failed with.
    """
    if new.orders.is_detached:
        return _detach(new)
    with Relay() as relay:
        return _attend(new, relay)


def _detach(new: NewSession) -> int:
    """Start the worker and leave it as soon as it holds the run."""
    worker, follower = _start(new)
    for events in follow(follower, lambda: worker.poll() is None):
        if events:
            break
    else:
        raise silent_death(new.run, worker.wait(), Progress())
    show.out(new.run.name)
    show.talk("the session goes on by itself")
    show.hints(sentences.next_commands(new.run, "running", new.orders.root))
    return errors.EXIT_DONE


def _start(new: NewSession) -> tuple[Worker, Follower]:
    last_session = ledger.next_session(new.run) - 1
    worker = launch.start_worker(new.run, new.request, command=launch.WORKER_COMMAND)
    return worker, Follower(
        new.run, lambda opening: opening.session > last_session and opening.pid == worker.pid
    )


def _attend(new: NewSession, relay: Relay) -> int:
    run = new.run
    worker, follower = _start(new)
    relay.attach(worker)
    with show.session_view(f"run '{run.name}'", new.num_groups) as view:
        progress = _watch(follower, worker, relay, view, run.name)
    exit_code = worker.wait()
    if progress.end is not None:
        return _conclude(new, progress, progress.end, exit_code)
    if relay.num_signals and (progress.opening is None or exit_code == -signal.SIGKILL):
        show.talk(sentences.silent_stop(progress))
        show.hints(sentences.next_commands(run, "lost", new.orders.root)[:1])
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
            view.say(sentences.LOADING)
        case Started(start):
            for line in sentences.start_lines(start, name):
                view.say(line)
        case StepTaken(record):
            if view.has_step_lines:
                view.say(sentences.step_line(record, max_steps))
            if progress.num_zero_rewards == sentences.NUM_ZERO_REWARDS:
                view.warn(sentences.ZERO_REWARD)
        case Warned(message):
            view.warn(message)
        case CheckpointSaved(step):
            if view.has_step_lines and progress.start and step != progress.start.from_step:
                view.say(f"saved step {step}")
        case _:
            return


def _conclude(new: NewSession, progress: Progress, end: SessionEnd, exit_code: int) -> int:
    if end.outcome == "failed":
        raise errors.error_of(end.exit_code, f"{end.message}{_way_on(new.run)}")
    max_steps = progress.start.max_steps if progress.start else end.step
    reward = f"{text.number(progress.rewards[-1])} " if progress.rewards else "-"
    reward += show.curve(progress.rewards)
    show.pairs(sentences.end_rows(new.run, end, max_steps, reward))
    commands = sentences.next_commands(new.run, state.look(new.run)[0], new.orders.root)
    show.hints([*commands, f"tensorboard --logdir {new.run.tensorboard}"])
    return exit_code


def _way_on(run: RunDir) -> str:
    """Return what to add to a failure when the run is there and has nothing in it yet."""
    if not store.is_untouched(run):
        return ""
    return (
        f"\nrun '{run.name}' is there and has no step yet; correct a setting and go on with "
        f"'rlrun resume {run.name} --set KEY=VALUE'"
    )


def silent_death(run: RunDir, exit_code: int, progress: Progress) -> RlrunError:
    """Return the error of a worker that left no end in the ledger."""
    holder = lock.find_holder(run)
    if exit_code == LockedError.exit_code and holder is not None:
        return lock.refuse(run, holder)
    how = f"ended with code {exit_code}"
    if exit_code in _TELLING:
        how += f" ({errors.EXIT_CODES[exit_code]})"
    if exit_code < 0:
        how = f"was killed by {signal.Signals(-exit_code).name}"
        if -exit_code == signal.SIGKILL:
            how += " (out of memory?)"
    when = f"at step {progress.step}" if progress.start else "before its first step"
    kind = type(errors.error_of(exit_code, "")) if exit_code in _TELLING else WorkerError
    return kind(
        f"the worker of run '{run.name}' {how} {when} without saying why; what it printed is shown "
        f"by 'rlrun logs {run.name} --worker', and 'rlrun resume {run.name}' goes on from what is "
        "saved and journaled"
    )
