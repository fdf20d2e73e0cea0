"""What a resume may alter in a run's configuration, and what would make it another computation."""

from collections.abc import Iterator
from dataclasses import dataclass

from rlrun.config.keys import KeyPath, Value, dotted, known_keys
from rlrun.config.load import config_to_dict
from rlrun.config.schema import RunConfig
from rlrun.config.yaml_source import render

_FREE_SECTIONS = frozenset({"saving", "eval", "archive"})
PLACES = frozenset({"model.path", "model.initial_adapter", "task.path"})
"""Where a model or data is; what is there is told by its hash."""
_HORIZON = frozenset({"train.max_steps", "train.num_epochs"})


@dataclass(frozen=True, slots=True)
class Change:
    """A value that differs; a section that went on or off is one change, at the section's key."""

    key: str
    old: Value
    new: Value


@dataclass(frozen=True, slots=True)
class Changes:
    """All differences: `free` ones enter no update, after an `inexact` one the updates differ."""

    free: tuple[Change, ...]
    inexact: tuple[Change, ...]


def compare(old: RunConfig, new: RunConfig) -> Changes:
    """Return what differs, in the schema's order.

    The horizon is free under a constant schedule; any other schedule stretches over it.  Places
    are free: what is found there is compared by its hash, in the session's fingerprint.
    """
    changes = tuple(_differences(config_to_dict(old), config_to_dict(new), ()))
    is_constant = old.grpo.schedule == new.grpo.schedule == "constant"
    return Changes(
        free=tuple(change for change in changes if _is_free(change.key, is_constant)),
        inexact=tuple(change for change in changes if not _is_free(change.key, is_constant)),
    )


def describe(change: Change) -> str:
    """Return `grpo.learning_rate: 0.001 -> 0.0005`."""
    return f"{change.key}: {render(change.old)} -> {render(change.new)}"


def _is_free(key: str, is_constant: bool) -> bool:
    is_free_section = key.split(".")[0] in _FREE_SECTIONS
    return is_free_section or key in PLACES or (is_constant and key in _HORIZON)


def extension(config: RunConfig) -> str:
    """Return the options of `rlrun resume` that move a run's end, with N for the new one."""
    key = "max_steps" if config.train.num_epochs is None else "num_epochs"
    options = f"--set train.{key}=N"
    return options if config.grpo.schedule == "constant" else f"{options} --allow-inexact"


def _differences(old: Value, new: Value, path: KeyPath) -> Iterator[Change]:
    is_section = known_keys()[path].is_section
    if is_section and isinstance(old, dict) and isinstance(new, dict):
        for name in old:
            yield from _differences(old[name], new[name], (*path, name))
    elif old != new:
        yield Change(dotted(path), old, new)
