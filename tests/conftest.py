"""Fixtures that several rooms share."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("rlrun", deadline=None)  # a busy machine is no defect
settings.load_profile("rlrun")


@pytest.fixture(scope="session")
def micro_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random character model on disk; another process made it, so that this one computes nothing."""
    folder = tmp_path_factory.mktemp("models") / "micro"
    subprocess.run(
        [sys.executable, "-m", "support.micro_model", str(folder)],
        check=True,
        cwd=Path(__file__).parent,
        capture_output=True,
    )
    return folder
