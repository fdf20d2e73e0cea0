"""Crossings: found to a double's precision, and the right end where there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.evaluation.roots import crossing


@given(st.floats(-1, 1))
def test_a_crossing_is_found_to_the_last_bits(root: float) -> None:
    assert crossing(lambda x: root - x, -1.0, 1.0) == pytest.approx(root, abs=1e-15)


@pytest.mark.parametrize(("falling", "end"), [(lambda x: 1 - x, 0.5), (lambda x: -1 - x, 0.0)])
def test_without_a_crossing_the_end_next_to_it_is_returned(falling, end: float) -> None:
    assert crossing(falling, 0.0, 0.5) == pytest.approx(end, abs=1e-15)
