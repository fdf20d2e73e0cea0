"""Sessions on a GPU that are stopped, or killed at any call, end in the same bytes."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support import jobs, kills, mishaps, oracle
from support.jobs import Job
from support.kills import Counts, Course
from support.place import Place
from support.runs import make_run

from rlrun.errors import EXIT_DONE, NothingToDoError
from rlrun.runs import ledger
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest

LAST_STEP = 6
NUM_MOMENTS = 24
NUM_PARTS = 8  # of them, so that processes share the work
SETTINGS = {
    "float32": [],
    "bfloat16": ["model.dtype=bfloat16"],
    "float16": ["model.dtype=float16"],
    "bfloat16, window, KL, dropout": [
        "model.dtype=bfloat16",
        "grpo.updates_per_batch=2",
        "grpo.kl_weight=0.1",
        "model.lora.dropout=0.2",
    ],
    "bfloat16, checkpointing, parts": [
        "model.dtype=bfloat16",
        "model.gradient_checkpointing=true",
        "grpo.micro_batch_size=5",
    ],
    "full fine-tuning": ["model.lora=null"],
    "truncated": ["sampling.top_p=0.9", "sampling.top_k=12", "grpo.schedule=cosine"],
}


@dataclass(frozen=True)
class Interruption:
    """A way to not run in one go: sessions of so many steps, then killed ones, then one more."""

    save_every: str = "null"
    stops: tuple[int, ...] = ()
    kills: tuple[int, ...] = ()
    background: bool = False

    @property
    def settings(self) -> list[str]:
        background = str(self.background).lower()
        return [f"saving.every_steps={self.save_every}", f"saving.background={background}"]


INTERRUPTIONS = {
    "nothing": Interruption(),
    "stopped after each step": Interruption(stops=(1, 1, 1, 1, 1)),
    "killed after 2, never saved": Interruption(kills=(2,)),
    "stopped after 3, killed twice": Interruption("2", stops=(3,), kills=(2, 1), background=True),
}


@pytest.fixture(scope="module")
def straight(
    tmp_path_factory: pytest.TempPathFactory, micro_model: Path, wide_model: Path, device: str
) -> Any:
    """What a run of some settings ends in when nobody interferes, made when first asked for."""
    models = {"micro": micro_model, "wide": wide_model}

    @cache
    def digest(model: str, name: str) -> dict[str, Any]:
        root = tmp_path_factory.mktemp("straight")
        place = Place(make_run(root, "run", models[model], SETTINGS[name]), root / "output")
        assert place.work(device=device) == EXIT_DONE, place.said
        require_bitwise(place.run)
        return oracle.digest(place.run.path)

    return digest


def require_bitwise(run: RunDir) -> None:
    """Skip where a session does not promise it; fail if it gives another reason than rows."""
    start = ledger.read(run)[-1].start
    assert start is not None
    assert start.differences == ()
    if start.promise == "replay-exact":
        pytest.skip("rows are not treated alike here: the session promises replay-exact")
    assert start.promise == "bitwise"


@pytest.mark.parametrize("how", INTERRUPTIONS.values(), ids=INTERRUPTIONS.keys())
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("model", ["micro", "wide"])
def test_an_interrupted_run_ends_in_the_same_bytes(
    model: str, name: str, how: Interruption, straight: Any, tmp_path: Path, device: str,
    micro_model: Path, wide_model: Path, counted: Callable[[str, int], None],
) -> None:  # fmt: skip
    expected = straight(model, name)
    folder = wide_model if model == "wide" else micro_model
    place = Place(
        make_run(tmp_path, "run", folder, [*how.settings, *SETTINGS[name]]), tmp_path / "output"
    )
    for steps in how.stops:
        assert place.work(device=device, steps=steps) == EXIT_DONE, place.said
    for steps in how.kills:
        job = Job(place.run.path, SessionRequest(device=device), kill_after_steps=steps)
        assert jobs.run_worker(job) == -9
    if sum(how.stops) < LAST_STEP:
        assert place.work(device=device) == EXIT_DONE, place.said
    kills.judge(place.run, expected, f"{name}, {model}")
    require_bitwise(place.run)
    counted("runs on a GPU that ended in the same bytes", 1)


@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_killed_in_front_of_a_call_it_goes_on_to_the_same_bytes(
    part: int, straight: Any, tmp_path: Path, device: str, micro_model: Path,
    counted: Callable[[str, int], None],
) -> None:  # fmt: skip
    name = "bfloat16, window, KL, dropout"
    expected = straight("micro", name)
    untouched = make_run(tmp_path, "run", micro_model, ["saving.every_steps=2", *SETTINGS[name]])
    trace = tmp_path / "trace"
    request = SessionRequest(device=device)
    whole = RunDir(shutil.copytree(untouched.path, tmp_path / "whole", symlinks=True))
    assert jobs.run(Job(whole.path, request, trace=trace)) == EXIT_DONE
    num_calls = len(trace.read_text().splitlines())
    for number in range(part, NUM_MOMENTS, NUM_PARTS):
        call = (num_calls - 1) * number // (NUM_MOMENTS - 1)
        run = RunDir(shutil.copytree(untouched.path, tmp_path / f"{number}", symlinks=True))
        assert jobs.run(Job(run.path, request, kill_at_call=call)) == -9
        code = jobs.run(Job(run.path, request))
        assert code in (EXIT_DONE, NothingToDoError.exit_code), call  # behind the last save
        kills.judge(run, expected, f"killed in front of call {call} of {num_calls}")
        counted("kills of a session on a GPU in front of a call", 1)


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("name", ["plain", "window", "background"])
def test_killed_by_the_clock_it_goes_on_to_the_same_bytes(
    name: str, number: int, tmp_path: Path, device: str, micro_model: Path,
    counted: Callable[[str, int], None],
) -> None:  # fmt: skip
    counts, draw = Counts(), random.Random(f"{name}/{number}")
    course = Course(tmp_path / "course", micro_model, name, device)
    course.kill_and_finish(draw, 5, tmp_path, counts, f"{name}, run {number}")
    counted("kills of a session on a GPU by the clock", counts.num_kills)


def ask_for_too_much() -> None:
    """Let torch's allocator be asked for more than any GPU has."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.empty(2**50, dtype=torch.uint8, device=device)


def out_of_memory(module: str, name: str, at: int) -> None:
    mishaps._replace_at(__import__(module, fromlist=[name]), name, at, lambda _: ask_for_too_much())


PHASES = {
    "loading": ("rlrun.trainer.workbench", "build_policy", 1),
    "sampling": ("rlrun.rollouts.torch_engine", "draw_tokens", 6),
    "updating": ("rlrun.trainer.step", "grpo_loss", 2),
    "saving": ("rlrun.trainer.session", "copy_state", 1),
}


@pytest.mark.parametrize("phase", PHASES)
def test_memory_that_runs_out_is_a_sentence_and_the_run_goes_on_to_the_same_bytes(
    phase: str, straight: Any, tmp_path: Path, device: str, micro_model: Path
) -> None:
    place = Place(make_run(tmp_path, "sums", micro_model), tmp_path / "output")
    assert place.work(device=device, mishap=partial(out_of_memory, *PHASES[phase])) == 8, place.said
    assert place.end.message.startswith(f"out of memory while {phase}; lower ")
    assert place.end.message.endswith("what is journaled is kept, 'rlrun resume sums' uses it")
    assert place.work(device=device) == EXIT_DONE, place.said
    kills.judge(place.run, straight("micro", "float32"), phase)
