"""The life of a session, as its process lives it: how it ends, what it says, and what it leaves."""

import errno
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support import jobs, mishaps, oracle
from support.jobs import Job
from support.place import LAST_STEP, Place
from support.runs import make_run

from rlrun.config.load import apply_overrides, config_to_dict, load_config
from rlrun.errors import StorageError
from rlrun.runs import jsonl, ledger, lock, pins
from rlrun.runs.request import SessionRequest
from rlrun.sessions import state
from rlrun.trainer.worker import is_out_of_memory

ONE_BY_ONE = "sampling.batch_rows=4"  # groups finish one after the other


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> Any:
    """What a run ends in that nothing befell, by its settings."""
    known: dict[tuple[str, ...], dict[str, Any]] = {}

    def digest(*overrides: str) -> dict[str, Any]:
        if overrides not in known:
            root = tmp_path_factory.mktemp("straight")
            settings = [f"train.max_steps={LAST_STEP}", *overrides]
            run = make_run(root, "run", micro_model, settings)
            assert jobs.run(Job(run.path)) == 0
            known[overrides] = oracle.digest(run.path)
        return known[overrides]

    return digest


def assert_ends_like(place: Place, expected: dict[str, Any]) -> None:
    """Finish the run and compare it with one that nothing befell."""
    assert place.work() == 0, place.said
    assert oracle.differences(expected, oracle.digest(place.run.path)) == []
    assert len(place.groups()) == len({tuple(g.split(".")[:2]) for g in place.groups()})
    assert oracle.litter(place.run.path) == []


# ---- orderly ends


def test_a_session_to_the_runs_end_is_finished(place: Place) -> None:
    assert place.work() == 0
    assert place.saved_steps == [LAST_STEP]
    end = place.end
    assert (end.outcome, end.exit_code, end.message) == ("finished", 0, "")
    assert (end.step, end.num_steps, end.num_replayed) == (LAST_STEP, LAST_STEP, 0)
    tokens = [record["tokens"] for record in jsonl.read(place.run.train_log)]
    assert end.num_tokens == sum(tokens)
    assert (place.start.from_step, place.start.frontier) == (0, 0)
    assert (place.start.target_step, place.start.max_steps) == (LAST_STEP, LAST_STEP)
    assert place.start.promise == "bitwise"
    assert not place.run.lock.exists()


def test_a_session_of_so_many_steps_takes_them_and_saves(place: Place, straight: Any) -> None:
    assert place.work(steps=3) == 0
    assert (place.end.outcome, place.end.step, place.end.num_steps) == ("steps_done", 3, 3)
    assert place.saved_steps == [3]
    assert_ends_like(place, straight())
    assert (place.end.outcome, place.start.from_step, place.end.num_steps) == ("finished", 3, 1)


def test_steps_beyond_the_runs_end_are_not_taken(place: Place) -> None:
    assert place.work(steps=99) == 0
    assert (place.end.outcome, place.end.step) == ("finished", LAST_STEP)


def test_a_finished_run_has_nothing_to_do(place: Place) -> None:
    assert place.work() == 0
    before = oracle.digest(place.run.path)
    assert place.work() == 7
    assert (place.end.outcome, place.end.exit_code, place.end.num_steps) == ("finished", 7, 0)
    assert place.end.message == (
        "run 'sums' is at its last step, 4 of 4; to go further use "
        "'rlrun resume sums --set train.max_steps=N'"
    )
    assert place.last.start is None
    assert oracle.digest(place.run.path) == before


def test_an_end_that_was_asked_for_is_not_the_runs(place: Place) -> None:
    assert place.work(steps=3) == 0
    assert place.work(**place.changed("train.max_steps=2")) == 7
    assert (place.end.outcome, place.end.exit_code) == ("failed", 7)


def test_a_run_whose_last_session_was_killed_when_all_was_saved_is_finished(place: Place) -> None:
    assert place.work() == 0
    lines = place.run.sessions.read_bytes().splitlines(keepends=True)
    place.run.sessions.write_bytes(b"".join(lines[:-1]))
    assert state.look(place.run)[0] == "lost"
    assert place.work() == 7
    assert state.look(place.run)[0] == "finished"


