"""A GGUF model as a plain folder: written once by the environment that trains, then found again."""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rlrun.engines.model_source import ModelSource
from rlrun.engines.process import WorkerProcess

_EXPORT_SECONDS = 3600.0
_GRACE_SECONDS = 10.0


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return where models are kept that were made from others; all of it may be deleted."""
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rlrun" / "models"


def _export(source: ModelSource, dtype: str, folder: Path, log: Path) -> None:
    model = str(source.folder / (source.gguf_file or ""))
    options = ["--export", str(folder), "--model", model, "--dtype", dtype]
    command = [sys.executable, "-m", "rlrun.serving", *options]
    process = WorkerProcess(command, name="export for the vllm", environ=os.environ, log=log)
    try:
        process.receive(time.monotonic() + _EXPORT_SECONDS)
    finally:
        process.kill()


Export = Callable[[ModelSource, str, Path, Path], None]
"""Writes a model with a dtype to a folder, and what there is to say to a log."""


def plain_folder(
    source: ModelSource, dtype: str, *, cache: Path, log: Path, export: Export = _export
) -> Path:
    """Return the folder of a GGUF model's weights in `dtype`, written if it is not there yet.

    It appears whole or not at all.  Raises EngineError if it cannot be written.
    """
    folder = cache / f"{source.weights_hash()}-{dtype}"
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            unfinished = cache / f"{folder.name}.tmp"
            shutil.rmtree(unfinished, ignore_errors=True)  # of one that was killed
            unfinished.mkdir()
            export(source, dtype, unfinished, log)
            _sync(unfinished)
            unfinished.rename(folder)
            _sync_entries(cache)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another that writes the same will be done soon
        yield


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_entries(folder)


def _sync_entries(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
