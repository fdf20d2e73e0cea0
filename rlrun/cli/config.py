"""`rlrun config`: what a recipe and its overrides resolve to, before anything is run."""

import shlex
from collections.abc import Sequence
from typing import Annotated

import typer

from rlrun.cli import show
from rlrun.config.keys import leaves
from rlrun.config.load import DEFAULT_ORIGIN, LoadedConfig, config_to_dict, load_config
from rlrun.config.recipes import Recipe, list_recipes
from rlrun.config.yaml_source import render

app = typer.Typer(help="Look at recipes and at what they resolve to.", no_args_is_help=True)

SourceOption = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="NAME_OR_PATH", help="A recipe; 'tiny' if not given."),
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value; can be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("show")
def show_command(
    source: SourceOption = None,
    overrides: OverridesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every resolved value and where it comes from."""
    loaded = load_config(source, overrides or [])
    if as_json:
        show.json_result(as_report(loaded))
        return
    for line in resolved_lines(loaded):
        show.out(line)
    show.hints([train_command(loaded.source, overrides or [])])


@app.command("check")
def check_command(source: SourceOption = None, overrides: OverridesOption = None) -> None:
    """Say whether a recipe with its overrides is right, or everything that is wrong."""
    loaded = load_config(source, overrides or [])
    num_written = sum(origin != DEFAULT_ORIGIN for origin in loaded.origins.values())
    command = train_command(loaded.source, overrides or [])
    counts = f"{num_written} of {len(loaded.origins)} values are set, the others are defaults"
    show.out(f"ok: {loaded.source}: {counts}; next: {command}")


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List the recipes that ship with rlrun."""
    recipes = list_recipes()
    if as_json:
        show.json_result({recipe.name: recipe.summary for recipe in recipes})
        return
    for line in recipe_lines(recipes):
        show.out(line)
    show.hints(["rlrun config show --config NAME"])


def resolved_lines(loaded: LoadedConfig) -> list[str]:
    """Return aligned lines of key, value and origin, in the schema's order."""
    values = {key: render(value) for key, value in leaves(config_to_dict(loaded.config)).items()}
    return aligned([(key, text, loaded.origins[key]) for key, text in values.items()])


def as_report(loaded: LoadedConfig) -> dict[str, object]:
    """Return what `--json` prints: the source, and each key's value and origin."""
    values = leaves(config_to_dict(loaded.config))
    return {
        "source": loaded.source,
        "values": {
            key: {"value": value, "origin": loaded.origins[key]} for key, value in values.items()
        },
    }


def recipe_lines(recipes: Sequence[Recipe]) -> list[str]:
    """Return aligned lines of name and summary."""
    return aligned([(recipe.name, recipe.summary) for recipe in recipes])


def train_command(source: str, overrides: Sequence[str]) -> str:
    """Return the command that trains with this configuration, quoted for a shell."""
    settings = [word for override in overrides for word in ("--set", override)]
    return shlex.join(["rlrun", "train", "--config", source, *settings])


def aligned(rows: Sequence[tuple[str, ...]], widest: int = 40) -> list[str]:
    """Return a line for each row, columns two spaces apart; cells over `widest` push theirs."""
    widths = [
        max((len(cell) for cell in column if len(cell) <= widest), default=0)
        for column in zip(*rows, strict=True)
    ]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
