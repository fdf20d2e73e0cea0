"""The commands of the archive against one server: each case is begun anew, spoiled, and judged."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3

from rlrun.archive import keys, s3_client
from rlrun.archive.blobs import LEAST_PART_BYTES
from rlrun.archive.cleanup import Cleaner
from rlrun.archive.credentials import Credentials
from rlrun.archive.destination import S3Destination
from rlrun.archive.folder_storage import FolderStorage
from rlrun.archive.lineage import Which
from rlrun.archive.push import Pusher
from rlrun.archive.remote_prune import RemotePruner
from rlrun.archive.restore import Restorer
from rlrun.archive.retries import Patience
from rlrun.archive.s3_storage import S3Storage
from rlrun.archive.storage import Storage
from rlrun.runs import checkpoints, store
from rlrun.runs.layout import RunDir, runs_folder
from rlrun.runs.retention import Rules
from support.run_maker import RunMaker
from support.s3_places import Place
from support.s3_servers import REGION, Server

NAME = "sums"
SPARE = f"{NAME}/shared/{'0' * 64}/x"
TIMEOUTS = (2.0, 0.5)  # connect, read: for the client whose answers are stalled
TRANSFERS = 2


def tree(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder but the notes that a machine keeps for itself."""
    left_out = ("archived.jsonl", "removals.jsonl")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name not in left_out
    }


def make_run(root: Path, steps: Sequence[int], weights: bytes = b"12345") -> RunDir:
    """Make a run with some checkpoints, as small as a run can be."""
    made = RunMaker(root, NAME, "train:\n  max_steps: 20\n")
    made.opens(1)
    made.starts(1)
    for step in steps:
        made.saves(step, weights=weights)
    made.ends(1, step=steps[-1], outcome="steps_done")
    return made.run


