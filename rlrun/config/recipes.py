"""The recipes that ship with rlrun: one YAML file each, told apart by its name."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rlrun.config.problems import listed
from rlrun.errors import RunNotFoundError

_PACKAGE = Path(__file__).resolve().parent.parent
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A shipped recipe; `summary` is its first line: what, on what hardware, how long."""

    name: str
    path: Path
    summary: str


def recipes_folder(package: Path = _PACKAGE) -> Path:
    """Return where the recipes lie: inside the package, or beside it in a checkout."""
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "configs"


def list_recipes() -> tuple[Recipe, ...]:
    """Return the shipped recipes by name."""
    paths = sorted(recipes_folder().glob("*.yaml"))
    return tuple(Recipe(path.stem, path, _summary(path)) for path in paths)


def find_recipe(source: str) -> tuple[Path, str]:
    """Return the file that a name or path stands for, and how messages call it.

    A shipped name comes first; `./tiny` or `tiny.yaml` mean a file.

    Raises:
        RunNotFoundError: there is neither such a recipe nor such a file.
    """
    recipes = {recipe.name: recipe.path for recipe in list_recipes()}
    if source in recipes:
        path = recipes[source]
        return path, f"{path.parent.name}/{path.name}"
    path = Path(source)
    if path.is_file():
        return path, source
    raise RunNotFoundError(_not_found(source, list(recipes)))


def _not_found(source: str, names: list[str]) -> str:
    stem = Path(source).name
    for suffix in _SUFFIXES:
        stem = stem.removesuffix(suffix)
    close = get_close_matches(stem, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    known = f"the recipes are {listed(names)}" if names else "no recipes are installed"
    return f"there is no recipe or file '{source}': {known}{hint or ', or give a YAML file'}"


def _summary(path: Path) -> str:
    with path.open(encoding="utf-8") as lines:
        return lines.readline().removeprefix("#").strip()
