"""A run directory that no model has seen."""

from pathlib import Path

import pytest
from support.runs import empty_run

from rlrun.runs.layout import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return empty_run(tmp_path)
