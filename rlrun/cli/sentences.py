"""What happened, as sentences: a session's start and end, a step, and the next likely commands."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from rlrun.cli.text import count, duration, fraction
from rlrun.config.changes import extension
from rlrun.config.load import load_config
from rlrun.errors import RlrunError
from rlrun.runs.jsonl import Record
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Outcome, Session, SessionEnd, SessionStart
from rlrun.sessions.follow import Progress
from rlrun.sessions.state import RunSummary, Word

NUM_ZERO_REWARDS = 10
STARTING = "starting the worker"
LOADING = "loading torch, the model and what the run holds (some seconds)"
STOPPING = "stopping: finishing what is needed and saving; press Ctrl-C again to stop now"
STOPPING_NOW = "stopping now: nothing journaled is lost; a third Ctrl-C kills the worker"
KILLED = "killed the worker: nothing journaled is lost"
ZERO_REWARD = (
    f"the reward has been 0 for {NUM_ZERO_REWARDS} steps: there is nothing to learn from; look at "
    "the completions in logs/rollouts.jsonl, and check task.instructions and "
    "sampling.max_completion_tokens"
)

_STEP_WORDS = {
    "reward_mean": ("reward", ".3f"),
    "loss": ("loss", "z7.4f"),
    "kl": ("kl", "z.4f"),
    "entropy": ("entropy", ".3f"),
    "grad_norm": ("grad", ".3f"),
    "completion_tokens_mean": ("length", ".1f"),
}
"""A record's key, to its short name and how its value is written."""
_COMMAND = re.compile(
    r"'(rlrun (?:train|resume|list|status|logs|stop|eval|compare|prune|pin|verify|archive|restore|"
    r"doctor)\b"
    r"[^'\n]*)'"
)
_OUTCOMES: dict[Outcome, str] = {
    "finished": "finished",
    "steps_done": "took the steps asked for",
    "stopped": "stopped early, everything saved",
    "time_limit": "stopped by the time limit, everything saved",
    "stopped_now": "stopped at once, nothing journaled is lost",
    "failed": "failed",
}


def outcome(end: SessionEnd | None) -> str:
    """Return how a session ended, as a sentence would say it."""
    return _OUTCOMES[end.outcome] if end else "killed"


def outcome_word(end: SessionEnd | None, *, is_running: bool) -> str:
    """Return how a session ended, as a table would say it."""
    if end is None:
        return "running" if is_running else "killed"
    return end.outcome.replace("_", " ")


def start_lines(start: SessionStart, name: str) -> list[str]:
    """Return what a session says when it has chosen where to go on."""
    verb = "begins at" if start.frontier == 0 else "continues from"
    whence = f"{verb} step {start.from_step}"
    num_replayed = start.frontier - start.from_step
    if num_replayed > 0:
        whence += f", replaying {count(num_replayed, 'journaled step')} to reach {start.frontier}"
    return [
        f"run '{name}', session {start.session} on {start.device}, to step "
        f"{fraction(start.target_step, start.max_steps)}",
        f"{start.promise}: {whence}",
        *(f"note: {note}" for note in start.notes),
        *(f"changed: {change}" for change in start.changes),
        *(f"difference: {difference}" for difference in start.differences),
    ]


def step_line(record: Record, max_steps: int | None) -> str:
    """Return one line for a record that has a step; what else it does not have is left out."""
    clock = record.get("clock", {})
    width = 0 if max_steps is None else 2 * len(str(max_steps)) + 1
    words = [f"step {fraction(record['step'], max_steps):>{width}}"]
    words += [_measured(*named, record[key]) for key, named in _STEP_WORDS.items() if key in record]
    if clock.get("tokens_per_second") is not None:
        words.append(f"{clock['tokens_per_second']:,.0f} tokens/s")
    if "seconds" in clock:
        words.append(duration(clock["seconds"]))
    if clock.get("replayed"):
        words.append("replayed")
    return "  ".join(words)


def _measured(name: str, form: str, value: float | None) -> str:
    return f"{name} -" if value is None else f"{name} {value:{form}}"


