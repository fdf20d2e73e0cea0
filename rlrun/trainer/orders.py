"""The configuration that a session works with, and what of it is another computation.

What counts is what made the state that is gone on from: a checkpoint and each batch name theirs.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rlrun.config.changes import Change, compare, describe
from rlrun.config.load import config_from_dict, load_config
from rlrun.config.schema import RunConfig
from rlrun.config.yaml_source import render
from rlrun.errors import InexactError
from rlrun.runs import ledger, store
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest
from rlrun.trainer.recovery import StartingPoint

_KEPT_BY_REPLAYS = "model."
_NOT_IN_NUMERICS = frozenset({"model.gradient_checkpointing"})


@dataclass(frozen=True, slots=True)
class Orders:
    """The configuration in force from now on, and what of it is another computation."""

    config: RunConfig
    inexact: tuple[Change, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is another computation, in words."""
        return tuple(map(describe, self.inexact))


def take_orders(run: RunDir, request: SessionRequest, start: StartingPoint) -> Orders:
    """Return what a session is to work with.

    Raises InexactError if that is another computation than the one gone on from, unless it is
    allowed, or was when a session went on from there before.
    """
    current = load_config(str(run.config), []).config
    wanted = current
    if request.config is not None:
        wanted = config_from_dict(dict(request.config), "the session's request")
    asked = compare(current, wanted).inexact
    made_with = _made_with(start)
    if made_with is None:
        changes = () if store.is_untouched(run) else asked
    else:
        changes = compare(made_with, wanted).inexact
    if not request.allow_inexact:
        asked_keys = {change.key for change in asked}
        known = set() if request.is_rewind else _allowed_before(run, start)
        _refuse_asked([one for one in changes if one.key in asked_keys])
        _refuse_found(run, request, start, [one for one in changes if one.key not in known])
    orders = Orders(wanted, changes)
    _check_replayable(run, orders, start)
    return orders


def _made_with(start: StartingPoint) -> RunConfig | None:
    """Return the configuration of the last batch that the session builds on, None if none tells."""
    batches = start.recovered.batches
    if batches:
        last = batches[max(batches)]
        return config_from_dict(last["config"], f"the batch at step {last['first_step']}")
    if start.manifest is None:
        return None
    return config_from_dict(start.manifest["config"], f"the checkpoint of step {start.step}")


def _allowed_before(run: RunDir, start: StartingPoint) -> set[str]:
    """Return the settings that sessions since the checkpoint recorded as another computation."""
    since = 0 if start.manifest is None else start.manifest["session"]
    return {
        sentence.partition(":")[0]
        for session in ledger.read(run)
        if session.start is not None and session.start.session > since
        for sentence in session.start.differences
    }


def _refuse_asked(changes: Sequence[Change]) -> None:
    if changes:
        raise InexactError(
            f"these settings enter an update: {'; '.join(map(describe, changes))}; keep them, or "
            "give up the promise of exactness with --allow-inexact"
        )


def _refuse_found(
    run: RunDir, request: SessionRequest, start: StartingPoint, changes: Sequence[Change]
) -> None:
    if not changes:
        return
    whence = f" --from {request.from_step} --rewind" if request.is_rewind else ""
    old = " ".join(f"--set {shlex.quote(f'{one.key}={render(one.old)}')}" for one in changes)
    raise InexactError(
        f"{run.config} is not what step {start.frontier} was made with: "
        f"{'; '.join(map(describe, changes))}; put that back with 'rlrun resume {run.name}{whence} "
        f"{old}', or give up the promise of exactness with --allow-inexact"
    )


def _check_replayable(run: RunDir, orders: Orders, start: StartingPoint) -> None:
    """Raise InexactError if journaled steps would be taken again with another model."""
    odd = [
        change.key
        for change in orders.inexact
        if change.key.startswith(_KEPT_BY_REPLAYS) and change.key not in _NOT_IN_NUMERICS
    ]
    if odd and start.recovered.batches:
        last = max(batch["last_step"] for batch in start.recovered.batches.values())
        raise InexactError(
            f"the journal holds steps {start.step + 1} to {last} that were made with another "
            f"{odd[0]}; take them with 'rlrun resume {run.name} --steps 1', then change it"
        )
