"""The keys that a recipe may hold, read off the schema: the one place that knows its shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeAlias, get_args

from rlrun.config.schema import RunConfig, Section

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
"""What YAML and JSON can both say."""

KeyPath: TypeAlias = tuple[str, ...]
"""`("grpo", "learning_rate")`; the root is `()`."""


@dataclass(frozen=True, slots=True)
class Key:
    """One place in the tree."""

    is_section: bool
    is_nullable: bool


@cache
def known_keys() -> Mapping[KeyPath, Key]:
    """Return every section and leaf of the schema in its order, the root included."""
    return {(): Key(is_section=True, is_nullable=False)} | _keys_of(RunConfig, ())


def dotted(path: KeyPath) -> str:
    """Return the path as users write it: `grpo.learning_rate`."""
    return ".".join(path)


def is_related(one: KeyPath, other: KeyPath) -> bool:
    """Return whether one path is the other or lies around it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def known_prefix(path: tuple[int | str, ...]) -> KeyPath:
    """Return the longest beginning of the path that is a known key."""
    known = known_keys()
    prefix: KeyPath = ()
    for part in path:
        longer = (*prefix, str(part))
        if longer not in known:
            break
        prefix = longer
    return prefix


def keys_in(section: KeyPath) -> list[str]:
    """Return the names directly inside a section, in the schema's order."""
    depth = len(section) + 1
    return [path[-1] for path in known_keys() if len(path) == depth and path[:-1] == section]


def can_be_set(path: KeyPath) -> bool:
    """Return whether a known key is a setting, or a section that has some."""
    return not _is_section(path) or bool(keys_in(path))


def nearest_key(path: KeyPath) -> KeyPath | None:
    """Return the known key that an unknown one was most likely meant to be, or None."""
    known = [candidate for candidate in known_keys() if candidate]
    same_section = [candidate for candidate in known if candidate[:-1] == path[:-1]]
    close = get_close_matches(path[-1], [candidate[-1] for candidate in same_section], n=1)
    if close:
        return (*path[:-1], close[0])
    same_name = [candidate for candidate in known if candidate[-1] == path[-1]]
    if same_name:
        return same_name[0]
    by_text = {dotted(key): key for key in known if key != path[: len(key)] or not _is_section(key)}
    close = get_close_matches(dotted(path), list(by_text), n=1)
    return by_text[close[0]] if close else None


def leaves(tree: Mapping[str, Value], path: KeyPath = ()) -> dict[str, Value]:
    """Return a resolved tree flat: dotted key -> value; a switched-off section is a leaf."""
    flat: dict[str, Value] = {}
    for name, value in tree.items():
        here = (*path, name)
        if isinstance(value, dict) and known_keys()[here].is_section:
            flat |= leaves(value, here)
        else:
            flat[dotted(here)] = value
    return flat


def _keys_of(model: type[Section], path: KeyPath) -> dict[KeyPath, Key]:
    found: dict[KeyPath, Key] = {}
    for name, field in model.model_fields.items():
        here = (*path, name)
        section = _section_type(field.annotation)
        found[here] = Key(section is not None, type(None) in get_args(field.annotation))
        if section is not None:
            found |= _keys_of(section, here)
    return found


def _is_section(path: KeyPath) -> bool:
    return known_keys()[path].is_section


def _section_type(annotation: Any) -> type[Section] | None:
    """Return the section that a field holds, looking through `| None`."""
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, Section):
            return option
    return None
