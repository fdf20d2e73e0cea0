"""The logs of one record a step: what is cut is kept elsewhere first."""

from collections.abc import Iterable

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
    step_logs.cut(run, run.abandoned(session=3), step=2)
    for name in ("train_log.jsonl", "ratios.jsonl"):
        kept, tail = run.logs / name, run.abandoned(3) / name
        assert [record["step"] for record in jsonl.read(kept)] == [1, 2]
        assert [record["step"] for record in jsonl.read(tail)] == [3, 4, 5]
        assert kept.read_bytes() + tail.read_bytes() == whole


def test_cutting_again_changes_nothing(run: RunDir) -> None:
    log(run, range(1, 6))
    step_logs.cut(run, run.abandoned(session=3), step=2)
    before = {path: path.read_bytes() for path in run.logs.rglob("*.jsonl")}
    with recorded() as calls:
        step_logs.cut(run, run.abandoned(session=3), step=2)
        step_logs.cut(run, run.abandoned(session=4), step=2)
    assert calls == []
    assert {path: path.read_bytes() for path in run.logs.rglob("*.jsonl")} == before


def test_the_tail_is_durable_before_the_log_is_cut(run: RunDir) -> None:
    log(run, [1, 2])
    with recorded() as calls:
        step_logs.cut(run, run.abandoned(session=3), step=1)
    cuts = ["rename train_log.jsonl", "fsync session_3", "truncate train_log.jsonl",
            "rename ratios.jsonl", "truncate ratios.jsonl"]  # fmt: skip
    places = [calls.index(call) for call in cuts]
    assert places == sorted(places)


def test_a_cut_that_was_interrupted_is_made_again_and_keeps_the_same_tail(run: RunDir) -> None:
    log(run, range(1, 6))
    whole = run.train_log.read_bytes()
    step_logs.cut(run, run.abandoned(session=3), step=2)
    run.train_log.write_bytes(whole)  # as if killed between keeping the tail and cutting
    step_logs.cut(run, run.abandoned(session=4), step=2)
    tails = [run.abandoned(session) / "train_log.jsonl" for session in (3, 4)]
    assert tails[0].read_bytes() == tails[1].read_bytes()
    assert [record["step"] for record in jsonl.read(run.train_log)] == [1, 2]


def test_a_torn_line_is_cut_too(run: RunDir) -> None:
    log(run, [1, 2])
    with run.train_log.open("ab") as file:
        file.write(b'{"step":3')
    step_logs.cut(run, run.abandoned(session=2), step=2)
    assert [record["step"] for record in jsonl.read(run.train_log)] == [1, 2]
    assert (run.abandoned(2) / "train_log.jsonl").read_bytes() == b'{"step":3'
    assert not (run.abandoned(2) / "ratios.jsonl").exists()


def test_logs_that_end_at_the_step_or_are_not_there_are_left_alone(run: RunDir) -> None:
    step_logs.cut(run, run.abandoned(session=2), step=2)
    log(run, [1, 2])
    step_logs.cut(run, run.abandoned(session=2), step=2)
    step_logs.cut(run, run.abandoned(session=2), step=9)
    assert not run.abandoned(2).exists()


def test_damage_behind_the_step_is_cut_with_the_rest(run: RunDir) -> None:
    log(run, [1, 2])
    with run.train_log.open("ab") as file:
        file.write(b"\0\0\0\n")
    log(run, [4])
    step_logs.cut(run, run.abandoned(session=2), step=2)
    assert [record["step"] for record in jsonl.read(run.train_log)] == [1, 2]


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
