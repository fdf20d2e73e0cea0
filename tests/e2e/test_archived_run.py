"""A run that was archived, lost and restored ends in the same bytes as one that never was."""

from pathlib import Path
from typing import Any

import pytest
from support import oracle, round_trips


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> dict[str, Any]:
    return round_trips.never_archived(tmp_path_factory.mktemp("straight"), micro_model)


@pytest.mark.parametrize("step", ["latest", "all", "4", "1"])
def test_a_lost_run_that_is_restored_ends_in_the_same_bytes(
    step: str, expected: dict[str, Any], tmp_path: Path, micro_model: Path
) -> None:
    place = str(tmp_path / "store")
    found = round_trips.lose_and_restore(tmp_path, micro_model, place, {}, step)
    assert oracle.differences(expected, found) == []
