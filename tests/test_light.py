"""The control plane is light: its commands import nothing of the training plane."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "peft", "numpy", "boto3", "tensorboard", "safetensors", "vllm")
REPORT = """
import json, sys
from rlrun.cli.app import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize(
    "line", [["--help"], ["train", "--help"], ["list"], ["status", "a"], ["config", "check"]]
)
def test_no_command_of_the_control_plane_imports_anything_heavy(
    line: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "training_runs" / "a"
    (run / "training_state").mkdir(parents=True)
    result = subprocess.run(
        [sys.executable, "-c", REPORT, *line],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"RLRUN_ROOT": str(tmp_path)},
        timeout=60,
    )
    code, modules = json.loads(result.stdout.splitlines()[-1])
    assert code == 0
    assert not {name.split(".")[0] for name in modules} & set(HEAVY)