def session_end(session: Session, *, is_running: bool) -> str:
    """Return how a session ended, as a line behind its steps."""
    number, end = session.opening.session, session.end
    if end is None:
        return f"session {number} {'goes on' if is_running else 'was killed'}"
    at_step = f" at step {end.step}" if session.start else ""
    return f"session {number}: {outcome(end)}{at_step}"


def with_root(sentence: str, root: str | None) -> str:
    """Return an error's sentence with `--root` in each command that it recommends."""
    if root is None:
        return sentence
    return _COMMAND.sub(lambda match: f"'{match[1]} --root {shlex.quote(root)}'", sentence)


def silent_stop(progress: Progress) -> str:
    """Return what to say of a worker that was stopped before it could write its end."""
    if progress.opening is None:
        return "stopped before the session began; nothing was changed"
    return f"killed at step {progress.step}; nothing that is saved or journaled is lost"


def live_facts(progress: Progress, num_groups: int | None) -> str:
    """Return what a live view tells beside the step and the reward."""
    clock = progress.record["clock"] if progress.record else {}
    left = progress.seconds_left
    words = []
    if clock.get("replayed"):
        words.append("replaying")
    if clock.get("tokens_per_second") is not None:
        words.append(f"{clock['tokens_per_second']:,.0f} tokens/s")
    words.append("no time estimate yet" if left is None else f"{duration(left)} left")
    saved = progress.checkpoint_step
    words.append("nothing saved yet" if saved is None else f"saved step {saved}")
    words.append(f"groups {fraction(progress.num_groups, num_groups)}")
    return " | ".join(words)


def saved(one: RunSummary, *, none: str) -> str:
    """Return the newest valid step, and what a newer folder is that is none."""
    valid = none if one.checkpoint_step is None else str(one.checkpoint_step)
    return valid if one.passed_step is None else f"{valid} ({one.passed_step} {one.passed_verdict})"


def signal_line(num_signals: int) -> str:
    """Return what to say after the n-th signal, n from 1."""
    return (STOPPING, STOPPING_NOW, KILLED)[min(num_signals, 3) - 1]


def end_rows(run: RunDir, end: SessionEnd, max_steps: int, reward: str) -> list[tuple[str, str]]:
    """Return the summary of a session, as pairs of a label and its value."""
    replayed = f", {end.num_replayed} replayed" if end.num_replayed else ""
    return [
        ("run", run.name),
        ("session", f"{end.session}, {outcome(end)}"),
        ("step", fraction(end.step, max_steps)),
        ("steps", f"{count(end.num_steps, 'new step')}{replayed}"),
        ("reward", reward),
        ("tokens", f"{end.num_tokens:,} generated"),
        ("time", duration(end.seconds)),
        ("directory", str(run.path)),
    ]


def _extension(run: RunDir) -> str:
    """Return the options that extend a run, as far as its configuration can be read."""
    try:
        return extension(load_config(str(run.config), ()).config)
    except RlrunError:
        return "--set train.max_steps=N"


def next_commands(run: RunDir, status: Word, root: Path | None) -> list[str]:
    """Return the commands that are likely to come next; `root` is what `--root` said."""
    name = run.name
    commands: dict[Word, Sequence[str]] = {
        "new": (f"resume {name}",),
        "running": (f"logs -f {name}", f"stop {name}"),
        "stopped": (f"resume {name}", f"status {name}"),
        "lost": (f"resume {name}", f"logs {name} --worker"),
        "failed": (f"logs {name} --worker", f"resume {name}"),
        "finished": (f"status {name}", f"resume {name} {_extension(run)}"),
        "foreign": (f"logs {name}",),
        "damaged": (f"verify {name}", f"resume {name}"),
    }
    return commands_with_root(commands[status], root)


def commands_with_root(commands: Sequence[str], root: Path | None) -> list[str]:
    """Return whole command lines; `root` is what `--root` said."""
    suffix = f" --root {shlex.quote(str(root))}" if root else ""
    return [f"rlrun {command}{suffix}" for command in commands]
