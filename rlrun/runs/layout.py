"""Every path inside the root and inside a run, one property or function each."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlrun.errors import UsageError

STEP_PATTERN = re.compile(r"step_(0|[1-9][0-9]*)")
REMOVED_PATTERN = re.compile(r"\.step_(0|[1-9][0-9]*)\.removed\.tmp")
SEGMENT_PATTERN = re.compile(r"step_([1-9][0-9]*)-([1-9][0-9]*)\.jsonl")
EVENTS_PATTERN = re.compile(r"events\.out\.tfevents\.([0-9]{10})\.rlrun")
_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def find_root(option: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the root: the option, else RLRUN_ROOT, else LOCALFS_ROOT, else ./runs."""
    for value in (option, environ.get("RLRUN_ROOT"), environ.get("LOCALFS_ROOT")):
        if value:
            return Path(value).expanduser().absolute()
    return Path("runs").absolute()


def runs_folder(root: Path) -> Path:
    """Return the folder that holds one folder a run."""
    return root / "training_runs"


def evaluations_folder(root: Path) -> Path:
    """Return the folder that holds one folder an evaluation."""
    return root / "eval_runs"


def important_checkpoint(root: Path, run_name: str, step: int) -> Path:
    """Return where the copy of a checkpoint goes that outlives its run."""
    return root / "archive" / "important_checkpoints" / f"{run_name}_step_{step}"


def check_name(name: str) -> str:
    """Return `name` if it can name a run; UsageError otherwise."""
    if not _NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a run; use letters, digits, '.', '_' and '-', at most 100, "
            "beginning with a letter or a digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class RunDir:
    """The paths of one run."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name, which is its folder's."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The configuration in force for the next batch."""
        return self.path / "config.yaml"

    @property
    def identity(self) -> Path:
        """Who the run is: written once, at its creation."""
        return self.path / "run.json"

    @property
    def lock(self) -> Path:
        """Who is writing the run; absent when nobody is."""
        return self.path / "lock.json"

    @property
    def training_state(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "training_state"

    def step(self, step: int) -> Path:
        """The checkpoint of a step."""
        return self.training_state / f"step_{step}"

    def unfinished_step(self, step: int) -> Path:
        """A checkpoint while it is being written."""
        return self.training_state / f".step_{step}.tmp"

    def removed_step(self, step: int) -> Path:
        """A checkpoint while it is being removed."""
        return self.training_state / f".step_{step}.removed.tmp"

    @property
    def pins(self) -> Path:
        """The folder of pins."""
        return self.path / "pins"

    def pin(self, step: int) -> Path:
        """The file that keeps a step from being removed."""
        return self.pins / f"step_{step}"

    @property
    def latest_link(self) -> Path:
        """The hint to the newest checkpoint."""
        return self.training_state / "step_latest"

    @property
    def quarantine(self) -> Path:
        """What did not verify, moved aside."""
        return self.path / "quarantine"

    @property
    def quarantine_reasons(self) -> Path:
        """Why each thing in the quarantine is there."""
        return self.quarantine / "reasons.jsonl"

    @property
    def logs(self) -> Path:
        """The folder of records."""
        return self.path / "logs"

    @property
    def train_log(self) -> Path:
        """One record a step."""
        return self.logs / "train_log.jsonl"

    @property
    def ratios(self) -> Path:
        """One record a step: how far the policy is from what sampled."""
        return self.logs / "ratios.jsonl"

    @property
    def journal(self) -> Path:
        """The active segment of the rollout journal."""
        return self.logs / "rollouts.jsonl"

    @property
    def segments(self) -> Path:
        """The folder of sealed segments."""
        return self.logs / "rollouts"

    def segment(self, first_step: int, last_step: int) -> Path:
        """The sealed segment that holds the batches of these steps."""
        return self.segments / f"step_{first_step}-{last_step}.jsonl"

    @property
    def sessions(self) -> Path:
        """The start and the end of each session."""
        return self.logs / "sessions.jsonl"

    @property
    def removals(self) -> Path:
        """Which checkpoints were to be removed, and why."""
        return self.logs / "removals.jsonl"

    @property
    def worker_log(self) -> Path:
        """What the worker process says."""
        return self.logs / "worker.log"

    @property
    def abandoned_root(self) -> Path:
        """What was behind the steps that the run was rewound to, one folder a rewind."""
        return self.path / "abandoned"

    @property
    def rewind(self) -> Path:
        """The intent to rewind, while it is being done."""
        return self.path / "rewind.json"

    def abandoned(self, session: int) -> Path:
        """What a session cut from the logs."""
        return self.logs / "abandoned" / f"session_{session}"

    @property
    def tensorboard(self) -> Path:
        """Event files, one a session."""
        return self.path / "tensorboard"

    def event_file(self, session: int) -> Path:
        """The event file of a session."""
        return self.tensorboard / f"events.out.tfevents.{session:010d}.rlrun"

    def event_files(self) -> list[int]:
        """Return the sessions that have an event file."""
        matches = (
            EVENTS_PATTERN.fullmatch(path.name) for path in self.tensorboard.glob("events.*")
        )
        return [int(match[1]) for match in matches if match]
