"""What can go wrong in a session: each function, called in its process, sees to it that it does.

Steps, draws and saves are counted from 1, in the session.
"""

import errno
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from rlrun.types import Prompt, Reward, Split
from support.micro_task import MicroTask


class OtherQuestions(MicroTask):
    """The micro task with other gold answers."""

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        return tuple(Prompt(p.id, p.question, "8") for p in super().prompts(split))


class FewerQuestions(MicroTask):
    """The micro task with its last questions under other names."""

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        known = super().prompts(split)
        return known[:2] + tuple(Prompt(f"new/{p.id}", p.question, p.answer) for p in known[2:])


class NoQuestions(MicroTask):
    """The micro task before anybody wrote its questions."""

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        return ()


class BrokenReward(MicroTask):
    """The micro task with a mistake in its reward."""

    def reward(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Reward:
        return Reward(1 / 0, {})


def another_task(make: Callable[[], MicroTask]) -> None:
    """Let the run's task be another one."""
    from rlrun.trainer import workbench

    workbench.make_task = lambda *_, **__: make()


def loss_not_finite(at: int) -> None:
    """Let the loss of an update be no number."""
    from rlrun.trainer import step

    _replace_at(step, "grpo_loss", at, lambda loss: loss * float("nan"))


def fail(module: str, name: str, at: int, error: BaseException) -> None:
    """Let the n-th call of a function raise."""

    def spoil(_: Any) -> None:
        raise error

    _replace_at(__import__(module, fromlist=[name]), name, at, spoil)


def _replace_at(module: ModuleType, name: str, at: int, spoil: Callable[[Any], Any]) -> None:
    whole, counter = getattr(module, name), itertools.count(1)

    def replaced(*arguments: Any, **named: Any) -> Any:
        result = whole(*arguments, **named)
        return spoil(result) if next(counter) == at else result

    setattr(module, name, replaced)


def slow_saves(seconds: float) -> None:
    """Let every save take that long in front of its manifest."""
    from rlrun.runs import manifest

    seal = manifest.sealed

    def sealed_later(body: Any) -> Any:
        time.sleep(seconds)
        return seal(body)

    manifest.sealed = sealed_later


def signal_in_a_save_that_hangs() -> None:
    """Let the first save wait until a signal was heard, send another, and hang."""
    from rlrun.runs import manifest
    from rlrun.trainer.stopping import Stopper

    heard, on_signal = threading.Event(), Stopper.on_signal

    def hear(stopper: Stopper, number: int, frame: FrameType | None) -> None:
        heard.set()
        on_signal(stopper, number, frame)

    def hang(_: Any) -> None:
        heard.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()

    Stopper.on_signal = hear
    manifest.sealed = hang


def several(*things: Callable[[], None]) -> None:
    """Let several things go wrong."""
    for go_wrong in things:
        go_wrong()


def disk_full(name: str, at: int) -> None:
    """Let the disk be full from the n-th write to files of a name on, for every file."""
    whole, numbers = os.write, itertools.count(1)
    is_full = False

    def write(descriptor: int, data: bytes) -> int:
        nonlocal is_full
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        is_full = is_full or (target.name == name and next(numbers) == at)
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(descriptor, data)

    os.write = write


def too_full_for_checkpoints(*saves: int) -> None:
    """Let these saves find less room than they need, and the others enough."""
    from rlrun.runs import checkpoints

    whole, numbers = checkpoints.check_space, itertools.count(1)

    def check(run: Any, needed_bytes: int) -> None:
        whole(run, 2**70 if next(numbers) in saves else needed_bytes)

    checkpoints.check_space = check


def taken_over(run_dir: Path, module: str, name: str, at: int) -> None:
    """Let another machine take the run at the n-th call of a function, as if we had slept."""

    def take(result: Any) -> Any:
        owner = {"host": "gpu-2", "pid": 4121, "boot_id": "another", "session": 9}
        (run_dir / "lock.json").write_text(json.dumps(owner))
        return result

    _replace_at(__import__(module, fromlist=[name]), name, at, take)


def ticking_clock() -> None:
    """Let a second pass whenever somebody looks at the clock to stop in time."""
    from rlrun.trainer import __main__ as worker

    ticks = itertools.count()
    worker.monotonic = lambda: float(next(ticks))
