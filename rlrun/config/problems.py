"""What is wrong with a configuration, said so that it can be put right: where, what, and how."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlrun.config.keys import KeyPath, Value, can_be_set, dotted, keys_in, known_prefix, nearest_key
from rlrun.config.yaml_source import render

_LONGEST_VALUE = 60  # characters of a value that a message repeats
_USER = re.compile(r"://[^/]*@")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: a file's line, a file, or the command line."""

    label: str
    line: int | None = None

    def __str__(self) -> str:
        return self.label if self.line is None else f"{self.label}:{self.line}"


OVERRIDE = Origin("--set")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right; `path` is the key or section concerned."""

    origin: Origin
    path: KeyPath
    sentence: str

    def __str__(self) -> str:
        separator = " " if self.origin == OVERRIDE else ": "
        return f"{self.origin}{separator}{self.sentence}"


def joined(problems: Iterable[Problem]) -> str:
    """Return the message for all problems: by line in the file, then the command line's."""
    ordered = sorted(problems, key=lambda one: (one.origin == OVERRIDE, one.origin.line or 0))
    sentences = list(dict.fromkeys(str(problem) for problem in ordered))
    if len(sentences) == 1:
        return sentences[0]
    return "\n".join([f"the configuration has {len(sentences)} problems:", *sentences])


def assignment(path: KeyPath, value: Value) -> str:
    """Return `grpo.group_size=1`, a long value cut short, and a password in a place left out."""
    text = _USER.sub("://...@", render(value))
    if len(text) > _LONGEST_VALUE:
        text = text[: _LONGEST_VALUE - 3] + "..."
    return f"{dotted(path)}={text}"


def unknown_key(path: KeyPath) -> str:
    """Return the sentence for a key that the schema does not have, with the nearest one."""
    name = dotted(path)
    nearest = nearest_key(path)
    if nearest is not None and dotted(nearest) == name:
        parent, leaf = dotted(nearest[:-1]), nearest[-1]
        return f"{name} is not written with dots in a file; write {leaf}: below {parent}:"
    if nearest is not None:
        return f"{name} is not a known key; did you mean {dotted(nearest)}?"
    section = known_prefix(path)
    return f"{name} is not a known key; {_has(section)}"


def listed(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _has(section: KeyPath) -> str:
    names = [name for name in keys_in(section) if can_be_set((*section, name))]
    where = dotted(section) or "a recipe"
    return f"{where} has {listed(names)}" if names else f"{where} has no settings below it"