@pytest.mark.parametrize("damage", ["flipped", "removed"])
def test_a_finished_run_whose_last_checkpoint_is_lost_makes_it_again(
    damage: str, make_place: Any, straight: Any
) -> None:
    place = make_place("saving.every_steps=2")
    assert place.work() == 0
    last = place.run.step(LAST_STEP)
    if damage == "flipped":
        data = bytearray((last / "optimizer.pt").read_bytes())
        data[-1] ^= 1
        (last / "optimizer.pt").write_bytes(data)
    else:
        shutil.rmtree(last)
    assert place.work() == 0
    assert (place.start.from_step, place.start.frontier) == (2, LAST_STEP)
    assert (place.end.outcome, place.end.num_steps, place.end.num_replayed) == ("finished", 0, 2)
    expected = straight("saving.every_steps=2")
    assert oracle.differences(expected, oracle.digest(place.run.path)) == []


def test_a_session_in_a_window_saves_there_and_the_next_goes_on_in_it(
    make_place: Any, straight: Any
) -> None:
    settings = ("grpo.updates_per_batch=2",)
    place = make_place(*settings)
    assert place.work(steps=3) == 0
    assert place.saved_steps == [3]
    assert_ends_like(place, straight(*settings))
    assert place.end.num_tokens == 0


# ---- told to stop


def test_out_of_time_the_session_saves_what_it_has_and_exits_with_75(
    place: Place, straight: Any
) -> None:
    assert place.work(max_seconds=15.5, mishap=mishaps.ticking_clock) == 75, place.said
    end = place.end
    assert (end.outcome, end.exit_code) == ("time_limit", 75)
    assert 0 < end.step < LAST_STEP
    assert place.saved_steps == [end.step]
    assert_ends_like(place, straight())


def test_no_time_at_all_leaves_the_run_as_it_was(place: Place, straight: Any) -> None:
    assert place.work(max_seconds=0.5, mishap=mishaps.ticking_clock) == 75
    assert (place.end.outcome, place.end.step, place.saved_steps) == ("time_limit", 0, [])
    assert_ends_like(place, straight())


def test_a_signal_while_sampling_ends_within_a_token_with_everything_saved(
    make_place: Any, straight: Any
) -> None:
    place = make_place(ONE_BY_ONE)
    second_group_of_step_3 = ("write rollouts.jsonl", 4 + 4 + 2)  # 3 groups and a batch a step
    assert place.work(signals=[second_group_of_step_3]) == 75, place.said
    end = place.end
    assert (end.outcome, end.exit_code, end.step) == ("stopped", 75, 2)
    assert place.saved_steps == [2]
    kept = [group for group in place.groups() if group.startswith("3.")]
    assert len(kept) == 2
    assert_ends_like(place, straight(ONE_BY_ONE))
    assert set(kept) < set(place.groups())
    assert len([group for group in place.groups() if group.startswith("3.")]) == 3


def test_a_signal_in_an_update_lets_it_finish_and_saves(place: Place, straight: Any) -> None:
    assert place.work(signals=[("write train_log.jsonl", 2)]) == 75
    assert (place.end.outcome, place.end.step) == ("stopped", 2)
    assert place.saved_steps == [2]
    assert_ends_like(place, straight())


def test_a_signal_before_the_session_is_ready_is_heeded(place: Place, straight: Any) -> None:
    assert place.work(signals=[("open lock.json", 1)]) == 75
    assert (place.end.outcome, place.end.step, place.saved_steps) == ("stopped", 0, [])
    assert_ends_like(place, straight())


@pytest.mark.parametrize(
    "second",
    [("open optimizer.pt", 1), ("rename step_2", 1), ("fsync training_state", 1)],
)
def test_a_second_signal_ends_at_once_and_loses_nothing_that_is_journaled(
    second: tuple[str, int], make_place: Any, straight: Any
) -> None:
    place = make_place(ONE_BY_ONE)
    assert place.work(signals=[("write rollouts.jsonl", 10), second]) == 130, place.said
    assert (place.end.outcome, place.end.exit_code, place.end.step) == ("stopped_now", 130, 2)
    assert place.end.message == ""
    groups = place.groups()
    assert sorted(set(groups)) == sorted(groups)
    assert [group.split(".")[0] for group in groups] == list("11122233")
    assert not place.run.lock.exists()
    assert_ends_like(place, straight(ONE_BY_ONE))
    assert set(groups) < set(place.groups())


