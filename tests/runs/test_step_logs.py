"""The logs of one record a step: what is cut is kept elsewhere first."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.calls import recorded

from rlrun.runs import jsonl, step_logs
from rlrun.runs.layout import RunDir


def log(run: RunDir, steps: Iterable[int]) -> None:
    for path in (run.train_log, run.ratios):
        with path.open("ab") as file:
            file.writelines(jsonl.encode({"step": step}, checked=False) for step in steps)


def test_logs_are_cut_behind_the_step_and_the_tail_is_kept(run: RunDir) -> None:
    log(run, range(1, 6))
    whole = run.train_log.read_bytes()
    step_logs.cut(run, run.abandoned(3), 2, session=3)
    for name in ("train_log.jsonl", "ratios.jsonl"):
        kept, tail = run.logs / name, run.abandoned(3) / name
        assert [record["step"] for record in jsonl.read(kept)] == [1, 2]
        assert [record["step"] for record in jsonl.read(tail)] == [3, 4, 5]
        assert kept.read_bytes() + tail.read_bytes() == whole


def test_cutting_again_changes_nothing(run: RunDir) -> None:
    log(run, range(1, 6))
    step_logs.cut(run, run.abandoned(3), 2, session=3)
    before = {path: path.read_bytes() for path in run.logs.rglob("*.jsonl")}
    with recorded() as calls:
        step_logs.cut(run, run.abandoned(3), 2, session=3)
        step_logs.cut(run, run.abandoned(4), 2, session=4)
    assert calls == []
    assert {path: path.read_bytes() for path in run.logs.rglob("*.jsonl")} == before


def test_the_tail_is_durable_before_the_log_is_cut(run: RunDir) -> None:
    log(run, [1, 2])
    with recorded() as calls:
        step_logs.cut(run, run.abandoned(3), 1, session=3)
    cuts = ["rename train_log.jsonl", "fsync session_3", "truncate train_log.jsonl",
            "rename ratios.jsonl", "truncate ratios.jsonl"]  # fmt: skip
    places = [calls.index(call) for call in cuts]
    assert places == sorted(places)


def test_a_cut_that_was_interrupted_is_made_again_and_keeps_the_same_tail(run: RunDir) -> None:
    log(run, range(1, 6))
    whole = run.train_log.read_bytes()
    step_logs.cut(run, run.abandoned(3), 2, session=3)
    run.train_log.write_bytes(whole)  # as if killed between keeping the tail and cutting
    step_logs.cut(run, run.abandoned(4), 2, session=4)
    tails = [run.abandoned(session) / "train_log.jsonl" for session in (3, 4)]
    assert tails[0].read_bytes() == tails[1].read_bytes()
    assert [record["step"] for record in jsonl.read(run.train_log)] == [1, 2]


def test_a_torn_line_is_cut_too(run: RunDir) -> None:
    log(run, [1, 2])
    with run.train_log.open("ab") as file:
        file.write(b'{"step":3')
    step_logs.cut(run, run.abandoned(2), 2, session=2)
    assert [record["step"] for record in jsonl.read(run.train_log)] == [1, 2]
    assert (run.abandoned(2) / "train_log.jsonl").read_bytes() == b'{"step":3'
    assert not (run.abandoned(2) / "ratios.jsonl").exists()


def test_logs_that_end_at_the_step_are_left_alone(run: RunDir) -> None:
    step_logs.cut(run, run.abandoned(2), 0, session=2)
    log(run, [1, 2])
    with recorded() as calls:
        step_logs.cut(run, run.abandoned(2), 2, session=2)
    assert calls == []


def test_damage_behind_the_step_is_cut_with_the_rest(run: RunDir) -> None:
    log(run, [1, 2])
    with run.train_log.open("ab") as file:
        file.write(b"\0\0\0\n")
    log(run, [4])
    step_logs.cut(run, run.abandoned(2), 2, session=2)
    assert [record["step"] for record in jsonl.read(run.train_log)] == [1, 2]


# ---- mending


def lines_of(run: RunDir) -> list[bytes]:
    return run.train_log.read_bytes().splitlines(keepends=True)


def put_lines(run: RunDir, *lines: bytes) -> bytes:
    """Write the training log, and leave the other whole; return what was written."""
    run.train_log.write_bytes(b"".join(lines))
    return run.train_log.read_bytes()


def lost(step: int, place: str | None = "quarantine/train_log.jsonl.0") -> dict[str, object]:
    return {"step": step, "kept_in": place}


def test_a_record_that_does_not_read_is_replaced_by_one_that_says_so(run: RunDir) -> None:
    log(run, [1, 2, 3, 4])
    one, _, three, four = lines_of(run)
    before = put_lines(run, one, b"{'step\n", three, four)
    said = step_logs.cut(run, run.abandoned(2), 3, session=2)
    assert jsonl.read(run.train_log) == [{"step": 1}, lost(2), {"step": 3}]
    assert (run.quarantine / "train_log.jsonl.0").read_bytes() == before
    (reason,) = jsonl.read(run.quarantine_reasons)
    assert reason["reason"] == "the record of step 2 did not read"
    assert said == (
        "train_log.jsonl: the record of step 2 did not read, and is not made again; the file as it "
        "was is quarantine/train_log.jsonl.0",
    )
    assert [record["step"] for record in jsonl.read(run.ratios)] == [1, 2, 3]
    with recorded() as calls:
        assert step_logs.cut(run, run.abandoned(3), 3, session=3) == ()
    assert calls == []


def test_the_damaged_log_is_kept_durably_before_it_is_replaced(run: RunDir) -> None:
    log(run, [1, 2, 3])
    put_lines(run, b"\n", *lines_of(run)[1:])
    with recorded() as calls:
        step_logs.cut(run, run.abandoned(2), 3, session=2)
    order = ["fsync reasons.jsonl", "rename train_log.jsonl.0", "rename train_log.jsonl"]
    places = [calls.index(call) for call in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([1, 2, 9, 4, 5], [1, 2, 4, 5]),  # a 3 that became a 9
        ([1, 2, 3, 1, 5], [1, 2, 3, 5]),  # a 4 that became a 1
        ([1, 2, 2, 4, 5], [1, 2, 4, 5]),
        ([1, 2, 4, 4, 5], [1, 2, 4, 5]),
        ([1, 2, 3, 4, 9], [1, 2, 3, 4]),
        ([1, None, 3, 4, 5], [1, 3, 4, 5]),
        ([1, None, 4, 5], [1, 4, 5]),  # two lines that grew together
        ([1, 2, 3, 4, None], [1, 2, 3, 4]),
        ([None, 2, 3, 4, 5], [2, 3, 4, 5]),
        ([1, 2, 3], [1, 2, 3]),
        ([], []),
        ([1, 2, 2, 3, 4, 5], [1, 2, 3, 4, 5]),  # one that stands twice
    ],
)
def test_a_record_belongs_where_its_neighbours_say(
    steps: list[int | None], kept: list[int], run: RunDir
) -> None:
    log(run, range(1, 6))
    lines = [
        b'{"odd":1}\n' if step is None else jsonl.encode({"step": step}, checked=False)
        for step in steps
    ]
    put_lines(run, *lines)
    step_logs.cut(run, run.abandoned(2), 5, session=2)
    expected = [{"step": n} if n in kept else lost(n) for n in range(1, 6)]
    assert jsonl.read(run.train_log) == expected


def test_a_log_that_is_gone_is_all_lost(run: RunDir) -> None:
    log(run, [1, 2])
    run.train_log.unlink()
    (said,) = step_logs.cut(run, run.abandoned(2), 2, session=2)
    assert jsonl.read(run.train_log) == [lost(1, None), lost(2, None)]
    assert said.endswith("the record of steps 1 to 2 did not read, and is not made again; the file "
                         "was gone")  # fmt: skip


@given(
    damaged=st.integers(0, 7),
    bit=st.integers(0, 7),
    place=st.integers(0, 8),
    step=st.integers(1, 8),
)
def test_one_flipped_bit_costs_one_record_and_no_other(
    damaged: int, bit: int, place: int, step: int
) -> None:
    """Two where the newline between them is hit; none where it stands behind the step."""
    lines = [jsonl.encode({"step": n + 10, "x": n}, checked=False) for n in range(-9, -1)]
    lines = [line.replace(b'"x":-', b'"x":') for line in lines]
    at = min(place, len(lines[damaged]) - 1)
    flipped = bytearray(lines[damaged])
    flipped[at] ^= 1 << bit
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(b"".join([*lines[:damaged], bytes(flipped), *lines[damaged + 1 :]]))
        kept = step_logs.up_to(jsonl.read_raw(path, checked=False), step)
    spared = set(range(1, step + 1)) - {damaged + 1, damaged + 2}
    assert spared <= set(kept)
    assert all(kept[n] == lines[n - 1] for n in spared)
    assert damaged + 2 in kept or damaged + 2 > step or at == len(lines[damaged]) - 1


def test_the_time_of_steps_to_be_replayed_is_read_off_the_log(run: RunDir) -> None:
    with run.train_log.open("wb") as file:
        for step in range(1, 5):
            record = {"step": step, "clock": {"seconds": 2.0**step}}
            file.write(jsonl.encode(record, checked=False))
        file.write(b'{"step":5')
    assert step_logs.seconds_between(run, step=4, frontier=4) == 0.0
    assert step_logs.seconds_between(run, step=2, frontier=5) == 8.0 + 16.0
    assert step_logs.seconds_between(run, step=0, frontier=4) == 2.0 + 4.0 + 8.0 + 16.0
    run.train_log.unlink()
    assert step_logs.seconds_between(run, step=0, frontier=4) == 0.0
