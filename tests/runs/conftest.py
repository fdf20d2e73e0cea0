"""A run directory that no model has seen."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rlrun.runs import store
from rlrun.runs.layout import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    now = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
    return store.create_run(tmp_path, name="sums", config_text="seed: 0\n", num_threads=1, now=now)