IN_BACKGROUND = ("saving.background=true", "saving.every_steps=1")


def test_a_second_signal_while_a_save_is_written_does_not_wait_and_keeps_the_lock_meanwhile(
    make_place: Any, straight: Any
) -> None:
    place = make_place(*IN_BACKGROUND)
    first = ("write rollouts.jsonl", 5)
    hang = mishaps.signal_in_a_save_that_hangs
    assert place.work(signals=[first], mishap=hang) == 130, place.said
    assert (place.end.outcome, place.saved_steps) == ("stopped_now", [])
    assert place.run.lock.exists()  # the save that nobody waits for may have been at it until now
    assert lock.find_holder(place.run) is None
    assert_ends_like(place, straight())


def test_a_session_that_fails_gives_the_run_back_when_its_last_save_is_written(
    make_place: Any, straight: Any, tmp_path: Path
) -> None:
    place, trace = make_place(*IN_BACKGROUND), tmp_path / "trace"
    failure = partial(mishaps.fail, "rlrun.trainer.session", "take_step", 2, ValueError("oops"))
    mishap = partial(mishaps.several, partial(mishaps.slow_saves, 0.2), failure)
    assert place.work(mishap=mishap, trace=trace) == 1
    assert "ValueError while updating: oops" in place.end.message
    assert place.saved_steps == [1]
    calls = trace.read_text().splitlines()
    assert calls.index("rename step_latest") < calls.index("unlink lock.json")
    assert_ends_like(place, straight())


# ---- refused


def test_a_run_that_is_held_is_refused_and_left_alone(place: Place) -> None:
    held = lock.Lock(place.run, lambda: 1, heartbeat_seconds=None)
    before = {path: path.read_bytes() for path in place.run.path.rglob("*") if path.is_file()}
    assert place.work() == 5
    assert f"run 'sums' is being written by pid {held.owner.pid} on" in place.said
    after = {path: path.read_bytes() for path in place.run.path.rglob("*") if path.is_file()}
    assert after == before
    held.release()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("rlrun.trainer.preparation", "build_workbench"),
        ("rlrun.trainer.session", "take_step"),
        ("rlrun.trainer.batches", "group_advantages"),
        ("rlrun.trainer.session", "copy_state"),
    ],
)
def test_a_session_that_slept_while_another_machine_took_the_run_writes_nothing_more(
    module: str, name: str, make_place: Any
) -> None:
    place = make_place("saving.every_steps=1", "saving.background=false")
    mishap = partial(mishaps.taken_over, place.run.path, module, name, 1)
    trace = place.output.with_name("trace")
    assert place.work(mishap=mishap, trace=trace) == 5
    assert "was taken over by pid 4121 on gpu-2 while this session stood still" in place.said
    assert json.loads(place.run.lock.read_bytes())["host"] == "gpu-2"
    assert place.last.end is None
    assert place.saved_steps == []


def test_another_dataset_is_refused_unless_it_is_allowed(place: Place) -> None:
    assert place.work(steps=2) == 0
    other = partial(mishaps.another_task, mishaps.OtherQuestions)
    assert place.work(mishap=other) == 10
    assert place.end.exit_code == 10
    assert place.end.message.startswith("this run was made with something else (prompts: ")
    assert (place.last.start, place.saved_steps) == (None, [2])
    assert place.work(mishap=other, allow_inexact=True) == 0
    assert place.start.promise == "best effort"
    assert [text.split(":")[0] for text in place.start.differences] == ["prompts"]


def test_another_dataset_is_refused_before_the_first_save_too(place: Place) -> None:
    assert jobs.run(Job(place.run.path, kill_after_steps=1)) == -9
    assert place.work(mishap=partial(mishaps.another_task, mishaps.OtherQuestions)) == 10


def test_another_model_is_refused(tmp_path: Path, micro_model: Path, make_place: Any) -> None:
    model = Path(shutil.copytree(micro_model, tmp_path / "model"))
    place = make_place(f"model.path={model}")
    assert place.work(steps=2) == 0
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    assert place.work() == 10
    assert place.end.message.startswith("this run was made with something else (base_model: ")