class Models:
    """What everything must look like, learned from a run that was archived in a folder."""

    def __init__(self, folder: Path, command: "type[Command]") -> None:
        self.steps = steps = range(1, command.num_steps + 1)
        self.root = folder / "root"
        run = make_run(self.root, steps, bytes(range(250)) * (command.num_bytes // 250))
        self.run = tree(run.path)
        self.store = FolderStorage(folder / "store")
        Pusher(run, self.root, self.store).push()
        everything = {one.key: self.read(one.key) for one in self.store.list("")}
        self.run_id = store.read_identity(run).id
        self.claims = {key: data for key, data in everything.items() if claimed_by(key)}
        self.objects = {key: everything[key] for key in everything if key not in self.claims}
        self.needed = {key: needed_by(data) for key, data in self.objects.items()
                       if "/manifests/" in key}  # fmt: skip
        self.restored = self._restored(folder / "restored", "latest")
        self.restored_early = self._restored(folder / "early", 1)  # when only step 1 was there

    def _restored(self, root: Path, which: Which) -> dict[str, bytes]:
        Restorer(self.store, root, NAME).restore(which)
        return tree(run_of(root).path)

    def read(self, key: str) -> bytes:
        return (self.store.folder / key).read_bytes()

    def copy_root(self, target: Path) -> RunDir:
        shutil.copytree(runs_folder(self.root), runs_folder(target), symlinks=True)
        return run_of(target)


def claimed_by(key: str) -> str | None:
    """Return the id of the run that a claim is of, None for another key."""
    return keys.parse_owner(key.rpartition("/")[2])


def needed_by(manifest: bytes) -> set[str]:
    """Return the keys of the objects that a manifest lists."""
    files = json.loads(manifest)["files"].values()
    return {f"{NAME}/{entry['key']}" for entry in files}


def destination_of(place: Place) -> S3Destination:
    return S3Destination(place.bucket, place.prefix)


def run_of(root: Path) -> RunDir:
    return RunDir(runs_folder(root) / NAME)


@dataclass(frozen=True)
class Access:
    """A way to a server, straight or through a proxy, with clients that live as long as it."""

    endpoint: str
    access_key: str
    secret_key: str
    seconds: float = 30.0  # of patience

    @classmethod
    def to(cls, server: Server, endpoint: str | None = None, **options: Any) -> "Access":
        """Return the way to a server, or to it through another endpoint."""
        return cls(endpoint or server.endpoint, server.access_key, server.secret_key, **options)

    def __reduce__(self) -> Any:  # clients do not travel to other processes
        return Access, (self.endpoint, self.access_key, self.secret_key, self.seconds)

    @cached_property
    def clients(self) -> dict[bool, Any]:
        return {is_plain: self._client(is_plain) for is_plain in (False, True)}

    def _client(self, is_plain: bool) -> Any:
        return s3_client.connect(
            boto3, self.credentials, connections=8, timeouts=TIMEOUTS, is_plain=is_plain
        )

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.access_key, self.secret_key, region=REGION, endpoint=self.endpoint)

    def storage(self, destination: S3Destination, root: Path) -> S3Storage:
        return S3Storage(
            destination,
            self.credentials,
            root,
            transfers=TRANSFERS,
            client_maker=lambda is_plain: self.clients[is_plain],
            patience=Patience(
                seconds=self.seconds,
                unreachable_seconds=self.seconds,
                first_delay_seconds=0.005,
                longest_delay_seconds=0.05,
                sleep=lambda seconds: time.sleep(min(seconds, 0.05)),
            ),
        )


class Command:
    """A command of the archive, in a world that is made for it."""

    name: str
    num_steps = 1  # of the run
    num_bytes = 250  # of a checkpoint's weights
    operations: frozenset[str] = frozenset()  # that are spoiled; empty: all
    looks_at_bytes = True  # where it is to hold that every byte is there

    def __init__(self, models: Models, server: Server, folder: Path) -> None:
        self.models = models
        self.server = server
        self.folder = folder

    def place(self) -> Place:
        return Place(self.server, "shared", uuid4().hex)

    @cached_property
    def full_place(self) -> Place:
        """An archive of the run that nobody changes."""
        place = self.place()
        self.fill(place)
        return place

    def fill(self, place: Place) -> None:
        for key, data in {**self.models.objects, **self.models.claims}.items():
            place.put(key, data)

    def world(self, number: int) -> tuple[Path, Place]:
        """Return a root and an archive for one case."""
        raise NotImplementedError

    @staticmethod
    def act(root: Path, storage: Storage) -> None:
        raise NotImplementedError

    def judge(self, root: Path, place: Place) -> None:
        """Hold what must hold whatever has happened."""
        self.every_listed_manifest_is_complete(place)
        self.every_checkpoint_is_somewhere(root, place)

    def judge_end(self, root: Path, place: Place) -> None:
        """Hold what must hold when the command has done its work."""
        self.judge(root, place)

    def every_listed_manifest_is_complete(self, place: Place) -> None:
        found = set(place.keys())
        for key in found & set(self.models.needed):
            assert self.models.needed[key] <= found, key

    def every_checkpoint_is_somewhere(self, root: Path, place: Place) -> None:
        if not run_of(root).path.exists():
            return
        here = checkpoints.list_steps(run_of(root))
        for step in self.models.steps:
            if step not in here:
                self.is_archived(step, place)

    def is_archived(self, step: int, place: Place) -> None:
        """Hold that a checkpoint is in the archive; its bytes are looked at in `close`."""
        marked = f"{NAME}/manifests/step_{step}-"
        (manifest,) = [key for key in self.models.needed if key.startswith(marked)]
        assert {manifest, *self.models.needed[manifest]} <= set(place.keys())

    def has_every_byte(self, place: Place) -> None:
        """Hold that every object of the run is there, byte for byte, and nothing else."""
        there = self.unclaimed(place)
        assert there == set(self.models.objects)
        if self.looks_at_bytes:
            assert {key: place.read(key) for key in there} == self.models.objects

    def unclaimed(self, place: Place) -> set[str]:
        """Return all keys but the claims, which are of one push each and all of this run."""
        there = set(place.keys())
        owners = {key: claimed_by(key) for key in there}
        assert set(owners.values()) == {None, self.models.run_id}
        return {key for key in there if owners[key] is None}

    def close(self) -> None:
        """Hold that no case has changed the archive that all of them were given."""
        self.looks_at_bytes = True
        if "full_place" in vars(self):
            self.has_every_byte(self.full_place)

    def new_root(self, number: int) -> Path:
        root = self.folder / f"{self.name}{number}"
        known = self.folder / "stores"  # what the store can do: found out once
        if known.is_dir():
            shutil.copytree(known, root / "archive" / "stores")
        return root


class Push(Command):
    name = "push"

    def world(self, number: int) -> tuple[Path, Place]:
        root = self.new_root(number)
        self.models.copy_root(root)
        return root, self.place()

    @staticmethod
    def act(root: Path, storage: Storage) -> None:
        Pusher(run_of(root), root, storage, transfers=TRANSFERS, sleep=lambda _: None).push()

    def judge_end(self, root: Path, place: Place) -> None:
        super().judge_end(root, place)
        self.has_every_byte(place)
        assert tree(run_of(root).path) == self.models.run


class LargePush(Push):
    """A file that goes in parts: what is spoiled is what a small one does not need."""

    name = "push of a large file"
    num_bytes = LEAST_PART_BYTES + 250_000
    operations = frozenset({"begin upload", "put part", "list parts", "complete upload"})


class CleanUp(Command):
    name = "cleanup"
    num_steps = 2

    def world(self, number: int) -> tuple[Path, Place]:
        root = self.new_root(number)
        self.models.copy_root(root)
        return root, self.full_place

    @staticmethod
    def act(root: Path, storage: Storage) -> None:
        cleaner = Cleaner(run_of(root), storage, Rules(keep_latest=1), transfers=TRANSFERS)
        cleaned = cleaner.clean()
        for doubt in cleaned.doubts:
            assert doubt.step in checkpoints.list_steps(run_of(root))

    def judge_end(self, root: Path, place: Place) -> None:
        super().judge_end(root, place)
        assert checkpoints.list_steps(run_of(root)) == [self.models.steps[-1]]


class Restore(Command):
    name = "restore"

    def world(self, number: int) -> tuple[Path, Place]:
        return self.new_root(number), self.full_place

    @staticmethod
    def act(root: Path, storage: Storage) -> None:
        Restorer(storage, root, NAME, transfers=TRANSFERS).restore("latest")

    def judge(self, root: Path, place: Place) -> None:
        """A run is there whole, or not at all."""
        if run_of(root).path.exists():
            assert tree(run_of(root).path) == self.models.restored

    def judge_end(self, root: Path, place: Place) -> None:
        assert tree(run_of(root).path) == self.models.restored
        assert list((root / "archive" / "restoring").iterdir()) == []


class RemotePrune(Command):
    name = "remote prune"

    def world(self, number: int) -> tuple[Path, Place]:
        self.full_place.put(SPARE, b"12345")  # every case ends without it
        return self.new_root(number), self.full_place

    @staticmethod
    def act(root: Path, storage: Storage) -> None:
        RemotePruner(storage, NAME, grace_seconds=0).prune()

    def judge(self, root: Path, place: Place) -> None:
        self.every_listed_manifest_is_complete(place)
        assert set(self.models.objects) <= set(place.keys())

    def judge_end(self, root: Path, place: Place) -> None:
        assert self.unclaimed(place) == set(self.models.objects)


COMMANDS = {one.name: one for one in (Push, LargePush, CleanUp, Restore, RemotePrune)}
