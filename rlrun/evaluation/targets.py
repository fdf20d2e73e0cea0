"""What is to be scored: checkpoints of a run, its base, or any model folder."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from rlrun.engines import adapters
from rlrun.engines.adapters import Kind
from rlrun.errors import AdapterError, RunNotFoundError
from rlrun.evaluation.plan import BASE_STEP
from rlrun.runs import canonical, checkpoints, manifest, pins, store
from rlrun.runs.layout import STEP_PATTERN, RunDir

BASE_LABEL = f"step_{BASE_STEP}"
_MODEL = "model"
_NAME_CHARS, _LABEL_CHARS = 12, 8  # of a hash


@dataclass(frozen=True, slots=True)
class Target:
    """One model to score."""

    label: str  # step_50, or the name of a folder
    step: int | None  # None: not a step of the run
    kind: Kind | None  # None: the base as it is
    folder: Path | None  # of the model's files
    model_hash: str  # over the model's files by name
    rank: int = 0  # of an adapter

    @property
    def adapter_name(self) -> str:
        """A name that no other adapter ever has."""
        return f"{self.label}@{self.model_hash[:_NAME_CHARS]}"


@dataclass(frozen=True, slots=True)
class Unusable:
    """A checkpoint that cannot be scored, and why."""

    label: str
    reason: str


def of_base(initial_adapter: str | None) -> Target | Unusable:
    """Return what step 1 started from."""
    if initial_adapter is None:
        return Target(BASE_LABEL, BASE_STEP, None, None, canonical.sha256_of({}))
    return _of_folder(BASE_LABEL, BASE_STEP, Path(initial_adapter).expanduser())


def of_run(run: RunDir, steps: Sequence[int] | None) -> list[Target | Unusable]:
    """Return the run's checkpoints, all or those named, ascending, each read in full.

    Step 0 is not among them: see `of_base`.  Raises RunNotFoundError for a step that is not there.
    """
    there = [step for step in checkpoints.list_steps(run) if step != BASE_STEP]
    missing = [step for step in steps or () if step not in (*there, BASE_STEP)]
    if missing:
        known = ", ".join(map(str, there)) or "none"
        raise RunNotFoundError(
            f"run '{run.name}' has no step {missing[0]}; it has {known} ('rlrun status "
            f"{run.name}' shows them)"
        )
    wanted = there if steps is None else sorted(set(steps) & set(there))
    return [_of_step(run, step) for step in wanted]


def _of_step(run: RunDir, step: int) -> Target | Unusable:
    label = run.step(step).name
    if not run.identity.is_file():
        return _of_foreign(run, step)
    run_id = store.read_identity(run).id
    found = checkpoints.inspect(run, step, run_id=run_id, with_hashes=True)
    if found.is_foreign:
        return _of_foreign(run, step)
    if found.manifest is None:
        return Unusable(label, f"it does not verify: {found.problem}")
    return _of_folder(label, step, found.path / _MODEL)


def _of_foreign(run: RunDir, step: int) -> Target | Unusable:
    """Return another tool's step: its model is in `model/`, or in the step's folder itself."""
    path = run.step(step)
    inner = path / _MODEL
    return _of_folder(path.name, step, inner if inner.is_dir() else path)


def of_path(path: Path) -> Target:
    """Return a model folder, or the one inside a checkpoint's folder.

    Raises RunNotFoundError if it is no model.
    """
    folder = path.expanduser().resolve()
    if (folder / _MODEL).is_dir():
        folder /= _MODEL
    if not folder.is_dir():
        raise RunNotFoundError(
            f"--ckpt-path {path}: there is no such folder; give a model's folder, or a checkpoint's"
        )
    name = name_of_path(path)
    target = _of_folder(name, None, folder)
    if isinstance(target, Unusable):
        raise RunNotFoundError(f"--ckpt-path {path} cannot be scored: {target.reason}")
    return replace(target, label=f"{name}_{target.model_hash[:_LABEL_CHARS]}")


def name_of_path(path: Path) -> str:
    """Return what a model folder is called: by the checkpoint that it is in, if it is in one."""
    folder = path.expanduser().resolve()
    return folder.parent.name if folder.name == _MODEL else folder.name


def _of_folder(label: str, step: int | None, folder: Path) -> Target | Unusable:
    """Return a model folder as a target, or why it is none."""
    try:
        rank = adapters.read(folder).rank if adapters.kind_of(folder) == "adapter" else 0
        return Target(
            label, step, adapters.kind_of(folder), folder, adapters.hash_of_folder(folder), rank
        )
    except AdapterError as error:
        return Unusable(label, str(error))


def run_of_path(path: Path) -> tuple[RunDir, int] | None:
    """Return the run and step that a path is the checkpoint of, None if it is none's."""
    folder = path.expanduser().resolve()
    step_dir = folder.parent if folder.name == _MODEL else folder
    match = STEP_PATTERN.fullmatch(step_dir.name)
    if match is None or step_dir.parent.name != "training_state":
        return None
    return RunDir(step_dir.parent.parent), int(match[1])


def held(target: Target) -> AbstractContextManager[None]:
    """Keep a checkpoint from being removed while the block reads it.

    Raises RunNotFoundError if it was removed before.
    """
    if target.folder is None:
        return nullcontext()
    if (target.folder.parent / manifest.FILE_NAME).is_file():
        return pins.hold(target.folder.parent)
    if not target.folder.is_dir():
        raise RunNotFoundError(f"{target.folder} was removed before its turn came")
    return nullcontext()
