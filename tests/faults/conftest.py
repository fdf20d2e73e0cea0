"""Where the fault tests put what comes and goes by the thousand."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import jobs


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of directories come and go in it."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def micro_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro model with one layer: what befalls files does not ask how deep a model is."""
    return jobs.make_model(tmp_path_factory.mktemp("models") / "micro", num_layers=1)
