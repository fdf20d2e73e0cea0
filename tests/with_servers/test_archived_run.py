"""A run that was archived in a real store, lost and restored ends in the same bytes."""

from pathlib import Path
from typing import Any

import pytest
from support import oracle, round_trips
from support.s3_places import Place


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> dict[str, Any]:
    return round_trips.never_archived(tmp_path_factory.mktemp("straight"), micro_model)


def test_a_lost_run_that_is_restored_ends_in_the_same_bytes(
    place: Place, expected: dict[str, Any], tmp_path: Path, micro_model: Path
) -> None:
    environment = place.server.environment
    found = round_trips.lose_and_restore(tmp_path, micro_model, place.url, environment, "latest")
    assert oracle.differences(expected, found) == []