def test_a_setting_that_enters_an_update_is_refused_and_nothing_is_written(place: Place) -> None:
    assert place.work(steps=2) == 0
    before = place.run.config.read_bytes()
    assert place.work(**place.changed("grpo.learning_rate=0.5")) == 10
    assert place.end.message == (
        "these settings enter an update: grpo.learning_rate: 0.01 -> 0.5; keep them, or give up "
        "the promise of exactness with --allow-inexact"
    )
    assert place.run.config.read_bytes() == before


def test_a_setting_that_enters_an_update_applies_when_that_is_allowed(place: Place) -> None:
    assert place.work(steps=2) == 0
    request = place.changed("grpo.learning_rate=0.5")
    assert place.work(**request, allow_inexact=True) == 0
    assert place.start.promise == "best effort"
    assert place.start.differences == ("grpo.learning_rate: 0.01 -> 0.5",)
    rates = [record["learning_rate"] for record in jsonl.read(place.run.train_log)]
    assert rates == [0.01, 0.01, 0.5, 0.5]


def test_another_model_setting_waits_until_journaled_steps_are_taken(place: Place) -> None:
    assert jobs.run(Job(place.run.path, kill_after_steps=1)) == -9
    request = place.changed("model.lora.alpha=8")
    assert place.work(**request, allow_inexact=True) == 10
    assert place.end.message == (
        "the journal holds steps 1 to 2 that were made with another model.lora.alpha; take them "
        "with 'rlrun resume sums --steps 1', then change it"
    )
    assert place.work(steps=1) == 0
    assert place.work(**request, allow_inexact=True) == 0


def test_a_model_that_stands_elsewhere_now_changes_nothing(
    place: Place, straight: Any, micro_model: Path, tmp_path: Path
) -> None:
    assert place.work(steps=2) == 0
    moved = Path(shutil.copytree(micro_model, tmp_path / "elsewhere" / micro_model.name))
    assert place.work(**place.changed(f"model.path={moved}")) == 0
    assert place.start.promise == "bitwise"
    differences = oracle.differences(straight(), oracle.digest(place.run.path))
    assert differences == ["journal"]  # its batches name the places in force


def test_a_run_that_nothing_was_made_of_may_be_changed_in_everything(place: Place) -> None:
    assert place.work(mishap=partial(mishaps.another_task, mishaps.NoQuestions)) == 3
    assert place.work(**place.changed("seed=7", "grpo.learning_rate=0.5")) == 0
    assert place.start.promise == "bitwise"
    assert {record["learning_rate"] for record in jsonl.read(place.run.train_log)} == {0.5}


def test_a_promise_is_as_good_as_that_of_the_sessions_it_builds_on(place: Place) -> None:
    other = partial(mishaps.another_task, mishaps.OtherQuestions)
    assert place.work(steps=1) == 0
    job = Job(place.run.path, SessionRequest(device="cpu", allow_inexact=True), mishap=other,
              kill_after_steps=1)  # fmt: skip
    assert jobs.run(job) == -9
    assert place.work(allow_inexact=True) == 0
    assert place.start.promise == "best effort"
    assert "session 2 journaled steps after 1 at best effort" in place.start.differences


def test_a_free_setting_is_recorded_and_applies(place: Place, straight: Any) -> None:
    assert place.work(steps=1) == 0
    request = place.changed("saving.every_steps=1")
    assert place.work(**request) == 0
    assert place.start.changes == ("changed saving.every_steps=1",)
    assert place.start.promise == "bitwise"
    assert place.saved_steps == [1, 2, 3, 4]
    assert load_config(str(place.run.config), []).config.saving.every_steps == 1
    assert oracle.differences(straight(), oracle.digest(place.run.path)) == []


def test_a_run_can_be_extended_under_a_constant_schedule(place: Place) -> None:
    assert place.work() == 0
    assert place.work(**place.changed("train.max_steps=6")) == 0
    assert (place.start.from_step, place.end.step, place.end.outcome) == (4, 6, "finished")


