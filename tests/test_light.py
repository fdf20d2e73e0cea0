"""The control plane is light: its commands import nothing of the training plane."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.run_maker import CONFIG, RunMaker

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "numpy",
    "boto3",
    "tensorboard",
    "safetensors",
    "vllm",
    "sympy",
    "math_verify",
)
REPORT = """
import json, sys
from rlrun.cli.app import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize(
    "line",
    [
        ["--help"],
        ["train", "--help"],
        ["list"],
        ["status", "a"],
        ["config", "check"],
        ["prune", "b", "--keep-latest", "1"],
        ["pin", "b", "1", "--copy"],
        ["pin", "b", "2", "--unpin"],
        ["verify", "c"],
        ["doctor", "--json"],
    ],
)
def test_no_command_of_the_control_plane_imports_anything_heavy(
    line: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "training_runs" / "a"
    (run / "training_state").mkdir(parents=True)
    saved, _ = RunMaker(tmp_path, "b", CONFIG), RunMaker(tmp_path, "c", CONFIG)
    saved.saves(1)
    saved.saves(2)
    result = subprocess.run(
        [sys.executable, "-c", REPORT, *line],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"RLRUN_ROOT": str(tmp_path)},
        timeout=60,
    )
    code, modules = json.loads(result.stdout.splitlines()[-1])
    assert code == 0 or line[0] == "doctor"  # which tells what is not installed
    assert not {name.split(".")[0] for name in modules} & set(HEAVY)


def test_who_grades_a_formula_imports_nothing_that_compares_formulas() -> None:
    script = (
        "import sys; from rlrun.tasks.answers import grade_answer; "
        "print(grade_answer(r'\\boxed{x + x}', '2x', is_truncated=False).verdict, *sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    verdict, *modules = result.stdout.split()
    assert verdict == "correct"
    assert not {name.split(".")[0] for name in modules} & set(HEAVY)
