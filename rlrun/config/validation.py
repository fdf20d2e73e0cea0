"""From a tree of values to a `RunConfig`, or to every reason why there is none."""

import json
from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rlrun.config.keys import KeyPath, Value, dotted, is_related, known_keys, known_prefix
from rlrun.config.problems import OVERRIDE, Origin, Problem, assignment
from rlrun.config.schema import RunConfig
from rlrun.config.settings import Setting, nest

_EXPECTED: Mapping[str, str] = {  # pydantic's error type -> what would be accepted
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text (put it in quotes)",
    "tuple_type": "a list, such as [a, b]",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}
_RULE = "value_error"  # raised by the schema's own validators, which look at several keys


def validate(settings: Mapping[KeyPath, Setting]) -> RunConfig:
    """Return the configuration; keys that are not set take their defaults.

    Raises:
        ValidationError: `problems_of` says it in the user's words.
    """
    tree: dict[str, Value] = {"train": {}} | nest(settings)
    return RunConfig.model_validate_json(json.dumps(tree), strict=True)


def problems_of(
    error: ValidationError,
    settings: Mapping[KeyPath, Setting],
    source: Origin,
    known: Sequence[Problem],
) -> list[Problem]:
    """Return a problem for each of pydantic's, less what may only follow from the `known` ones."""
    found = []
    for detail in error.errors(include_url=False):
        section = known_prefix(detail["loc"])
        if detail["type"] != _RULE:
            found.append(_wrong_value(detail, settings, source))
        elif not any(is_related(problem.path, section) for problem in known):
            found.append(_broken_rule(detail, settings, source))
    return found


def _wrong_value(
    detail: ErrorDetails, settings: Mapping[KeyPath, Setting], source: Origin
) -> Problem:
    path = known_prefix(detail["loc"])
    item = [part + 1 for part in detail["loc"][len(path) :] if isinstance(part, int)]
    which = f"item {item[0]} " if item else ""
    sentence = which + _expectation(detail, path)
    if path not in settings:
        return Problem(source, path, f"{dotted(path)}: {sentence}")
    setting = settings[path]
    return Problem(setting.origin, path, f"{assignment(path, setting.value)}: {sentence}")


def _expectation(detail: ErrorDetails, path: KeyPath) -> str:
    if detail["type"] == "missing":
        return "must be set"
    template = _EXPECTED.get(detail["type"])
    if template is None:
        return detail["msg"]
    is_nullable = known_keys()[path].is_nullable
    return f"must be {template.format(**_bounds(detail))}{' or null' if is_nullable else ''}"


def _bounds(detail: ErrorDetails) -> dict[str, object]:
    """Return the message's numbers, whole ones without a point."""
    context = detail.get("ctx", {})
    return {
        name: int(bound) if isinstance(bound, float) and bound.is_integer() else bound
        for name, bound in context.items()
    }


def _broken_rule(
    detail: ErrorDetails, settings: Mapping[KeyPath, Setting], source: Origin
) -> Problem:
    """Return the rule's own sentence, put beside the last written of the keys that it names."""
    section = known_prefix(detail["loc"])
    rule = str(detail["ctx"]["error"])
    named = [setting for path, setting in settings.items() if dotted(path) in rule]
    inside = [setting for path, setting in settings.items() if path[: len(section)] == section]
    if not (named or inside):
        return Problem(source, section, rule)
    last = (named or inside)[-1]
    sentence = f"{assignment(last.path, last.value)}: {rule}{_way_out(last, named)}"
    return Problem(last.origin, section, sentence)


def _way_out(last: Setting, named: Sequence[Setting]) -> str:
    """Return what to add on the command line when an override and a file exclude each other."""
    others = [
        setting
        for setting in named
        if setting.origin != OVERRIDE
        and setting.value is not None
        and known_keys()[setting.path].is_nullable
    ]
    if last.origin != OVERRIDE or last.value is None or not others:
        return ""
    other = others[0]
    where = f"{assignment(other.path, other.value)} is set in {other.origin}"
    return f"; {where}: also give --set {dotted(other.path)}=null"