def test_a_damaged_ledger_is_mended_and_that_is_said(place: Place, straight: Any) -> None:
    place.run.sessions.write_bytes(b"{not json}\n{}\n")
    assert place.work() == 0, place.said
    (note,) = place.start.notes
    assert note.startswith("lines 1 to 2 of sessions.jsonl did not read: that is lost")
    assert place.start.session == 1
    assert oracle.differences(straight(), oracle.digest(place.run.path)) == []


def test_a_ledger_of_a_later_rlrun_is_refused_and_the_run_given_back(place: Place) -> None:
    line = b'{"event":"open","host":"gpu-2","mood":"good","opened":"","pid":1,"session":1}\n'
    place.run.sessions.write_bytes(line)
    assert place.work() == 6
    assert "update rlrun" in place.said
    assert (place.run.sessions.read_bytes(), place.run.lock.exists()) == (line, False)


def test_steps_whose_maker_the_ledger_has_lost_are_replayed_at_best_effort(
    place: Place, straight: Any
) -> None:
    assert place.work(steps=1) == 0
    place.run.step(1).rename(place.run.path.parent / "elsewhere")
    lines = place.run.sessions.read_bytes().splitlines(keepends=True)
    place.run.sessions.write_bytes(b"".join([lines[0], b"\n", *lines[2:]]))
    assert place.work() == 0, place.said
    assert place.start.promise == "best effort"
    assert place.start.differences == ("the ledger lost a record of who journaled after step 0",)
    assert oracle.differences(straight(), oracle.digest(place.run.path)) == []


# ---- what goes wrong


def test_a_loss_that_is_not_finite_ends_the_session_with_the_last_good_state_saved(
    place: Place, straight: Any
) -> None:
    assert place.work(mishap=partial(mishaps.loss_not_finite, at=3)) == 8
    end = place.end
    assert (end.outcome, end.exit_code, end.step, end.num_steps) == ("failed", 8, 2, 2)
    assert end.message.startswith("the loss of step 3 is not finite; the state before it is saved")
    assert place.saved_steps == [2]
    assert [record["step"] for record in jsonl.read(place.run.train_log)] == [1, 2]
    assert_ends_like(place, straight())


def test_the_state_in_front_of_a_loss_that_is_not_finite_is_that_of_a_session_that_ended_there(
    make_place: Any,
) -> None:
    failed, ended = make_place(name="failed"), make_place(name="ended")
    assert failed.work(mishap=partial(mishaps.loss_not_finite, at=3)) == 8
    assert ended.work(steps=2) == 0
    infos = []
    for place in (failed, ended):
        info = json.loads((place.run.step(2) / "training_info.json").read_text())
        for key in ("run_id", "manifest_hash"):
            info.pop(key)
        info["totals"].pop("seconds")
        infos.append(info)
    assert infos[0] == infos[1]


def test_a_loss_that_is_not_finite_inside_a_window_is_survived_too(
    make_place: Any, straight: Any
) -> None:
    settings = ("grpo.updates_per_batch=3",)
    place = make_place(*settings)
    assert place.work(mishap=partial(mishaps.loss_not_finite, at=2)) == 8
    assert place.saved_steps == [1]
    assert_ends_like(place, straight(*settings))


def test_a_loss_that_is_not_finite_in_the_first_step_leaves_the_run_at_its_beginning(
    place: Place, straight: Any
) -> None:
    assert place.work(mishap=partial(mishaps.loss_not_finite, at=1)) == 8
    assert "the state before it is saved" in place.end.message
    assert place.saved_steps == []
    assert_ends_like(place, straight())


def out_of_memory(module: str, name: str, at: int, error: BaseException | None = None) -> Any:
    error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return partial(mishaps.fail, module, name, at, error)


