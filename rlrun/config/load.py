"""From a recipe and overrides to a frozen configuration, every value with where it came from.

Precedence: default < recipe < `--set`.  All problems are reported at once.  Nothing here looks at
the machine beyond reading the recipe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from rlrun.config.keys import KeyPath, Value, dotted, leaves
from rlrun.config.problems import Origin, Problem, joined
from rlrun.config.recipes import find_recipe
from rlrun.config.schema import RunConfig
from rlrun.config.settings import Layer, Setting, file_layer, merge, override_layer, tree_layer
from rlrun.config.validation import problems_of, validate
from rlrun.config.yaml_source import NotYamlError, YamlTree, dump_yaml, read_document
from rlrun.errors import ConfigError

DEFAULT_RECIPE = "tiny"
DEFAULT_ORIGIN = "default"


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A resolved configuration.

    `origins` maps every dotted leaf key to `default`, a file's line such as `configs/tiny.yaml:12`,
    or `--set`; `source` is the recipe's name or path.
    """

    config: RunConfig
    origins: Mapping[str, str]
    source: str


def load_config(source: str | None, overrides: Sequence[str]) -> LoadedConfig:
    """Return the configuration of a recipe (a name, a path, or None for `tiny`) and overrides.

    Raises:
        RunNotFoundError: there is no such recipe or file.
        ConfigError: with every problem that the recipe and the overrides have.
    """
    name = DEFAULT_RECIPE if source is None else source
    tree, label = _read_recipe(name)
    layers = [file_layer(tree, label), override_layer(overrides)]
    config, settings = _resolve(layers, Origin(label))
    return LoadedConfig(config, _origins(config, settings), name)


def apply_overrides(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Return the configuration of a run with overrides on top.

    Raises:
        ConfigError: with every problem that the overrides bring.
    """
    label = "the run's configuration"
    layers = [tree_layer(config_to_dict(config), label), override_layer(overrides)]
    return _resolve(layers, Origin(label))[0]


def config_from_dict(tree: Value, where: str) -> RunConfig:
    """Return the configuration that a run directory holds; `where` names the file in messages.

    Raises:
        ConfigError: with every problem of the tree.
    """
    return _resolve([tree_layer(tree, where)], Origin(where))[0]


def config_to_dict(config: RunConfig) -> dict[str, Value]:
    """Return the whole tree, defaults included, as JSON can hold it."""
    tree: dict[str, Value] = config.model_dump(mode="json")
    return tree


def dump_config(config: RunConfig) -> str:
    """Return canonical YAML with every value; as a recipe it gives an equal configuration."""
    return dump_yaml(config_to_dict(config))


def _read_recipe(name: str) -> tuple[YamlTree, str]:
    path, label = find_recipe(name)
    try:
        return read_document(path.read_bytes()), label
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise ConfigError(f"{label} cannot be read: {error.strerror}") from error
    except NotYamlError as error:
        where = Origin(label, error.line)
        raise ConfigError(f"{where}: this is not a recipe in YAML: {error.reason}") from error


def _resolve(
    layers: Sequence[Layer], source: Origin
) -> tuple[RunConfig, Mapping[KeyPath, Setting]]:
    settings = merge(setting for layer in layers for setting in layer.settings)
    problems: list[Problem] = [problem for layer in layers for problem in layer.problems]
    try:
        config = validate(settings)
    except ValidationError as error:
        problems += problems_of(error, settings, source, problems)
        raise ConfigError(joined(problems)) from error
    if problems:
        raise ConfigError(joined(problems))
    return config, settings


def _origins(config: RunConfig, settings: Mapping[KeyPath, Setting]) -> dict[str, str]:
    written = {dotted(path): str(setting.origin) for path, setting in settings.items()}
    return {key: written.get(key, DEFAULT_ORIGIN) for key in leaves(config_to_dict(config))}
