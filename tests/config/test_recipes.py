"""Every shipped recipe is right, says what it is for, and is found by its name."""

from pathlib import Path

import pytest

from rlrun.config.load import load_config
from rlrun.config.recipes import find_recipe, list_recipes, recipes_folder
from rlrun.errors import RunNotFoundError

RECIPES = {recipe.name: recipe for recipe in list_recipes()}


def num_steps(name: str) -> float:
    """Return the optimizer steps that a recipe with `num_epochs` takes."""
    config = load_config(name, []).config
    assert config.task.num_questions is not None
    assert config.train.num_epochs is not None
    return config.task.num_questions * config.train.num_epochs / config.grpo.prompts_per_step


def test_these_recipes_ship() -> None:
    assert set(RECIPES) == {
        "gsm8k_1hour",
        "gsm8k_3hour",
        "gsm8k_fast",
        "gsm8k_full",
        "smollm2_gsm8k",
        "tiny",
    }


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_loads_without_overrides(name: str) -> None:
    assert load_config(name, []).source == name


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_opens_with_a_comment_that_names_its_hardware(name: str) -> None:
    first_line = RECIPES[name].path.read_text(encoding="ascii").splitlines()[0]
    assert first_line == f"# {RECIPES[name].summary}"
    assert "CPU" in first_line or "GPU" in first_line


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_fills_its_decoding_batches(name: str) -> None:
    config = load_config(name, []).config
    num_completions = config.grpo.group_size * config.grpo.prompts_per_step
    assert num_completions % config.sampling.batch_rows == 0


@pytest.mark.parametrize(
    ("name", "steps"), [("gsm8k_fast", 25), ("gsm8k_1hour", 125), ("gsm8k_3hour", 375)]
)
def test_a_gsm8k_recipe_takes_the_steps_that_its_comment_says(name: str, steps: int) -> None:
    assert num_steps(name) == steps
    assert f" {steps} steps" in RECIPES[name].summary


def test_the_full_gsm8k_recipe_saves_by_steps_by_time_and_by_epoch() -> None:
    saving = load_config("gsm8k_full", []).config.saving
    assert (saving.every_steps, saving.every_seconds, saving.every_epochs) == (50, 1800, 1)


def test_recipes_inside_the_package_come_before_those_of_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "rlrun"
    package.mkdir()
    assert recipes_folder(package) == tmp_path / "configs"
    (package / "recipes").mkdir()
    assert recipes_folder(package) == package / "recipes"


def test_a_name_means_the_recipe_even_beside_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").touch()
    monkeypatch.chdir(tmp_path)
    assert find_recipe("tiny") == (RECIPES["tiny"].path, "configs/tiny.yaml")
    assert find_recipe("./tiny") == (Path("tiny"), "./tiny")


def test_a_folder_is_not_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="or give a YAML file"):
        find_recipe(str(tmp_path))
