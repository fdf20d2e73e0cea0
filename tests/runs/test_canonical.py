"""One text for one value, and every float back to the bit."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import bits

from rlrun.runs import canonical

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=20)
OBJECTS = st.dictionaries(st.text(), VALUES)
EXTREMES = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1e22]


def test_the_text_has_sorted_keys_no_spaces_and_plain_letters() -> None:
    assert canonical.dumps({"b": [1, 2.5], "a": {"y": None, "x": "é"}}) == (
        '{"a":{"x":"é","y":null},"b":[1,2.5]}'
    )


@pytest.mark.parametrize("value", EXTREMES)
def test_an_extreme_float_comes_back_with_its_bits(value: float) -> None:
    found = json.loads(canonical.dumps({"x": value}))["x"]
    assert bits.of_double(found) == bits.of_double(value)


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_every_finite_double_comes_back_with_its_bits(pattern: int) -> None:
    (value,) = struct.unpack("<d", struct.pack("<Q", pattern))
    if value - value != 0:  # an infinity or not a number
        with pytest.raises(ValueError):
            canonical.dumps({"x": value})
        return
    found = json.loads(canonical.dumps({"x": value}))["x"]
    assert bits.of_double(found) == struct.pack("<Q", pattern)


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_every_finite_single_comes_back_with_its_bits(pattern: int) -> None:
    (value,) = struct.unpack("<f", struct.pack("<I", pattern))
    if value - value != 0:
        return
    found = json.loads(canonical.dumps({"x": value}))["x"]
    assert bits.of_singles([found]) == struct.pack("<I", pattern)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True))
def test_singles_near_zero_and_near_the_largest_come_back_too(value: float) -> None:
    found = json.loads(canonical.dumps({"x": value}))["x"]
    assert bits.of_singles([found]) == bits.of_singles([value])


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True))
def test_doubles_near_zero_and_near_the_largest_come_back_too(value: float) -> None:
    found = json.loads(canonical.dumps({"x": value}))["x"]
    assert bits.of_double(found) == bits.of_double(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("write", [canonical.dumps, canonical.pretty, canonical.sha256_of])
def test_what_json_cannot_say_is_refused(value: float, write: object) -> None:
    assert callable(write)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write({"a": [{"b": value}]})


@given(OBJECTS)
def test_what_is_written_reads_back_equal(value: dict[str, object]) -> None:
    assert json.loads(canonical.dumps(value)) == value
    assert json.loads(canonical.pretty(value)) == value


@given(OBJECTS)
def test_the_order_of_keys_changes_neither_text_nor_hash(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical.dumps(turned) == canonical.dumps(value)
    assert canonical.sha256_of(turned) == canonical.sha256_of(value)


def test_the_hash_is_that_of_the_text() -> None:
    known = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of "{}"
    assert canonical.sha256_of({}) == known


def test_a_file_for_people_ends_in_a_newline() -> None:
    assert canonical.pretty({"b": 1, "a": 2}) == '{\n  "a": 2,\n  "b": 1\n}\n'