OUT_OF_MEMORY = {
    "loading": (
        out_of_memory("rlrun.trainer.workbench", "build_policy", 1),
        "model.dtype, sampling.batch_rows, or the model",
        (0, []),
    ),
    "sampling": (
        out_of_memory("rlrun.rollouts.torch_engine", "draw_tokens", 6),
        "sampling.batch_rows, sampling.max_completion_tokens or grpo.micro_batch_size",
        (0, []),
    ),
    "updating": (
        out_of_memory("rlrun.trainer.step", "grpo_loss", 2),
        "grpo.micro_batch_size (and --allow-inexact), or set model.gradient_checkpointing",
        (1, ["1.0.1", "1.1.1", "1.2.1", "2.0.1", "2.1.1", "2.2.1"]),
    ),
    "saving": (
        out_of_memory("rlrun.trainer.session", "copy_state", 1),
        "what else uses this machine's memory",
        (4, [f"{step}.{slot}.1" for step in (1, 2, 3, 4) for slot in (0, 1, 2)]),
    ),
}


@pytest.mark.parametrize("phase", OUT_OF_MEMORY)
def test_out_of_memory_names_the_phase_and_what_to_lower_and_what_is_journaled_is_used(
    phase: str, place: Place, straight: Any
) -> None:
    mishap, remedy, (step, journaled) = OUT_OF_MEMORY[phase]
    assert place.work(mishap=mishap) == 8, place.said
    end = place.end
    assert (end.outcome, end.exit_code, end.step) == ("failed", 8, step)
    assert end.message == (
        f"out of memory while {phase}; lower {remedy}; what is journaled is kept, "
        "'rlrun resume sums' uses it"
    )
    if phase != "sampling":  # how many groups are done by then depends on the draws
        assert sorted(place.groups()) == journaled
    before = set(place.groups())
    assert not place.run.lock.exists()
    assert_ends_like(place, straight())
    assert before <= set(place.groups())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("DefaultCPUAllocator"), False),
    ],
)
def test_only_memory_that_ran_out_is_out_of_memory(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_hosts_memory_counts_too(place: Place) -> None:
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 GB")
    mishap = out_of_memory("rlrun.trainer.step", "grpo_loss", 1, error)
    assert place.work(mishap=mishap) == 8
    assert place.end.message.startswith("out of memory while updating; lower grpo.micro_batch_size")


@pytest.mark.parametrize(
    ("name", "at", "step"),
    [("rollouts.jsonl", 6, 1), ("train_log.jsonl", 3, 3), ("optimizer.pt", 1, 4)],
)
def test_a_full_disk_ends_the_session_with_9_and_the_next_goes_on(
    name: str, at: int, step: int, place: Place, straight: Any
) -> None:
    assert place.work(mishap=partial(mishaps.disk_full, name, at)) == 9, place.said
    assert f"/{name}: No space left on device; free some space" in place.said
    assert place.last.end is None  # there was no room to say it
    assert not place.run.lock.exists()
    assert jsonl.read(place.run.train_log)[-1]["step"] >= step - 1
    assert_ends_like(place, straight())


def test_a_checkpoint_without_room_is_left_out_with_a_warning_and_training_goes_on(
    make_place: Any, straight: Any
) -> None:
    place = make_place("saving.every_steps=1")
    assert place.work(mishap=partial(mishaps.too_full_for_checkpoints, 2)) == 0, place.said
    assert place.saved_steps == [1, 3, 4]
    (warning,) = place.last.warnings
    assert warning.step == 2
    assert warning.message.endswith("training goes on, and the next checkpoint tries again")
    assert oracle.differences(straight(), oracle.digest(place.run.path)) == []


@pytest.mark.parametrize("saves", [(2, 3), (4,)])
def test_two_checkpoints_without_room_or_the_last_one_end_the_session_with_9(
    saves: tuple[int, ...], make_place: Any, straight: Any
) -> None:
    place = make_place("saving.every_steps=1")
    assert place.work(mishap=partial(mishaps.too_full_for_checkpoints, *saves)) == 9
    assert "MB free; free some space, then 'rlrun resume sums' goes on" in place.end.message
    assert place.saved_steps == list(range(1, saves[0]))
    assert place.work() == 0
    assert place.end.num_tokens == 0 or saves == (2, 3)
    assert oracle.differences(straight(), oracle.digest(place.run.path)) == []


def test_a_file_that_the_system_does_not_read_is_no_defect(place: Place, straight: Any) -> None:
    refusal = OSError(errno.EIO, "Input/output error", "/data/train.jsonl")
    mishap = partial(mishaps.fail, "rlrun.trainer.workbench", "encode_prompts", 1, refusal)
    assert place.work(mishap=mishap) == 9
    assert place.end.message == (
        "cannot read /data/train.jsonl while loading: Input/output error; check the disk and the "
        "limits (ulimit -n), then 'rlrun resume sums' goes on"
    )
    assert_ends_like(place, straight())


def test_a_defect_is_told_from_a_users_mistake(place: Place, straight: Any) -> None:
    assert place.work(mishap=partial(mishaps.another_task, mishaps.BrokenReward)) == 1
    end = place.end
    assert (end.outcome, end.exit_code) == ("failed", 1)
    assert end.message == (
        "ZeroDivisionError while sampling: division by zero; this is a defect of rlrun, please "
        f"report it with {place.run.worker_log}"
    )
    assert "Traceback" in place.said
    assert not place.run.lock.exists()
    assert_ends_like(place, straight())


# ---- sessions after others


def test_steps_of_a_killed_session_are_replayed_and_not_counted_as_new(
    place: Place, straight: Any
) -> None:
    assert jobs.run(Job(place.run.path, kill_after_steps=1)) == -9  # while it reports the second
    assert place.work(steps=1) == 0
    assert (place.start.from_step, place.start.frontier, place.start.target_step) == (0, 2, 3)
    end = place.end
    assert (end.step, end.num_steps, end.num_replayed) == (3, 1, 2)
    replayed = [record["clock"]["replayed"] for record in jsonl.read(place.run.train_log)]
    assert replayed == [True, True, False]
    assert_ends_like(place, straight())


def test_a_killed_session_has_no_end_and_its_lock_is_taken_over(place: Place) -> None:
    assert jobs.run(Job(place.run.path, kill_after_steps=2)) == -9
    assert place.run.lock.exists()
    assert place.last.end is None
    assert place.work() == 0
    assert [session.opening.session for session in ledger.read(place.run)] == [1, 2]


def test_what_a_killed_session_logged_is_kept_aside(place: Place) -> None:
    assert jobs.run(Job(place.run.path, kill_after_steps=2)) == -9
    lost = place.run.train_log.read_bytes()
    assert place.work() == 0
    assert (place.run.abandoned(2) / "train_log.jsonl").read_bytes() == lost


def test_an_invalid_newest_checkpoint_is_passed_over_noted_and_replaced(
    make_place: Any, straight: Any
) -> None:
    place = make_place("saving.every_steps=1")
    assert place.work(steps=2) == 0
    (place.run.step(2) / "optimizer.pt").write_bytes(b"rubbish")
    assert place.work() == 0
    assert place.start.from_step == 1
    assert place.start.notes[0].startswith("step 2 does not verify (optimizer.pt has 7 bytes")
    assert (place.run.quarantine / "step_2.0" / "optimizer.pt").read_bytes() == b"rubbish"
    assert place.saved_steps == [1, 2, 3, 4]
    assert oracle.differences(straight(), oracle.digest(place.run.path)) == []


def test_journaled_batches_of_another_dataset_are_replayed_when_that_is_allowed(
    make_place: Any,
) -> None:
    place = make_place(ONE_BY_ONE)
    assert jobs.run(Job(place.run.path, kill_after_steps=1)) == -9
    fewer = partial(mishaps.another_task, mishaps.FewerQuestions)
    assert place.work(mishap=fewer, allow_inexact=True) == 0, place.said
    assert (place.end.num_replayed, place.end.step) == (2, LAST_STEP)


def test_the_reference_answer_is_the_micro_task(straight: Any) -> None:
    """The comparisons above would say little about runs whose rewards were all equal."""
    rewards = [record["reward_std"] for record in straight()["train_log"]]
    assert min(rewards) > 0


# ---- from an older step


def test_a_run_that_went_back_ends_in_the_same_bytes_and_says_where_the_rest_is(
    make_place: Any, straight: Any
) -> None:
    place = make_place("saving.every_steps=1")
    assert place.work() == 0
    assert place.work(from_step=2, is_rewind=True, steps=1) == 0
    assert place.start.notes == (
        "went back to step 2; what was behind it is in abandoned/rewind_0",
    )
    assert (place.start.from_step, place.start.frontier, place.start.promise) == (2, 2, "bitwise")
    assert place.work() == 0
    assert oracle.differences(straight(), oracle.digest(place.run.path)) == []


def test_what_an_abandoned_session_was_does_not_count_any_more(make_place: Any) -> None:
    place = make_place("saving.every_steps=1")
    assert place.work(steps=2) == 0
    request = place.changed("grpo.learning_rate=0.5")
    assert place.work(**request, allow_inexact=True) == 0
    request = place.changed("grpo.learning_rate=0.01")
    assert place.work(**request, allow_inexact=True, from_step=2, is_rewind=True) == 0
    assert (place.start.promise, place.start.differences) == ("bitwise", ())


def test_going_back_to_a_step_that_is_not_there_or_damaged_moves_nothing(make_place: Any) -> None:
    place = make_place("saving.every_steps=1")
    assert place.work() == 0
    assert place.work(from_step=9, is_rewind=True) == 4
    (place.run.step(2) / "optimizer.pt").write_bytes(b"rubbish")
    assert place.work(from_step=2, is_rewind=True) == 6
    assert not (place.run.path / "abandoned").exists()
    assert not place.run.rewind.exists()


def test_a_session_that_cannot_begin_has_not_gone_back(make_place: Any) -> None:
    place = make_place("saving.every_steps=1")
    assert place.work() == 0
    mishap = partial(mishaps.another_task, mishaps.OtherQuestions)
    assert place.work(from_step=2, is_rewind=True, mishap=mishap) == 10
    assert place.saved_steps == [1, 2, 3, 4]
    assert not (place.run.path / "abandoned").exists()


# ---- what stays of its checkpoints

PRUNED = ("saving.every_steps=1", "saving.keep_latest=1")


@pytest.mark.parametrize("background", ["true", "false"])
def test_a_session_removes_what_no_rule_keeps_after_each_save(
    background: str, make_place: Any, straight: Any
) -> None:
    place = make_place(*PRUNED, "saving.keep_every=2", f"saving.background={background}")
    assert place.work() == 0
    assert place.saved_steps == [2, 4]
    assert [record["step"] for record in jsonl.read(place.run.removals)] == [1, 3]
    assert "removed step 3 (keep_latest=1, keep_every=2)" in place.said
    assert oracle.differences(straight(), oracle.digest(place.run.path)) == []
    assert oracle.litter(place.run.path) == []


def test_a_pruned_run_goes_on_exactly_and_writes_no_removed_step_again(
    make_place: Any, straight: Any
) -> None:
    place = make_place(*PRUNED)
    assert place.work(steps=2) == 0
    assert place.saved_steps == [2]
    assert_ends_like(place, straight())
    assert place.saved_steps == [LAST_STEP]
    assert [record["step"] for record in jsonl.read(place.run.removals)] == [1, 2, 3]


def test_the_rules_in_force_decide_also_while_steps_are_replayed(make_place: Any) -> None:
    place = make_place("saving.every_steps=1")
    assert jobs.run(Job(place.run.path, kill_after_steps=3)) == -9
    kept = place.saved_steps
    new = apply_overrides(load_config(str(place.run.config), ()).config, ["saving.keep_latest=1"])
    changes = ("saving.keep_latest: null -> 1",)
    assert place.work(config=config_to_dict(new), changes=changes) == 0, place.said
    assert len(kept) > 1
    assert place.saved_steps == [LAST_STEP]


def test_a_step_that_was_pinned_before_stays(make_place: Any) -> None:
    place = make_place(*PRUNED)
    assert place.work(steps=2) == 0
    pins.write_pin(place.run, 2)
    assert place.work() == 0
    assert place.saved_steps == [2, LAST_STEP]


def test_a_removal_that_is_refused_is_a_warning_and_training_goes_on(
    make_place: Any, straight: Any
) -> None:
    place = make_place(*PRUNED)
    refusal = StorageError("the disk says no")
    spoiled = partial(mishaps.fail, "rlrun.runs.pins", "is_pinned", 1, refusal)
    assert place.work(mishap=spoiled) == 0
    assert "could not remove older checkpoints: the disk says no" in place.said
    assert oracle.differences(straight(), oracle.digest(place.run.path)) == []
    assert place.saved_steps == [LAST_STEP]  # the next save found both
