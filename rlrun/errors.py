"""Every error a user can meet; each class has its exit code.

    RlrunError                1  a defect in rlrun itself
    ├── UsageError            2  the command line asks for something that cannot be
    ├── ConfigError           3  a recipe or an override is wrong (all problems at once)
    ├── RunNotFoundError      4  no such run, step, recipe or file
    ├── RunExistsError        4  the name is taken
    ├── LockedError           5  another session is writing the run
    ├── DamagedError          6  what is on disk does not verify
    ├── NothingToDoError      7  the run is already where this session would take it
    │   └── FinishedError     7  it has taken all of its steps
    ├── WorkerError           8  the training process, or an engine's, failed
    │   ├── NotFiniteError    8  a loss, gradient or probability is not finite
    │   ├── EngineError       8  an engine cannot be started, died or hung
    │   └── AdapterError      8  an engine cannot use an adapter, or does not apply it
    ├── StorageError          9  the disk is full, read-only or failing
    │   └── NoSpaceError      9  there is no room, or no quota, for what is to be written
    ├── InexactError         10  continuing would not be exact, and was not allowed to be inexact
    ├── MissingExtraError    11  an optional part of the installation is missing
    ├── SomeFailedError      12  some checkpoints could not be scored, the others were
    ├── ArchiveError         13  an archive cannot be reached, or refuses
    │   ├── MissingObjectError   13  an object is not there
    │   └── InterruptedReadError 13  an object's bytes broke off
    └── UnprovedError        14  some checkpoints have no proved copy, and were kept

Two more codes are outcomes, not errors: 75 when a session stopped early with everything saved,
130 when it was told twice to stop.  A message is one sentence: what happened, where, how to fix it.
"""

from collections.abc import Sequence
from typing import ClassVar

EXIT_DONE = 0
EXIT_STOPPED_EARLY = 75
EXIT_STOPPED_NOW = 130


class RlrunError(Exception):
    """Anything rlrun raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(RlrunError):
    """The command line asks for something that cannot be done."""

    exit_code = 2


class ConfigError(RlrunError):
    """A recipe or an override is wrong; the message lists every problem, one a line."""

    exit_code = 3


class RunNotFoundError(RlrunError):
    """There is no such run, step, recipe or file."""

    exit_code = 4


class RunExistsError(RlrunError):
    """A run of this name is already there."""

    exit_code = 4


class LockedError(RlrunError):
    """Another session holds the run."""

    exit_code = 5


class DamagedError(RlrunError):
    """Bytes on disk do not verify."""

    exit_code = 6


class NothingToDoError(RlrunError):
    """The session would take no step."""

    exit_code = 7


class FinishedError(NothingToDoError):
    """The run has taken all of its steps."""


class WorkerError(RlrunError):
    """The training process, or an engine's, failed; the message names the cause and the phase."""

    exit_code = 8


class NotFiniteError(WorkerError):
    """A number is infinite or not a number; no weight was changed by it."""

    remedy: ClassVar[str] = (
        "the state before it is saved; start a new run from a checkpoint with a lower "
        "grpo.learning_rate and '--set model.initial_adapter=.../step_N/model' (or, for full "
        "fine-tuning, model.path)"
    )


class EngineError(WorkerError):
    """An engine's process cannot be started, died, hung, or said what is no answer."""


class AdapterError(WorkerError):
    """An adapter that an engine cannot use, or does not apply; the engine works on without it."""


class StorageError(RlrunError):
    """The disk is full, read-only or failing."""

    exit_code = 9


class NoSpaceError(StorageError):
    """There is no room on the disk, or no quota, for what is to be written."""


class InexactError(RlrunError):
    """The run cannot be continued exactly, and `--allow-inexact` was not given."""

    exit_code = 10


class MissingExtraError(RlrunError):
    """A package of an optional extra is not installed."""

    exit_code = 11


class SomeFailedError(RlrunError):
    """Some checkpoints could not be scored; what could be was, and is kept."""

    exit_code = 12


class ArchiveError(RlrunError):
    """An archive cannot be reached, or refuses; nothing local was changed by it."""

    exit_code = 13


class MissingObjectError(ArchiveError):
    """An archive has no such object."""


class InterruptedReadError(ArchiveError):
    """The bytes of an archive's object broke off; reading may go on from where it is."""


class UnprovedError(RlrunError):
    """Some checkpoints have no proved copy in the archive, and so were not removed."""

    exit_code = 14


EXIT_CODES: dict[int, str] = {
    EXIT_DONE: "the steps asked for were taken, or the run is finished",
    1: "a defect in rlrun; please report it",
    2: "the command line is wrong",
    3: "the configuration is wrong",
    4: "no such run, step or recipe, or the name is taken",
    5: "another session holds the run",
    6: "data on disk does not verify",
    7: "nothing to do",
    8: "the training process, or an engine's, failed",
    9: "the disk is full, read-only or failing",
    10: "continuing would not be exact",
    11: "an optional part of the installation is missing",
    12: "some checkpoints could not be scored",
    13: "the archive cannot be reached, or refuses",
    14: "some checkpoints have no proved copy in the archive, and were kept",
    EXIT_STOPPED_EARLY: "stopped early (time limit or first signal), everything saved",
    EXIT_STOPPED_NOW: "stopped at once (second signal), nothing journaled is lost",
}
"""The one table of exit codes, shown by `rlrun --help` and in the README."""


def error_of(exit_code: int, message: str) -> RlrunError:
    """Return the error of a process that ended with this code and this sentence."""
    kinds = {kind.exit_code: kind for kind in reversed(RlrunError.__subclasses__())}
    return kinds.get(exit_code, RlrunError)(message)


def of_system(error: OSError) -> StorageError:
    """Return the error for what the system refused; an OSError that names no file is a defect."""
    if error.filename is None:
        raise error
    refusal = StorageError(
        f"cannot read {error.filename}: {error.strerror}; check the disk and the permissions"
    )
    return refusal.with_traceback(error.__traceback__)


def first_few(problems: Sequence[str], most: int) -> list[str]:
    """Return the first `most` of them, and a line that says how many more there are."""
    more = len(problems) - most
    return [*problems[:most], *([f"... and {more} more"] if more > 0 else [])]
