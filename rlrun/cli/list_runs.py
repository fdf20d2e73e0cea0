"""`rlrun list`: every run under the root, the most recently active first."""

import time
from collections.abc import Sequence
from dataclasses import asdict

from rlrun.cli import archive_options as given
from rlrun.cli import list_remote, sentences, show, text
from rlrun.cli.archive_options import Reach
from rlrun.cli.options import JsonOption, RootOption
from rlrun.runs import store
from rlrun.runs.layout import RunDir, find_root, runs_folder
from rlrun.sessions import state
from rlrun.sessions.state import RunSummary

_HEADER = ("RUN", "STATUS", "STEP", "REWARD", "SAVED", "ACTIVE", "SESSIONS", "WHERE")


def list_runs(
    is_remote: given.RemoteOption = False,
    to: given.ToOption = None,
    credentials: given.CredentialsOption = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> None:
    """List the runs, the most recently active first; with --remote those in an archive.

    Status: new, running, stopped (can go on), finished, failed, lost (killed; can go on), foreign
    (another tool's), damaged.  HERE: whether the checkpoints in the archive are in the root too.

    Exit codes: see 'rlrun --help'.
    """
    given.refuse_without("--remote", is_given=is_remote, to=to, credentials=credentials)
    if is_remote:
        list_remote.list_remote(Reach(to, credentials, root=root), as_json=as_json)
        return
    folder = find_root(root)
    summaries = recent_first([state.summarise(run) for run in store.list_runs(folder)])
    if as_json:
        show.json_result({"root": str(folder), "runs": [asdict(one) for one in summaries]})
        return
    if not summaries:
        show.talk(f"there is no run in {runs_folder(folder)}")
        show.hints(sentences.commands_with_root(["train"], root))
        return
    show.table(_HEADER, [row(one, now=time.time()) for one in summaries])
    for one in summaries:
        if one.problem:
            show.warn(f"run '{one.name}': {one.problem}")
    newest = summaries[0]
    run = RunDir(runs_folder(folder) / newest.name)
    show.hints(sentences.next_commands(run, newest.status, root)[:1])


def recent_first(summaries: Sequence[RunSummary]) -> list[RunSummary]:
    """Return the summaries, the most recently active first."""
    return sorted(summaries, key=lambda one: (-one.last_active, one.name))


def row(one: RunSummary, *, now: float) -> tuple[str, ...]:
    """Return the cells of a run."""
    return (
        one.name,
        one.status,
        text.fraction(one.step, one.max_steps),
        text.number(one.reward),
        sentences.saved(one, none="-"),
        text.age(now - one.last_active),
        str(one.num_sessions),
        f"{one.host}:{one.pid}" if one.host else "-",
    )
