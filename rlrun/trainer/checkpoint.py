"""The training state: a copy of it, its bytes, a checkpoint of them, and the way back.

Taking the copy stops training; writing it does not have to (`Saver`).
"""

import time
from collections.abc import Callable, Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from rlrun.errors import DamagedError, NoSpaceError
from rlrun.policy import saved_form
from rlrun.policy.model import Policy
from rlrun.runs import checkpoints, manifest
from rlrun.runs.checkpoints import Step
from rlrun.runs.layout import RunDir

OPTIMIZER_FILE = "optimizer.pt"
SCHEDULER_FILE = "scheduler.pt"


@dataclass(frozen=True, slots=True)
class Learner:
    """Everything that an update changes."""

    policy: Policy
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR


@dataclass(frozen=True, slots=True)
class StateCopy:
    """A copy of the training state at a step, in host memory."""

    step: int
    weights_file: str
    weights: Mapping[str, torch.Tensor]
    static_files: Mapping[str, bytes]
    optimizer: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    info: Mapping[str, Any]  # the manifest without its files


def copy_state(
    learner: Learner, static_files: Mapping[str, bytes], step: int, info: Mapping[str, Any]
) -> StateCopy:
    """Return a copy that training no longer touches."""
    weights = learner.policy.parameters()
    return StateCopy(
        step=step,
        weights_file=saved_form.weights_name(learner.policy),
        weights={name: _to_host(param) for name, param in weights.items()},
        static_files=static_files,
        optimizer=_copied(learner.optimizer.state_dict()),
        scheduler=_copied(learner.scheduler.state_dict()),
        info=info,
    )


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return _to_host(value)
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(inner) for inner in value)
    return value


def to_files(copied: StateCopy) -> dict[str, bytes | memoryview]:
    """Return the checkpoint's files but the manifest."""
    return {
        **{f"model/{name}": data for name, data in copied.static_files.items()},
        f"model/{copied.weights_file}": saved_form.tensors_to_bytes(copied.weights),
        OPTIMIZER_FILE: saved_form.state_to_bytes(copied.optimizer),
        SCHEDULER_FILE: saved_form.state_to_bytes(copied.scheduler),
    }


def load(learner: Learner, step: Step) -> None:
    """Put a verified checkpoint's state into the learner, and prove that it is there.

    Raises DamagedError if a file is missing, does not fit, or comes back with other bits.
    """
    if step.manifest is None:
        raise DamagedError(f"{step.path} does not verify: {step.problem}")
    entries = step.manifest["files"]
    weights_file = f"model/{saved_form.weights_name(learner.policy)}"
    for name in (weights_file, OPTIMIZER_FILE, SCHEDULER_FILE):
        if name not in entries:
            raise DamagedError(
                f"{step.path} has no {name}, so it cannot be continued; start a new run from its "
                "model/ with '--set model.initial_adapter=...'"
            )
    weights = _read(step.path / weights_file, saved_form.bytes_to_tensors)
    learner.policy.load_state(weights, str(step.path / weights_file))
    for file, target in ((OPTIMIZER_FILE, learner.optimizer), (SCHEDULER_FILE, learner.scheduler)):
        state = _read(step.path / file, saved_form.bytes_to_state)
        target.load_state_dict(state)
    _prove(learner, step, (weights_file, OPTIMIZER_FILE, SCHEDULER_FILE))


def _read(path: Path, read: Callable[[bytes], dict[str, Any]]) -> dict[str, Any]:
    """Return the contents of a file that somebody else may have written."""
    try:
        return read(path.read_bytes())
    except (SafetensorError, UnpicklingError, EOFError) as error:
        raise DamagedError(
            f"{path} does not read as a training state, so it was not written by rlrun; move its "
            "step elsewhere to continue from the one before"
        ) from error


def _prove(learner: Learner, step: Step, names: tuple[str, ...]) -> None:
    """Write the state again, in memory, and compare it with what was read.

    Another torch may write the same values in other bytes: then the values are compared.
    """
    own = step.manifest or {}
    entries, is_same_torch = own["files"], own["fingerprint"].get("torch") == torch.__version__
    written = to_files(copy_state(learner, {}, step.step, {}))
    for name in names:
        if manifest.describe_bytes(written[name]) == entries[name]:
            continue
        if is_same_torch or not _has_equal_values(step.path / name, bytes(written[name])):
            raise DamagedError(
                f"{step.path / name} came back with other bits than were saved; the libraries that "
                "read it differ from those that wrote it; install the versions in "
                "training_info.json"
            )


def _has_equal_values(path: Path, written: bytes) -> bool:
    read = saved_form.bytes_to_state if path.suffix == ".pt" else saved_form.bytes_to_tensors
    return _are_equal(_read(path, read), read(written))


def _are_equal(one: Any, other: Any) -> bool:
    """Return whether two nested values are the same, tensors bit for bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        is_alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        return is_alike and _raw(one) == _raw(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_are_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    return bool(one == other)


def _raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class Saver:
    """Publishes copies of the state, one at a time, in the background if asked.

    Where there is no room for one, training goes on: what it holds is journaled.  A second in a row
    is an error, and so is the last one of a session (`finish`).
    """

    def __init__(
        self,
        run: RunDir,
        *,
        background: bool,
        guard: Callable[[], None],
        before: Callable[[], None],
        on_published: Callable[[int, float], None],
        on_refused: Callable[[int, NoSpaceError], None],
    ) -> None:
        self._run = run
        self._guard = guard
        self._before = before
        self._on_published = on_published
        self._on_refused = on_refused
        self._refusal: NoSpaceError | None = None  # of the last copy
        self._executor = ThreadPoolExecutor(1, "saver") if background else None
        self._pending: Future[None] | None = None

    def save(self, copied: StateCopy) -> None:
        """Publish a copy; waits for the one before it, and raises what went wrong with that."""
        self.wait()
        if self._executor is None:
            self._publish(copied)
        else:
            self._pending = self._executor.submit(self._publish, copied)

    def wait(self) -> None:
        """Return when nothing is being written; raises what went wrong with the last save."""
        if self._pending is not None:
            pending = self._pending
            futures.wait([pending])  # if a signal breaks this off, the save goes on and is known of
            self._pending = None
            pending.result()

    def finish(self) -> None:
        """Return when the last copy is published; raises what went wrong with it."""
        self.wait()
        if self._refusal is not None:
            raise self._refusal

    def check(self) -> None:
        """Raise what went wrong with the last save, if it has ended; never waits."""
        if self._pending is not None and self._pending.done():
            self.wait()

    @property
    def is_busy(self) -> bool:
        """Whether a save is being written right now."""
        return self._pending is not None and not self._pending.done()

    def _publish(self, copied: StateCopy) -> None:
        started = time.monotonic()
        self._guard()
        self._before()
        try:
            contents = to_files(copied)
            checkpoints.publish(self._run, copied.step, contents, copied.info, guard=self._guard)
        except NoSpaceError as refusal:
            checkpoints.discard(self._run, copied.step)
            if self._refusal is not None:
                raise
            self._refusal = refusal
            self._on_refused(copied.step, refusal)
            return
        self._refusal = None
        self._on_published(copied.step, time.monotonic() - started)
