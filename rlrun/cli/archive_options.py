"""The options of commands that reach an archive, and the storage that they mean."""

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from rlrun.archive import credentials, destination
from rlrun.archive.credentials import Credentials
from rlrun.archive.destination import Destination, FolderDestination
from rlrun.archive.storage import Storage
from rlrun.cli import show
from rlrun.config.load import load_config
from rlrun.config.schema import ArchiveConfig, names_a_user
from rlrun.errors import UsageError
from rlrun.runs import archived
from rlrun.runs.archived import Copy
from rlrun.runs.layout import RunDir, find_root

TO, FROM = "--to", "--from-archive"
_WHERE = "s3://bucket/prefix, a folder, or 'local' for archive/completed_runs in the root"

ToOption = Annotated[
    str | None,
    typer.Option(
        TO,
        metavar="DEST",
        help=f"The archive: {_WHERE}; else $RLRUN_ARCHIVE, else archive.to of the run.",
        show_default=False,
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        FROM,
        metavar="DEST",
        help=f"The archive: {_WHERE}; else $RLRUN_ARCHIVE, else what the run here names.",
        show_default=False,
    ),
]
TransfersOption = Annotated[
    int | None,
    typer.Option(
        "--transfers",
        metavar="N",
        min=1,
        max=64,
        help="Objects at the same time, small ones four times as many; archive.transfers if not "
        "given.",
        show_default=False,
    ),
]
CredentialsOption = Annotated[
    Path | None,
    typer.Option(
        "--credentials",
        metavar="FILE",
        help="NAME=VALUE lines with the keys of an S3 store; ~/.lambda_s3.env if there is one.",
        show_default=False,
    ),
]
RemoteOption = Annotated[bool, typer.Option("--remote", help="Look at the archive instead.")]
RestoreOption = Annotated[
    bool, typer.Option("--restore", help="Fetch it first if it is in an archive only.")
]


@dataclass(frozen=True, slots=True)
class Reach:
    """What a command line says of an archive, and of how to reach it."""

    place: str | None = None
    credentials: Path | None = None
    transfers: int | None = None
    root: Path | None = None  # what --root said, for the hints
    option: str = TO  # how a place is given

    @property
    def words(self) -> str:
        """The options that reach the same archive, for the commands that come next."""
        words = [TO, self.place] if self.place else []
        if self.credentials:
            words += ["--credentials", str(self.credentials)]
        return "".join(f" {shlex.quote(word)}" for word in words)


def for_restore(words: str) -> str:
    """Return the options that reach an archive as `rlrun restore` takes them."""
    return words.replace(f" {TO} ", f" {FROM} ", 1)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that a command works with."""

    storage: Storage
    transfers: int
    folder: Path | None  # if it is one
    words: str  # the options that reach it, for the commands that come next

    @property
    def place(self) -> str:
        """Where it is, as it is written."""
        return self.storage.place


def refuse_without(flag: str, *, is_given: bool, **others: object) -> None:
    """Raise UsageError for options that mean something with a flag only, which is not given."""
    stray = [name for name, value in others.items() if value]
    if stray and not is_given:
        option = f"--{stray[0].replace('_', '-')}"
        raise UsageError(f"{option} goes with {flag}; add that, or leave {option} out")


def settings_of(run: RunDir) -> ArchiveConfig:
    """Return what a run's configuration says of its archive; the defaults if it has none."""
    if not run.config.is_file():
        return ArchiveConfig()
    return load_config(str(run.config), ()).config.archive


class Archives:
    """Opens the archives that a command works with, each once, and closes them when it ends."""

    def __init__(self) -> None:
        self._storages: dict[tuple[Destination, Credentials, int], Storage] = {}

    def __enter__(self) -> "Archives":
        return self

    def __exit__(self, *_: object) -> None:
        for storage in self._storages.values():
            storage.close()

    def open(
        self, reach: Reach, settings: ArchiveConfig | None, *, last_place: str | None = None
    ) -> Archive:
        """Return the archive: the option's, else the environment's, the configuration's, the last.

        `settings` are those of a run, None if no run is meant.  Nothing is asked of it yet.  Raises
        UsageError if nothing says where it is, or what does makes no sense.
        """
        root = find_root(reach.root)
        environment = os.environ.get(destination.VARIABLE)
        named = reach.place or environment or (settings.to if settings else None)
        text = named or last_place
        if text is None:
            or_run = " or the run's archive.to" if settings else ""
            raise UsageError(
                f"nothing says which archive is meant; give {reach.option} s3://bucket/prefix, a "
                f"folder, or 'local', or set {destination.VARIABLE}{or_run}"
            )
        if names_a_user(text):
            raise UsageError(
                "the archive's place has a user or a password in it; write s3://bucket/prefix, and "
                "keep the keys in the file that --credentials names"
            )
        found = destination.parse(text, root)
        transfers = reach.transfers or (settings or ArchiveConfig()).transfers
        storage = self._storage(found, credentials.load(reach.credentials, os.environ), root,
                                transfers)  # fmt: skip
        folder = found.folder if isinstance(found, FolderDestination) else None
        words = reach.words if named else replace(reach, place=text).words
        return Archive(storage, transfers, folder, words)

    def _storage(
        self, found: Destination, keys: Credentials, root: Path, transfers: int
    ) -> Storage:
        """Return the storage at a place; several runs of a command go through one."""
        if (found, keys, transfers) not in self._storages:
            is_folder = isinstance(found, FolderDestination)
            if not is_folder and (warning := credentials.warning(keys)):
                show.warn(warning)
            storage = destination.open_storage(found, keys, root, transfers=transfers)
            self._storages[found, keys, transfers] = storage
        return self._storages[found, keys, transfers]

    def open_for_run(self, run: RunDir, reach: Reach, known: Copy | None = None) -> Archive:
        """Return the archive that a run is to come from.

        A step that is known to be somewhere comes from there; else it is the archive that the run
        here, if there is one, is configured for, or was last in.
        """
        if known is not None and reach.place is None:
            reach = replace(reach, place=known.place)
        notes = archived.notes(run)
        last_place = notes[-1].place if notes else None
        return self.open(reach, settings_of(run), last_place=last_place)
