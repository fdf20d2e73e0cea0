"""A folder as a store keeps the contract of all stores."""

from pathlib import Path

import pytest
from support.storage_contract import *  # noqa: F403

from rlrun.archive.folder_storage import FolderStorage


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "archive")
