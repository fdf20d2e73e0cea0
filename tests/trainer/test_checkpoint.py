"""The training state leaves as bytes and comes back as the same state, or not at all."""

import errno
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.calls import recorded

from rlrun.errors import DamagedError, NoSpaceError, StorageError
from rlrun.policy import saved_form
from rlrun.runs import checkpoints
from rlrun.runs.checkpoints import Step
from rlrun.runs.layout import RunDir
from rlrun.trainer import checkpoint
from rlrun.trainer.checkpoint import Learner, Saver, StateCopy
from rlrun.trainer.workbench import Workbench

pytestmark = pytest.mark.filterwarnings("ignore:The PEFT config:UserWarning")

MakeBench = Callable[..., Workbench]
RUN_ID = "0123456789abcdef"


def nudge(learner: Learner, seed: int) -> None:
    """Take an update whose gradient is a function of the seed."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in learner.policy.parameters().values():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    learner.optimizer.step()
    learner.scheduler.step()
    learner.optimizer.zero_grad(set_to_none=True)


def copy_of(learner: Learner, step: int = 3) -> StateCopy:
    info = {"run_id": RUN_ID, "step": step, "session": 1}
    return checkpoint.copy_state(learner, saved_form.static_files(learner.policy), step, info)


def bytes_of(learner: Learner) -> dict[str, bytes]:
    return {name: bytes(data) for name, data in checkpoint.to_files(copy_of(learner)).items()}


def publish(
    run: RunDir, files: dict[str, bytes], step: int = 3, *, by_torch: str = torch.__version__
) -> Step:
    info = {"run_id": RUN_ID, "step": step, "session": 1, "fingerprint": {"torch": by_torch}}
    checkpoints.publish(run, step, files, info)
    return checkpoints.require(run, step, run_id=RUN_ID)


def trained(bench: Workbench) -> Learner:
    for seed in (1, 2):
        nudge(bench.learner, seed)
    return bench.learner


def test_a_checkpoint_holds_weights_moments_schedule_and_what_loads_the_model(
    bench: Workbench,
) -> None:
    assert sorted(bytes_of(trained(bench))) == [
        "model/adapter_config.json",
        "model/adapter_model.safetensors",
        "optimizer.pt",
        "scheduler.pt",
    ]


def test_a_full_model_is_saved_as_a_folder_that_transformers_reads(make_bench: MakeBench) -> None:
    names = sorted(bytes_of(make_bench("model.lora=null").learner))
    assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json"} <= set(names)
    assert "model/adapter_model.safetensors" not in names


@pytest.mark.parametrize("settings", [[], ["model.lora=null"]])
def test_training_goes_on_from_a_checkpoint_to_the_same_bytes(
    settings: list[str], run: RunDir, make_bench: MakeBench
) -> None:
    learner = trained(make_bench(*settings))
    step = publish(run, bytes_of(learner))
    other = make_bench(*settings).learner
    checkpoint.load(other, step)
    assert bytes_of(other) == bytes_of(learner)
    for seed in (3, 4):
        nudge(learner, seed)
        nudge(other, seed)
    assert bytes_of(other) == bytes_of(learner)


def test_the_bytes_are_a_function_of_the_state(bench: Workbench) -> None:
    assert bytes_of(trained(bench)) == bytes_of(bench.learner)


def test_what_training_does_afterwards_does_not_reach_a_copy(bench: Workbench) -> None:
    learner = trained(bench)
    copied = copy_of(learner)
    before = {name: bytes(data) for name, data in checkpoint.to_files(copied).items()}
    nudge(learner, 3)
    assert {name: bytes(data) for name, data in checkpoint.to_files(copied).items()} == before
    assert bytes_of(learner) != before


def test_a_step_that_did_not_verify_is_not_loaded(bench: Workbench, run: RunDir) -> None:
    step = Step(3, run.step(3), None, "optimizer.pt is missing")
    with pytest.raises(DamagedError, match=r"step_3 does not verify: optimizer\.pt is missing"):
        checkpoint.load(bench.learner, step)


@pytest.mark.parametrize(
    "name", ["model/adapter_model.safetensors", "optimizer.pt", "scheduler.pt"]
)
def test_a_step_without_one_of_its_parts_is_refused_with_a_way_out(
    name: str, bench: Workbench, run: RunDir
) -> None:
    files = bytes_of(bench.learner)
    del files[name]
    with pytest.raises(DamagedError, match=f"has no {name}, so it cannot be continued; start a"):
        checkpoint.load(bench.learner, publish(run, files))


def test_a_checkpoint_of_another_shape_is_refused(run: RunDir, make_bench: MakeBench) -> None:
    step = publish(run, bytes_of(make_bench("model.lora.rank=4").learner))
    with pytest.raises(DamagedError, match="differs in name, shape or type"):
        checkpoint.load(make_bench().learner, step)


def test_a_state_that_comes_back_with_other_bits_is_refused(
    bench: Workbench, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = publish(run, bytes_of(trained(bench)))
    read = saved_form.bytes_to_state

    def forgetful(data: bytes) -> dict[str, Any]:
        state = read(data)
        for moments in state.get("state", {}).values():
            moments["exp_avg"] = moments["exp_avg"].bfloat16().float()
        return state

    monkeypatch.setattr(saved_form, "bytes_to_state", forgetful)
    with pytest.raises(DamagedError, match=r"optimizer\.pt came back with other bits than were"):
        checkpoint.load(bench.learner, step)


def in_another_form(state: bytes) -> bytes:
    """Return the same state as another torch would write it."""
    buffer = io.BytesIO()
    torch.save(saved_form.bytes_to_state(state), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def test_what_another_torch_wrote_in_another_form_is_compared_by_value(
    make_bench: MakeBench, run: RunDir
) -> None:
    files = bytes_of(trained(make_bench()))
    other = {**files, "optimizer.pt": in_another_form(files["optimizer.pt"])}
    assert other != files
    learner = make_bench().learner
    checkpoint.load(learner, publish(run, other, by_torch="2.8.0"))
    assert bytes_of(learner) == files
    with pytest.raises(DamagedError, match=r"optimizer\.pt came back with other bits"):
        checkpoint.load(learner, publish(run, other, step=4))


def test_what_another_torch_wrote_is_refused_if_it_does_not_come_back(
    bench: Workbench, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = publish(run, bytes_of(trained(bench)), by_torch="2.8.0")
    load = bench.learner.optimizer.load_state_dict

    def lossy(state: dict[str, Any]) -> None:
        load(state)
        for moments in bench.learner.optimizer.state.values():
            moments["exp_avg"].copy_(moments["exp_avg"].bfloat16().float())

    monkeypatch.setattr(bench.learner.optimizer, "load_state_dict", lossy)
    with pytest.raises(DamagedError, match=r"optimizer\.pt came back with other bits"):
        checkpoint.load(bench.learner, step)


# ---- the saver


class Disk:
    """What the saver reports, and a gate that its saves wait at."""

    def __init__(self, run: RunDir, *, background: bool) -> None:
        self.gate = threading.Event()
        self.events: list[str] = []
        self.saver = Saver(
            run,
            background=background,
            guard=lambda: None,
            before=self._wait,
            on_published=lambda step, seconds: self.events.append(f"published {step}"),
            on_refused=lambda step, refusal: self.events.append(f"refused {step}"),
        )

    def _wait(self) -> None:
        self.events.append("begun")
        assert self.gate.wait(60)


@pytest.fixture
def disk(run: RunDir) -> Iterator[Disk]:
    disk = Disk(run, background=True)
    yield disk
    disk.gate.set()


def tiny_copy(step: int) -> StateCopy:
    info = {"run_id": RUN_ID, "step": step, "session": 1}
    return StateCopy(step, "w", {"w": torch.zeros(1)}, {}, {}, {}, info)


def test_a_save_in_the_foreground_is_done_when_it_returns(run: RunDir) -> None:
    disk = Disk(run, background=False)
    disk.gate.set()
    disk.saver.save(tiny_copy(3))
    assert disk.events == ["begun", "published 3"]
    assert checkpoints.require(run, 3, run_id=RUN_ID).is_valid
    disk.saver.wait()


def test_a_save_in_the_background_lets_training_go_on_until_somebody_waits(
    disk: Disk, run: RunDir
) -> None:
    assert not disk.saver.is_busy
    disk.saver.save(tiny_copy(3))
    assert disk.saver.is_busy
    assert "published 3" not in disk.events
    assert checkpoints.list_steps(run) == []
    disk.gate.set()
    disk.saver.wait()
    assert not disk.saver.is_busy
    assert disk.events == ["begun", "published 3"]
    assert checkpoints.require(run, 3, run_id=RUN_ID).is_valid


def test_the_next_save_waits_for_the_one_before(disk: Disk, run: RunDir) -> None:
    disk.gate.set()
    for step in (3, 4):
        disk.saver.save(tiny_copy(step))
    disk.saver.wait()
    assert disk.events == ["begun", "published 3", "begun", "published 4"]


@pytest.mark.parametrize("wait", ["wait", "save"])
def test_what_went_wrong_in_the_background_is_raised_at_the_next_occasion_once(
    wait: str, disk: Disk, run: RunDir
) -> None:
    run.step(3).mkdir()  # somebody else's
    disk.gate.set()
    disk.saver.save(tiny_copy(3))
    with pytest.raises(StorageError, match="written by another tool"):
        disk.saver.wait() if wait == "wait" else disk.saver.save(tiny_copy(4))
    disk.saver.wait()


def test_a_look_at_the_last_save_raises_what_went_wrong_and_never_waits(
    disk: Disk, run: RunDir
) -> None:
    disk.saver.check()
    run.step(3).mkdir()  # somebody else's
    disk.saver.save(tiny_copy(3))
    disk.saver.check()
    disk.gate.set()
    while disk.saver.is_busy:
        disk.gate.wait()
    with pytest.raises(StorageError, match="written by another tool"):
        disk.saver.check()
    disk.saver.check()


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of files that the disk has no room for."""
    names: set[str] = set()
    whole = os.write

    def write(descriptor: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name in names:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    return names


def test_a_save_without_room_is_undone_and_the_next_one_may_succeed(
    run: RunDir, full: set[str]
) -> None:
    disk = Disk(run, background=False)
    disk.gate.set()
    full.add("optimizer.pt")
    disk.saver.save(tiny_copy(3))
    assert list(run.training_state.iterdir()) == []
    full.clear()
    disk.saver.save(tiny_copy(4))
    disk.saver.finish()
    assert disk.events == ["begun", "refused 3", "begun", "published 4"]


def test_a_second_save_without_room_is_an_error(run: RunDir, full: set[str]) -> None:
    disk = Disk(run, background=False)
    disk.gate.set()
    full.add("training_info.json")
    disk.saver.save(tiny_copy(3))
    with pytest.raises(NoSpaceError, match="No space left on device; free some space"):
        disk.saver.save(tiny_copy(4))
    assert list(run.training_state.iterdir()) == []


def test_the_last_save_without_room_is_an_error(run: RunDir, full: set[str]) -> None:
    disk = Disk(run, background=False)
    disk.gate.set()
    full.add("w")
    disk.saver.save(tiny_copy(3))
    disk.saver.wait()
    with pytest.raises(NoSpaceError):
        disk.saver.finish()


def test_waiting_for_nothing_returns_at_once(disk: Disk) -> None:
    disk.saver.wait()
    assert disk.events == []


def test_a_save_asks_whether_it_may_first_and_last_and_makes_durable_what_must_be(
    tmp_path: Path, run: RunDir
) -> None:
    log = tmp_path / "log"
    order: list[str] = []
    with recorded() as calls:
        saver = Saver(
            run,
            background=False,
            guard=lambda: order.append(f"guard before call {len(calls)}"),
            before=lambda: order.append(f"{log.name} before call {len(calls)}"),
            on_published=lambda *_: None,
            on_refused=lambda *_: None,
        )
        saver.save(tiny_copy(3))
    assert order[:2] == ["guard before call 0", "log before call 0"]
    assert order[2:] == [f"guard before call {calls.index('rename step_3')}"]
