"""Where an evaluation is kept: its folder, whose plan it is of, and who is writing into it."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlrun.config.yaml_source import NotYamlError, dump_yaml, read_document
from rlrun.errors import DamagedError, LockedError, StorageError
from rlrun.evaluation import plan as plans
from rlrun.evaluation.plan import Asked, Plan
from rlrun.runs import files, jsonl
from rlrun.runs.layout import evaluations_folder
from rlrun.types import Prompt


@dataclass(frozen=True, slots=True)
class StepFolder:
    """What is kept of one checkpoint."""

    path: Path

    @property
    def completions(self) -> Path:
        """One record a completion."""
        return self.path / "completions.jsonl"

    @property
    def metrics(self) -> Path:
        """The step's numbers, one row."""
        return self.path / "metrics.csv"

    @property
    def summary(self) -> Path:
        """The step's numbers, and what they were made of."""
        return self.path / "summary.json"


@dataclass(frozen=True, slots=True)
class EvalFolder:
    """The paths of one evaluation: one run, one data set, one plan."""

    path: Path
    dataset: str

    @property
    def config(self) -> Path:
        """The plan."""
        return self.path / "eval_config.yaml"

    @property
    def questions(self) -> Path:
        """What was asked, and the gold answers: one record a question."""
        return self.path / "questions.jsonl"

    @property
    def lock(self) -> Path:
        """Held by who evaluates."""
        return self.path / "lock"

    @property
    def scratch(self) -> Path:
        """What is needed for a moment; removed by the next command."""
        return self.path / ".scratch.tmp"

    @property
    def consolidated(self) -> Path:
        """One row a step."""
        return self.path / "consolidated_metrics.csv"

    def step(self, label: str) -> StepFolder:
        """What is kept of a checkpoint, by its label."""
        return StepFolder(self.path / f"{label}_{self.dataset}")


def engine_log(root: Path, name: str, dataset: str) -> Path:
    """Return where engines print to; the plan is not known yet when the first of them starts."""
    return evaluations_folder(root) / f"{name}_{dataset}.engine.log"


def read_plan(folder: EvalFolder) -> Plan | None:
    """Return whose folder this is; None if it has no plan yet.  DamagedError if that is damaged."""
    try:
        data: Any = read_document(folder.config.read_bytes()).value
    except FileNotFoundError:
        return None
    except NotYamlError as error:
        raise DamagedError(
            f"{folder.config} is no YAML ({error.reason}); move its folder aside, and evaluate "
            "again"
        ) from error
    return plans.from_data(data, str(folder.config))


def candidates(root: Path, name: str, dataset: str) -> list[EvalFolder]:
    """Return the folders that hold evaluations of a run on a data set, the plain one first."""
    stem = f"{name}_{dataset}"
    parent = evaluations_folder(root)
    if not parent.is_dir():
        return []
    found = [EvalFolder(path, dataset) for path in sorted(parent.glob(f"{stem}*")) if path.is_dir()]
    plain = parent / stem
    return sorted(
        (one for one in found if one.path == plain or _is_suffixed(one.path.name, stem)),
        key=lambda one: (one.path != plain, one.path.name),
    )


def _is_suffixed(name: str, stem: str) -> bool:
    suffix = name.removeprefix(f"{stem}_")
    return len(suffix) == 8 and set(suffix) <= set("0123456789abcdef")


def evaluations_of(root: Path, name: str, dataset: str | None) -> list[EvalFolder]:
    """Return every folder with a plan that evaluates a run, on one data set or on any."""
    parent = evaluations_folder(root)
    names = {path.parent.name for path in parent.glob(f"{name}_*/eval_config.yaml")}
    found: list[EvalFolder] = []
    for folder_name in sorted(names):
        plan = read_plan(EvalFolder(parent / folder_name, ""))
        if plan is None or dataset not in (None, plan.asked.dataset):
            continue
        stem = f"{name}_{plan.asked.dataset}"
        if folder_name == stem or _is_suffixed(folder_name, stem):
            found.append(EvalFolder(parent / folder_name, plan.asked.dataset))
    return found


