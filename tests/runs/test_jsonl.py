"""One record a line: a torn end is no error, a damaged middle is, and no byte goes unnoticed."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.calls import recorded

from rlrun.errors import DamagedError
from rlrun.runs import jsonl

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3), max_leaves=4)
KEYS = st.text(max_size=3).filter(lambda key: key != "crc")
RECORDS = st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=4)

# What JSON can hold and a flipped bit can turn into what it cannot: the largest double becomes an
# infinity, U+D7FF a surrogate.
TOUCHY = {"step": 2, "x": 1.7976931348623157e308, "text": "\ud7ff 1e9 \\ \u001f", "ok": True}
KINDS = pytest.mark.parametrize("checked", [True, False])


def encoded(records: list[dict[str, Any]], *, checked: bool) -> list[bytes]:
    return [jsonl.encode(record, checked=checked) for record in records]


@KINDS
@given(records=RECORDS)
def test_records_come_back_equal(checked: bool, records: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(b"".join(encoded(records, checked=checked)))
        assert jsonl.read(path, checked=checked) == records


@KINDS
@settings(max_examples=40)
@given(records=RECORDS)
def test_every_beginning_of_a_file_reads_as_a_beginning_of_its_records(
    checked: bool, records: list[dict[str, Any]]
) -> None:
    lines = encoded(records, checked=checked)
    whole = b"".join(lines)
    ends = [sum(map(len, lines[:count])) for count in range(len(lines) + 1)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        for size in range(len(whole) + 1):
            path.write_bytes(whole[:size])
            count = sum(end <= size for end in ends) - 1
            assert jsonl.read(path, checked=checked) == records[:count]
            assert jsonl.whole_size(path, checked=checked) == ends[count]
            last = json.loads(lines[count - 1]) if count else None
            assert jsonl.read_last(path) == last


@KINDS
def test_a_line_knows_where_it_stands(checked: bool, tmp_path: Path) -> None:
    lines = encoded([{"a": 1}, {"b": "longer"}], checked=checked)
    (tmp_path / "log").write_bytes(b"".join(lines))
    first, second = jsonl.read_lines(tmp_path / "log", checked=checked)
    assert (first.start, first.end) == (0, len(lines[0]))
    assert (second.start, second.end) == (len(lines[0]), len(lines[0]) + len(lines[1]))


def test_a_checked_line_is_canonical_and_ends_in_the_sum_over_the_rest() -> None:
    assert jsonl.encode({"b": 2, "a": 1}, checked=False) == b'{"a":1,"b":2}\n'
    line = jsonl.encode({"b": 2, "z": 1}, checked=True)
    assert line == b'{"b":2,"crc":2744197345,"z":1}\n'


@KINDS
@pytest.mark.parametrize("text", [b"", b"[]\n", b"7\n", b"not json\n", b"\xff\xfe\n", b'{"a":1}'])
def test_a_file_without_a_whole_record_has_none(text: bytes, checked: bool, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(text)
    assert jsonl.read(tmp_path / "log", checked=checked) == []
    assert jsonl.whole_size(tmp_path / "log", checked=checked) == 0
    assert jsonl.read_last(tmp_path / "log") is None


def test_an_absent_file_has_no_records(tmp_path: Path) -> None:
    assert jsonl.read(tmp_path / "absent") == []
    assert jsonl.whole_size(tmp_path / "absent", checked=True) == 0
    assert jsonl.read_last(tmp_path / "absent") is None


def test_a_flipped_bit_in_a_middle_line_is_damage_and_the_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    records = [{"step": 1}, TOUCHY, {"step": 3}]
    lines = encoded(records, checked=True)
    harmless = {(b"e", b"E"), (b"f", b"F")}  # 1e+308 is 1E+308, \u001f is \u001F
    for place in range(len(lines[0]), len(lines[0]) + len(lines[1]) - 1):
        for bit in range(8):
            path.write_bytes(flipped(b"".join(lines), place, bit))
            same = b"".join(lines)[place:][:1], path.read_bytes()[place:][:1]
            found = outcome_of(path)
            damaged = f"line 2 of {path} is damaged"
            assert found == damaged or (found == records and same in harmless), (place, bit)


def outcome_of(path: Path) -> Any:
    """Return the records, or the beginning of the refusal."""
    try:
        return jsonl.read(path, checked=True)
    except DamagedError as error:
        return str(error).partition(" and ")[0]


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def test_two_lines_grown_together_are_damage_if_others_follow(tmp_path: Path) -> None:
    one, two, three = encoded([{"step": 1}, {"step": 2}, {"step": 3}], checked=True)
    (tmp_path / "log").write_bytes(one[:-1] + b"\x0b" + two + three)
    with pytest.raises(DamagedError, match="line 1 of"):
        jsonl.read(tmp_path / "log", checked=True)


def test_the_last_line_is_torn_if_a_bit_of_it_flipped(tmp_path: Path) -> None:
    one, two = encoded([{"step": 1}, {"step": 2}], checked=True)
    (tmp_path / "log").write_bytes(one + flipped(two, 3, 0))
    assert jsonl.read(tmp_path / "log", checked=True) == [{"step": 1}]
    assert jsonl.whole_size(tmp_path / "log", checked=True) == len(one)


def test_an_unchecked_line_in_the_middle_that_does_not_parse_is_damage(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b'{"step":1}\n{"step":\n{"step":3}\n')
    with pytest.raises(DamagedError, match=r"line 2 of .*; restore the file from a copy"):
        jsonl.read(tmp_path / "log")


@pytest.mark.parametrize("tail_bytes", [1, 16, 65536])
def test_the_last_record_is_found_behind_a_huge_line_and_a_torn_one(
    tail_bytes: int, tmp_path: Path
) -> None:
    huge = {"text": "{" * 300_000, "step": 2}
    path = tmp_path / "log"
    path.write_bytes(b'{"step":1}\n' + jsonl.encode(huge, checked=False) + b'{"torn":' * 20_000)
    assert jsonl.read_last(path, tail_bytes=tail_bytes) == huge


@given(records=RECORDS, tail_bytes=st.integers(min_value=1, max_value=40))
def test_the_last_record_does_not_depend_on_how_much_is_read(
    records: list[dict[str, Any]], tail_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(b"".join(encoded(records, checked=False)) + b'{"a":')
        assert jsonl.read_last(path, tail_bytes=tail_bytes) == (records[-1] if records else None)


def test_an_appended_record_is_durable_and_follows_whole_ones_only(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"step":1}\n{"st')
    with recorded() as calls:
        jsonl.append(path, {"step": 2})
    assert path.read_bytes() == b'{"step":1}\n{"step":2}\n'
    assert calls[-3:] == ["write log", "fsync log", "close log"]
    assert "truncate log" in calls


def test_a_file_that_is_renamed_between_two_looks_has_no_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: True)
    assert jsonl.read(tmp_path / "absent") == []
    assert jsonl.read_last(tmp_path / "absent") is None
