"""What is likely to go wrong on this machine, looked at before it does.

Nothing is changed, one probe file aside, which is removed again.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rlrun import __version__
from rlrun.config.load import LoadedConfig, load_config
from rlrun.engines.interpreters import PYTHON_VARIABLE
from rlrun.errors import ConfigError, DamagedError, MissingExtraError, RlrunError, StorageError
from rlrun.extras import install_command
from rlrun.runs import checkpoints, files, leftovers, lock, store
from rlrun.runs.layout import runs_folder
from rlrun.sessions import footprint, launch, preflight

_PROBE_BYTES = 1_000_000
_SLOW_SECONDS = 1.0
_FEW_CHECKPOINTS = 5
_DEVICE_SECONDS = 20
_GPU_QUERY = ("--query-gpu=index,name,memory.free,memory.total", "--format=csv,noheader,nounits")
_VLLM_SECONDS = 180
_VERSIONED = ("torch", "transformers", "peft", "safetensors", "tensorboard", "pydantic")
_EXTRAS: Mapping[str, Sequence[str]] = {
    "train": launch.TRAIN_PACKAGES,
    "hub": ("datasets",),
    "math": ("math_verify",),
    "vllm": ("vllm",),
    "s3": ("boto3",),
}

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Finder = Callable[[str], object | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    level: Literal["ok", "note", "problem"]
    what: str
    said: str  # what there is, and what to do about it
    exit_code: int = 0  # of a problem


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is outside rlrun; tests put their own in its place."""

    environ: Mapping[str, str]
    run: Run = subprocess.run
    find: Finder = find_spec
    which: Callable[[str], str | None] = shutil.which


def examine(root: Path, source: str | None, around: Surroundings) -> Iterator[Check]:
    """Yield each check as it is done; `source` is the recipe that space and data are judged by."""
    loaded, said = _load(source)
    if said:
        yield said
    yield _versions()
    yield from _extras(around.find)
    yield _device(around)
    yield from _vllm_interpreter(around, loaded)
    folder = _nearest(root)
    yield _root(root, folder)
    yield _space(root, folder, loaded)
    yield from _runs(root)


def _load(source: str | None) -> tuple[LoadedConfig | None, Check | None]:
    if source is None:
        return None, None
    try:
        loaded = load_config(source, ())
        preflight.require_data_package(preflight.located(loaded.config, Path.cwd()))
    except (ConfigError, MissingExtraError) as error:
        return None, _problem("recipe", error)
    return loaded, Check("ok", "recipe", f"{source} reads, and what it names is there")


def _problem(what: str, error: RlrunError) -> Check:
    return Check("problem", what, str(error), error.exit_code)


