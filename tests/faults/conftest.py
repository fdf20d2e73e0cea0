"""Where the fault tests put what comes and goes by the thousand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import jobs
from support.memory import folder_in_memory


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder in which thousands of directories come and go."""
    with folder_in_memory() as folder:
        yield folder


@pytest.fixture(scope="session")
def micro_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro model with one layer: what befalls files does not ask how deep a model is."""
    return jobs.make_model(tmp_path_factory.mktemp("models") / "micro", num_layers=1)
