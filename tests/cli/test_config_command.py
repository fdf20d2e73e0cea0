"""`rlrun config`, on its own app: errors travel on to the caller, who shows them."""

import json
import shlex

import pytest
from typer.testing import CliRunner, Result

from rlrun.cli.config import aligned, app, train_command
from rlrun.errors import ConfigError


def invoke(line: str) -> Result:
    result = CliRunner().invoke(app, shlex.split(line))
    assert result.exit_code == 0
    return result


def test_show_prints_key_value_and_origin_of_every_leaf() -> None:
    rows = [
        line.split() for line in invoke("show --set grpo.learning_rate=1e-5").stdout.split("\n")
    ]
    assert ["grpo.learning_rate", "1.0e-05", "--set"] in rows
    assert ["grpo.clip_low", "0.2", "default"] in rows
    assert ["model.path", "builtin:tiny", "configs/tiny.yaml:3"] in rows


def test_show_names_the_next_command_beside_the_result() -> None:
    result = invoke("show --config gsm8k_fast --set 'model.path=a b'")
    assert result.stderr == "next: rlrun train --config gsm8k_fast --set 'model.path=a b'\n"


def test_show_as_json_is_one_object_with_value_and_origin() -> None:
    report = json.loads(invoke("show --set model.lora=null --json").stdout)
    assert report["source"] == "tiny"
    assert report["values"]["model.lora"] == {"value": None, "origin": "--set"}


def test_check_says_ok_in_one_line_with_the_next_command() -> None:
    assert invoke("check --config tiny --set seed=3").stdout == (
        "ok: tiny: 13 of 62 values are set, the others are defaults; "
        "next: rlrun train --config tiny --set seed=3\n"
    )


def test_check_lets_every_problem_travel_to_the_caller() -> None:
    with pytest.raises(ConfigError, match="has 2 problems"):
        CliRunner().invoke(app, ["check", "--set", "sed=1", "--set", "x=1"], catch_exceptions=False)


def test_list_prints_each_recipe_with_its_first_line() -> None:
    lines = invoke("list").stdout.splitlines()
    assert lines[-1].startswith("tiny           Two-digit sums")


def test_list_as_json_maps_names_to_first_lines() -> None:
    assert json.loads(invoke("list --json").stdout)["tiny"].startswith("Two-digit sums")


def test_columns_line_up_and_a_wide_cell_pushes_only_its_own_row() -> None:
    assert aligned([("a", "1", "x"), ("bbb", "2222", "y")], widest=3) == [
        "a    1  x",
        "bbb  2222  y",
    ]


def test_the_next_command_is_quoted_for_a_shell() -> None:
    assert train_command("my recipe.yaml", ["seed=1"]) == (
        "rlrun train --config 'my recipe.yaml' --set seed=1"
    )