def find_asked(
    root: Path, name: str, asked: Asked, *, model_path: str, device: str
) -> tuple[EvalFolder, Plan] | None:
    """Return the folder whose plan asks just this of this base, if there is exactly one.

    Where there are several, only an engine can tell which is meant.
    """
    known = [(folder, read_plan(folder)) for folder in candidates(root, name, asked.dataset)]
    fitting = [
        (folder, plan)
        for folder, plan in known
        if plan
        and (plan.asked, plan.model_path) == (asked, model_path)
        and (device == "auto" or (device == "cpu") == (plan.found.device == "cpu"))
    ]
    return fitting[0] if len(fitting) == 1 else None


def choose(root: Path, name: str, plan: Plan, *, is_own: bool) -> EvalFolder:
    """Return the folder for a plan: the plain one if it is the run's own and that is not taken."""
    dataset = plan.asked.dataset
    for folder in candidates(root, name, dataset):
        known = read_plan(folder)
        if known is not None and known.hash == plan.hash:
            return folder
    plain = EvalFolder(evaluations_folder(root) / f"{name}_{dataset}", dataset)
    if is_own and read_plan(plain) is None:
        return plain
    return EvalFolder(plain.path.with_name(f"{plain.path.name}_{plan.short}"), dataset)


@contextmanager
def held_for(
    root: Path, name: str, plan: Plan, prompts: Sequence[Prompt], *, is_own: bool
) -> Iterator[EvalFolder]:
    """Be the only one who evaluates into the folder of a plan, which is written if it is new.

    Raises LockedError if another process is.
    """
    while True:
        folder = choose(root, name, plan, is_own=is_own)
        with held(folder):
            known = read_plan(folder)
            if known is None:
                write_plan(folder, plan, prompts)
            elif known.hash != plan.hash:  # another took it before we held it
                continue
            yield folder
            return


@contextmanager
def held(folder: EvalFolder) -> Iterator[None]:
    """Be the only one who evaluates into a folder inside the block.

    Raises LockedError if another process does.
    """
    files.ensure_dir(folder.path)
    descriptor = files.open_lock(folder.lock)
    try:
        _lock(descriptor, folder)
        _clear(folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: EvalFolder) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"{folder.path} is being written by another 'rlrun eval'; wait until it is done"
        ) from None
    except OSError as error:
        raise StorageError(
            f"the file system of {folder.path} has no file locks ({error.strerror}), so two "
            "evaluations could write at once; use a --root on one that has them"
        ) from error


def _clear(folder: EvalFolder) -> None:
    """Remove what a killed command left."""
    for path in sorted(folder.path.rglob(".*.tmp"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            files.remove_tree(path)
        elif path.exists() or path.is_symlink():
            files.unlink(path)


def write_plan(folder: EvalFolder, plan: Plan, prompts: Sequence[Prompt]) -> None:
    """Say whose folder this is and what is asked, durably."""
    lines = [jsonl.encode(asdict(prompt), checked=True) for prompt in prompts]
    files.replace(folder.questions, b"".join(lines))
    files.replace(folder.config, dump_yaml(plan.to_data()).encode())


def read_questions(folder: EvalFolder) -> dict[str, Prompt]:
    """Return what was asked, by id; DamagedError unless it is what the plan says."""
    plan = read_plan(folder)
    try:
        found = jsonl.read(folder.questions, checked=True)
    except DamagedError as error:
        raise DamagedError(f"{error}, or move its folder aside and evaluate again") from error
    if plan is None or tuple(data.get("id") for data in found) != plan.asked.question_ids:
        raise DamagedError(
            f"{folder.questions} does not hold the questions of {folder.config.name}; move its "
            "folder aside, and evaluate again"
        )
    return {data["id"]: Prompt(**data) for data in found}
