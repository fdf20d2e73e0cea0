"""YAML as recipes use it: every value with its line, no guessing, nothing said twice.

Scalars follow YAML 1.2 where 1.1 surprises: `1e-5` is a number, `no` and `2024-01-01` are text.
Aliases, anchors and tags are refused, so a file means what its lines say.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from rlrun.config.keys import KeyPath, Value

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_FLOAT_PATTERN = (
    r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
    r"|[-+]?\.[0-9]+(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_PATTERNS: tuple[tuple[str, str, list[str]], ...] = (  # tag, pattern, first characters
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?(?:0|[1-9][0-9_]{0,99})", list("-+0123456789")),
    (_FLOAT, _FLOAT_PATTERN, list("-+.0123456789")),
)


class NotYamlError(Exception):
    """The text is not YAML as recipes use it; `line` counts from 1, None when unknown."""

    def __init__(self, reason: str, line: int | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlTree:
    """A parsed text: its value, the line of each key, and the keys that were said twice."""

    value: Value
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    repeated: tuple[tuple[KeyPath, int, int], ...] = ()  # path, line, line where it stood first


def read_document(data: bytes) -> YamlTree:
    """Return what a recipe file says; an empty one says `{}`.

    Raises:
        NotYamlError: the bytes are not UTF-8 text, or not YAML as recipes use it.
    """
    node = _compose(data)
    return YamlTree({}) if node is None else _read_tree(node)


def read_value(text: str) -> YamlTree:
    """Return what the text after `key=` says.

    Raises:
        NotYamlError: it is empty, has parts that YAML would drop, or is not YAML.
    """
    try:
        node = _compose(text)
    except NotYamlError as error:
        raise NotYamlError(f"{error.reason}; put text in quotes", None) from error
    if node is None:
        raise NotYamlError("there is no value; write null to switch it off", None)
    if text[node.end_mark.index :].strip():
        raise NotYamlError("'#' would begin a comment; put the text in quotes", None)
    return _read_tree(node)


def dump_yaml(value: Value) -> str:
    """Return canonical ASCII YAML in the order of the tree; `read_document` gives it back."""
    return yaml.dump(value, Dumper=_RecipeDumper, sort_keys=False)


def render(value: Value) -> str:
    """Return the value on one line, as it can be given to `--set`."""
    text = yaml.dump(
        value, Dumper=_RecipeDumper, sort_keys=False, default_flow_style=True, width=float("inf")
    )
    return text.removesuffix("...\n").strip()


class _RecipeLoader(yaml.SafeLoader):
    """Composes nodes only; `_PATTERNS` says what a plain scalar is."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - replaces the base class's attribute

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag is not None or getattr(event, "anchor", None) is not None:
            reason = "aliases (*), anchors (&) and tags (!) are not used here; write the value out"
            raise yaml.composer.ComposerError(None, None, reason, event.start_mark)
        return super().compose_node(parent, index)


class _RecipeDumper(yaml.SafeDumper):
    """Quotes whatever either YAML 1.1 or `_RecipeLoader` would not read as text."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class's signature
        return True


# SafeLoader's own list is left out: with it `no`, `1:30` and dates would not stay text.
for _tag, _pattern, _first in _PATTERNS:
    _RecipeLoader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)
    _RecipeDumper.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def _compose(text: bytes | str) -> Node | None:
    try:
        loader = _RecipeLoader(text)
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise NotYamlError(error.problem or "it cannot be parsed", line) from error
    except yaml.YAMLError as error:
        raise NotYamlError("it is not printable UTF-8 text", None) from error


def _read_tree(root: Node) -> YamlTree:
    lines: dict[KeyPath, int] = {}
    repeated: list[tuple[KeyPath, int, int]] = []

    def read(node: Node, path: KeyPath) -> Value:
        if isinstance(node, MappingNode):
            return read_mapping(node, path)
        if isinstance(node, SequenceNode):
            return [read(item, (*path, str(i))) for i, item in enumerate(node.value)]
        return _scalar(node)

    def read_mapping(node: MappingNode, path: KeyPath) -> Value:
        values: dict[str, Value] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                raise NotYamlError("a key must be a plain word", line)
            here = (*path, key_node.value)
            if here in lines:
                repeated.append((here, line, lines[here]))
                continue
            lines[here] = line
            values[key_node.value] = read(value_node, here)
        return values

    value = read(root, ())
    return YamlTree(value, lines, tuple(repeated))


def _scalar(node: Node) -> Value:
    text: str = node.value
    digits = text.replace("_", "").lower()
    if node.tag == _NULL:
        return None
    if node.tag == _BOOL:
        return digits == "true"
    if node.tag == _INT:
        return int(digits)
    if node.tag == _FLOAT:
        return float(digits.replace(".inf", "inf").replace(".nan", "nan"))
    return text
