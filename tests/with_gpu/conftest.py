"""Fixtures of this room: a GPU that torch sees; RLRUN_TEST_DEVICE=cpu tries the tests without one.

Sessions are forks of a server that computes nothing, as elsewhere: a process that has started CUDA
cannot be forked.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session", autouse=True)
def device() -> str:
    """The device to work on: an NVIDIA GPU."""
    wanted = os.environ.get("RLRUN_TEST_DEVICE", "cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no NVIDIA GPU here")
    return wanted


@pytest.fixture(scope="session")
def device_name(device: str) -> str:
    """What the driver calls it."""
    return "cpu" if device == "cpu" else torch.cuda.get_device_name()


@pytest.fixture(scope="session")
def wide_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro model with the width of a small real one: a GPU has other kernels for it."""
    folder = tmp_path_factory.mktemp("models") / "wide"
    command = [sys.executable, "-m", "support.micro_model", str(folder), "512"]
    subprocess.run(command, check=True, cwd=HERE.parent, capture_output=True)
    return folder
