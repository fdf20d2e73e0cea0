"""What numeric libraries read when they start, by the maker of the processor."""

from pathlib import Path

import pytest

from rlrun.policy import backend

CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


@pytest.mark.parametrize(
    ("maker", "expected"),
    [
        ("GenuineIntel", {**CUBLAS, "MKL_CBWR": "AUTO,STRICT"}),
        ("AuthenticAMD", CUBLAS),
    ],
)
def test_the_kernels_are_pinned_where_that_costs_nothing(
    maker: str, expected: dict[str, str], tmp_path: Path
) -> None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(f"processor\t: 0\nvendor_id\t: {maker}\n")
    assert backend.environment(cpu) == expected


def test_a_machine_that_does_not_tell_its_maker_has_only_what_always_holds(tmp_path: Path) -> None:
    assert backend.environment(tmp_path / "absent") == CUBLAS
