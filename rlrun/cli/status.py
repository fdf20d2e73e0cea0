"""`rlrun status`: one run at length."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rlrun.cli import sentences, show, text
from rlrun.cli.options import JsonOption, RootOption, RunArgument
from rlrun.runs import store
from rlrun.runs.layout import find_root
from rlrun.runs.ledger import Session
from rlrun.sessions.report import CheckpointReport, RunReport, report
from rlrun.sessions.state import RunSummary

_SESSIONS = ("SESSION", "STEPS", "ENDED", "BEGAN", "TIME", "NEW", "REPLAYED", "DEVICE", "HOST")
_NUM_NEWEST = 10  # checkpoints that have a row in any case
_CHECKPOINTS = ("CHECKPOINT", "STATE", "WHERE", "SIZE", "VERIFIED", "ARCHIVE", "WHY")
_OPTIONAL = {"VERIFIED", "ARCHIVE", "WHY"}  # columns that are left out where they are empty


def status(name: RunArgument = None, as_json: JsonOption = False, root: RootOption = None) -> None:
    """Show a run, its sessions and its checkpoints.

    A checkpoint is valid if its manifest and its files' sizes fit; a resume checks every byte.  It
    is local, remote (in an archive), or both, as far as this machine knows: no archive is asked,
    and VERIFIED says when a copy was last proved.

    Exit codes: see 'rlrun --help'.
    """
    run = store.find_run(find_root(root), name)
    found = report(run)
    commands = sentences.next_commands(run, found.summary.status, root)
    if as_json:
        show.json_result({**as_data(found), "directory": str(run.path), "next": commands})
        return
    curve = show.curve(found.rewards)
    why = [("why", message) for message in last_messages(found.sessions)]
    rows = facts(found.summary, curve, now=time.time())
    show.pairs([*rows, *why, ("directory", str(run.path))])
    if found.sessions:
        show.out("")
        is_running = found.summary.status == "running"
        show.table(_SESSIONS, session_rows(found.sessions, is_running=is_running))
    if found.checkpoints:
        show.out("")
        shown = worth_a_row(found.checkpoints)
        show_checkpoints(shown)
        if len(shown) < len(found.checkpoints):
            num_left_out = len(found.checkpoints) - len(shown)
            left_out = text.count(num_left_out, "earlier checkpoint")
            show.talk(f"({left_out} not shown; use --json)")
    show.hints([command for command in commands if not command.startswith("rlrun status")])


def as_data(found: RunReport) -> dict[str, Any]:
    """Return what `--json` prints of a run."""
    return {
        "run": asdict(found.summary),
        "rewards": list(found.rewards),
        "sessions": [asdict(session) for session in found.sessions],
        "checkpoints": [asdict(checkpoint) for checkpoint in found.checkpoints],
    }


def facts(one: RunSummary, curve: str, *, now: float) -> list[tuple[str, str]]:
    """Return the labels and values at the top."""
    what = "" if one.status == "running" else "being tidied by "
    where = f", {what}pid {one.pid} on {one.host}" if one.host else ""
    unit = "" if one.checkpoint_step is None else "step "
    return [
        ("run", one.name),
        ("status", f"{one.status}{where}"),
        ("step", text.fraction(one.step, one.max_steps)),
        ("reward", f"{text.number(one.reward)} {curve}".rstrip()),
        ("saved", f"{unit}{sentences.saved(one, none='no step yet')}"),
        ("active", text.age(now - one.last_active)),
    ]


def last_messages(sessions: Sequence[Session]) -> list[str]:
    """Return what the last session warned of, and what it said when it failed."""
    if not sessions:
        return []
    last = sessions[-1]
    ends = [last.end.message] if last.end and last.end.message else []
    return [*(f"step {one.step}: {one.message}" for one in last.warnings), *ends]


def session_rows(sessions: Sequence[Session], *, is_running: bool) -> list[tuple[str, ...]]:
    """Return a row for each session; only the newest can be running."""
    return [
        _session_row(session, is_running=is_running and session is sessions[-1])
        for session in sessions
    ]


def _session_row(session: Session, *, is_running: bool) -> tuple[str, ...]:
    opening, start, end = session.opening, session.start, session.end
    whence = str(start.from_step) if start else "-"
    if start and end:
        whence = f"{start.from_step}-{end.step}"
    return (
        str(opening.session),
        whence,
        sentences.outcome_word(end, is_running=is_running),
        text.moment(opening.opened),
        text.duration(end.seconds) if end else "-",
        str(end.num_steps) if end else "-",
        str(end.num_replayed) if end else "-",
        start.device if start else "-",
        opening.host,
    )


def worth_a_row(checkpoints: Sequence[CheckpointReport]) -> list[CheckpointReport]:
    """Return the newest checkpoints, and all that are pinned or are what they should not be."""
    newest = checkpoints[-_NUM_NEWEST:]
    sound = ("valid", "archived")
    return [
        one for one in checkpoints if one in newest or one.is_pinned or one.verdict not in sound
    ]


def show_checkpoints(checkpoints: Sequence[CheckpointReport]) -> None:
    """Show a row for each checkpoint; what concerns archives and problems only where there are."""
    columns = zip(_CHECKPOINTS, *map(checkpoint_row, checkpoints), strict=True)
    shown = [column for column in columns if column[0] not in _OPTIONAL or set(column[1:]) != {"-"}]
    header, *rows = zip(*shown, strict=True)
    show.table(header, rows)


def checkpoint_row(one: CheckpointReport) -> tuple[str, ...]:
    """Return the cells of a checkpoint."""
    return (
        f"step {one.step}",
        f"{one.verdict}, pinned" if one.is_pinned else one.verdict,
        one.where,
        text.size(one.num_bytes),
        text.moment(one.verified) if one.verified else "-",
        one.archive or "-",
        one.problem or "-",
    )
