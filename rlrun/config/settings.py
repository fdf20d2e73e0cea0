"""Settings: each value that somebody wrote, with where; and how layers of them become one tree."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rlrun.config.keys import KeyPath, Value, dotted, is_related, known_keys
from rlrun.config.problems import OVERRIDE, Origin, Problem, assignment, unknown_key
from rlrun.config.yaml_source import NotYamlError, YamlTree, read_value

PLAIN_NUMBER_MEANS: Mapping[KeyPath, tuple[str, ...]] = {
    ("sampling", "temperature"): ("initial", "final"),
}
"""Sections for which a plain number may stand, and the keys that it sets."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value as written; a section's value is None (off) or {} (on, with its defaults)."""

    path: KeyPath
    value: Value
    origin: Origin


class Layer(NamedTuple):
    """What one source says, and what is wrong with how it says it."""

    settings: tuple[Setting, ...]
    problems: tuple[Problem, ...]


def file_layer(tree: YamlTree, label: str) -> Layer:
    """Return the settings of a parsed file."""
    layer = _spread(tree.value, (), lambda path: Origin(label, tree.lines.get(path)))
    repeated = tuple(
        Problem(Origin(label, line), path, f"{dotted(path)} stands already in line {first}")
        for path, line, first in tree.repeated
    )
    return Layer(layer.settings, repeated + layer.problems)


def tree_layer(tree: Value, label: str) -> Layer:
    """Return the settings of a tree that has no lines."""
    return _spread(tree, (), lambda _: Origin(label))


def override_layer(overrides: Sequence[str]) -> Layer:
    """Return the settings of `key=value` texts; a later one wins over an earlier one."""
    return _together([_read_override(text) for text in overrides])


def merge(settings: Iterable[Setting]) -> dict[KeyPath, Setting]:
    """Return what holds after all settings in their order.

    A value below a section that is off turns the section on, and None turns it off again.
    """
    merged: dict[KeyPath, Setting] = {}
    for setting in settings:
        related = [path for path in merged if is_related(path, setting.path)]
        if setting.value == {} and any(len(path) > len(setting.path) for path in related):
            continue
        for path in related:
            del merged[path]
        merged[setting.path] = setting
    return merged


def nest(settings: Mapping[KeyPath, Setting]) -> dict[str, Value]:
    """Return the merged settings as a tree."""
    tree: dict[str, Value] = {}
    for path, setting in settings.items():
        section = tree
        for name in path[:-1]:
            inner = section.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{dotted(path)} lies below a value; merge the settings first")
            section = inner
        section[path[-1]] = setting.value
    return tree


def _read_override(text: str) -> Layer:
    name, equals, value_text = text.partition("=")
    path = tuple(name.strip().split("."))
    if not equals or not all(path):
        sentence = f"{text}: write it as key=value, such as grpo.learning_rate=1e-5"
        return Layer((), (Problem(OVERRIDE, (), sentence),))
    try:
        tree = read_value(value_text)
    except NotYamlError as error:
        if path not in known_keys():
            return Layer((), (Problem(OVERRIDE, path, unknown_key(path)),))
        return Layer((), (Problem(OVERRIDE, path, f"{text}: {error.reason}"),))
    repeated = tuple(
        Problem(OVERRIDE, path + below, f"{dotted(path + below)} stands twice in one value")
        for below, _, _ in tree.repeated
    )
    layer = _spread(tree.value, path, lambda _: OVERRIDE)
    return Layer(layer.settings, repeated + layer.problems)


def _spread(value: Value, path: KeyPath, origin_of: Callable[[KeyPath], Origin]) -> Layer:
    """Return a value cut into one setting a leaf; keys that the schema lacks become problems."""
    origin = origin_of(path)
    key = known_keys().get(path)
    if key is None:
        return Layer((), (Problem(origin, path, unknown_key(path)),))
    if not key.is_section:
        return Layer((Setting(path, value, origin),), ())
    if isinstance(value, dict):
        parts = [_spread(inner, (*path, name), origin_of) for name, inner in value.items()]
        switched_on = [Layer((Setting(path, {}, origin),), ())] if key.is_nullable else []
        return _together([*switched_on, *parts])
    names = PLAIN_NUMBER_MEANS.get(path, ())
    if names and isinstance(value, int | float) and not isinstance(value, bool):
        return Layer(tuple(Setting((*path, name), value, origin) for name in names), ())
    if value is None and key.is_nullable:
        return Layer((Setting(path, None, origin),), ())
    return Layer((), (Problem(origin, path, _not_a_section(path, value)),))


def _not_a_section(path: KeyPath, value: Value) -> str:
    if not path:
        return "a recipe holds sections (grpo:, train:, ...) with keys below them"
    number = "a number or " if path in PLAIN_NUMBER_MEANS else ""
    null = " or null" if known_keys()[path].is_nullable else ""
    return f"{assignment(path, value)}: must be {number}keys with values below it{null}"


def _together(layers: Sequence[Layer]) -> Layer:
    settings = tuple(setting for layer in layers for setting in layer.settings)
    return Layer(settings, tuple(problem for layer in layers for problem in layer.problems))