def _versions() -> Check:
    named = ((name, _version(name)) for name in _VERSIONED)
    listed = ", ".join(f"{name} {version}" for name, version in named if version)
    here = f"rlrun {__version__}, Python {sys.version.split()[0]}"
    return Check("ok", "versions", f"{here}, {listed}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _extras(find: Finder) -> Iterator[Check]:
    for extra, packages in _EXTRAS.items():
        missing = [package for package in packages if find(package) is None]
        what = f"extra {extra}"
        if not missing:
            yield Check("ok", what, "installed")
            continue
        said = f"{', '.join(missing)} not installed; {install_command(extra)}"
        if extra == "train":
            yield Check("problem", what, said, MissingExtraError.exit_code)
        else:
            yield Check("note", what, said)


def _device(around: Surroundings) -> Check:
    program = around.which("nvidia-smi")
    if program is None:
        return Check("note", "device", "no nvidia-smi here, so no NVIDIA GPU: training is by CPU")
    try:
        result = around.run(
            [program, *_GPU_QUERY],
            capture_output=True, text=True, timeout=_DEVICE_SECONDS, check=False,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError) as error:
        return Check("note", "device", f"nvidia-smi does not answer ({error}); check the driver")
    rows = [line.split(",") for line in result.stdout.splitlines()]
    if result.returncode != 0 or not rows or not all(map(_is_gpu, rows)):
        return Check("note", "device", "nvidia-smi lists no GPU; check the driver, or use the CPU")
    listed = "; ".join(map(_gpu, rows))
    torch = _version("torch") or ""
    if torch.endswith("+cpu"):
        said = f"{listed}; but torch {torch} is the build for CPUs; install the one for CUDA"
        return Check("note", "device", said)
    return Check("ok", "device", listed)


def _is_gpu(row: Sequence[str]) -> bool:
    """Return whether it is an answer to `_GPU_QUERY`, not a sentence about the driver."""
    return len(row) == 4 and row[0].strip().isdigit()


def _gpu(row: Sequence[str]) -> str:
    """Return a row of `_GPU_QUERY` as words; some GPUs tell no memory of their own."""
    index, name, *mebibytes = (word.strip() for word in row)
    if not all(number.isdigit() for number in mebibytes):
        return f"GPU {index}: {name}"
    free, total = (int(number) * 2**20 / 1e9 for number in mebibytes)
    return f"GPU {index}: {name}, {free:,.1f} of {total:,.1f} GB free"


def _vllm_interpreter(around: Surroundings, loaded: LoadedConfig | None) -> Iterator[Check]:
    """Have vLLM imported where the recipe says that it is, or else the environment."""
    named = loaded.config.eval.python if loaded else None
    path = named or around.environ.get(PYTHON_VARIABLE)
    if path is None:
        return
    what = "eval.python" if named else PYTHON_VARIABLE
    program = "import vllm; print(vllm.__version__)"
    hint = "point it at the python of an environment that has vllm, or unset it"
    try:
        result = around.run(
            [path, "-c", program],
            capture_output=True, text=True, timeout=_VLLM_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        yield Check("note", what, f"{path} does not import vllm within {_VLLM_SECONDS} s; {hint}")
        return
    except OSError as error:
        said = f"{path} cannot be started ({error.strerror}); {hint}"
        yield Check("problem", what, said, MissingExtraError.exit_code)
        return
    if result.returncode != 0:
        why = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        said = f"{path} does not import vllm ({why}); {hint}"
        yield Check("problem", what, said, MissingExtraError.exit_code)
    else:
        version = result.stdout.strip().splitlines()[-1]
        yield Check("ok", what, f"{path} has vllm {version}")


def _nearest(root: Path) -> Path:
    """Return the root, or the nearest folder above that is there."""
    return next(folder for folder in (root, *root.parents) if folder.is_dir())


def _root(root: Path, folder: Path) -> Check:
    """Write, sync and lock a file where runs are, or will be; time it, and remove it."""
    probe = folder / f".rlrun_doctor.{os.getpid()}.tmp"
    started = time.monotonic()
    try:
        files.write_new(probe, bytes(_PROBE_BYTES))
        files.sync_dir(folder)
        seconds = time.monotonic() - started
        _try_lock(probe)
    except (StorageError, FileExistsError) as error:
        said = f"{error}; runs cannot be kept in {root}; give another --root"
        return Check("problem", "root", said, StorageError.exit_code)
    finally:
        with suppress(OSError):  # a read-only file system refuses that too
            probe.unlink(missing_ok=True)
    where = str(root) if folder == root else f"{root} (not there yet; {folder} is)"
    timed = f"{where}: 1 MB written and synced in {1000 * seconds:.0f} ms, locks work"
    if seconds > _SLOW_SECONDS:
        said = f"{timed}; every group is synced, so a local disk as --root would be faster"
        return Check("note", "root", said)
    return Check("ok", "root", timed)


def _try_lock(path: Path) -> None:
    """Raise StorageError unless a second lock on a locked file is refused."""
    first, second = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    except OSError as error:
        raise StorageError(f"files cannot be locked there ({error.strerror})") from error
    finally:
        os.close(first)
        os.close(second)
    raise StorageError("two processes can lock the same file there")


def _space(root: Path, folder: Path, loaded: LoadedConfig | None) -> Check:
    free = shutil.disk_usage(folder).free
    size, whose = (
        (footprint.estimate(loaded.config), f"of {loaded.source}, about")
        if loaded
        else _last_size(root)
    )
    said = f"{free / 1e9:,.1f} GB free"
    if size is None:
        how = "the model is not here" if loaded else "--config with a recipe tells it"
        return Check("ok", "space", f"{said}; a checkpoint's size is not known: {how}")
    number = int(free / (1.05 * size))
    said = f"{said}; a checkpoint ({whose} {size / 1e6:,.1f} MB) fits {number:,} times"
    if number == 0:
        return Check("problem", "space", f"{said}; free some", StorageError.exit_code)
    if number < _FEW_CHECKPOINTS:
        return Check("note", "space", f"{said}; see saving.keep_latest and 'rlrun prune'")
    return Check("ok", "space", said)


def _last_size(root: Path) -> tuple[int | None, str]:
    """Return the size of the most recently active run's newest checkpoint, and whose it is."""
    runs = [run for run in store.list_runs(root) if run.identity.is_file()]
    for run in sorted(runs, key=store.last_active, reverse=True):
        try:
            run_id = store.read_identity(run).id
        except DamagedError:  # 'rlrun verify' is for that
            continue
        newest, _ = checkpoints.newest_valid(run, run_id=run_id, with_hashes=False)
        if newest is not None:
            return checkpoints.num_bytes(newest.path), f"of run '{run.name}',"
    return None, ""


def _runs(root: Path) -> Iterator[Check]:
    """Yield what killed processes left among the runs, and what is not ours."""
    runs = store.list_runs(root)
    ours = [run for run in runs if run.identity.is_file()]
    stale = [run.name for run in ours if run.lock.exists() and lock.find_holder(run) is None]
    if stale:
        names = ", ".join(stale)
        said = f"{names}: the owner of the lock is gone; 'rlrun resume RUN' takes it over"
        yield Check("note", "locks", said)
    foreign = [run.name for run in runs if run not in ours]
    if foreign:
        said = f"{', '.join(foreign)}: another tool's; listed, never touched"
        yield Check("note", "foreign runs", said)
    left = leftovers.dead(runs_folder(root))
    if left:
        said = f"{', '.join(path.name for path in left)}; the next 'rlrun train' removes them"
        yield Check("note", "leftovers", said)
    yield Check("ok", "runs", f"{len(ours)} in {runs_folder(root)}")
