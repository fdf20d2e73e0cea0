"""Commands of the archive at once, on one run or on copies of it: whoever wins, nothing is lost.

Each race begins at a barrier and is run several times; afterwards every listed manifest is
complete, every checkpoint is here or there, and a push, a cleanup and a restore do their work.
"""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support import archive_forks
from support.archive_forks import SAID_NO, Job
from support.archiving import (
    SPARE,
    Access,
    CleanUp,
    Command,
    Models,
    Push,
    RemotePrune,
    Restore,
    destination_of,
    make_run,
    run_of,
    tree,
)
from support.s3_servers import Server

from rlrun.runs import checkpoints

NUM_ROUNDS = 2
_numbers = count()
HERE = "here"  # the machine that has the run; another name is another machine, with a copy
EMPTY = "empty"  # a machine that has nothing; as many as are told apart by what follows
RACES: dict[str, list[tuple[str, str]]] = {
    "2 pushes": [("push", HERE)] * 2,
    "4 pushes": [("push", HERE)] * 4,
    "8 pushes": [("push", HERE)] * 8,
    "pushes from 2 machines": [("push", HERE), ("push", "there")],
    "pushes from 6 machines": [("push", f"there{n}") for n in range(6)],
    "2 cleanups": [("cleanup", HERE)] * 2,
    "6 cleanups": [("cleanup", HERE)] * 6,
    "cleanups on 4 machines": [("cleanup", f"there{n}") for n in range(4)],
    "push and cleanup": [("push", HERE), ("cleanup", HERE)],
    "4 pushes and 4 cleanups": [("push", HERE), ("cleanup", HERE)] * 4,
    "push and cleanup on 2 machines": [("push", HERE), ("cleanup", "there")],
    "2 restores": [("restore", EMPTY)] * 2,
    "8 restores": [("restore", EMPTY)] * 8,
    "restores on 4 machines": [("restore", f"{EMPTY}{n}") for n in range(4)],
    "restore and push": [("restore", EMPTY), ("push", HERE)],
    "restore and cleanup": [("restore", EMPTY), ("cleanup", HERE)],
    "restore into the run, and its cleanup": [("restore", HERE), ("cleanup", HERE)],
    "2 prunes": [("remote prune", HERE), ("remote prune", "there")],
    "8 prunes": [("remote prune", f"there{n}") for n in range(8)],
    "prune and push": [("remote prune", HERE), ("push", HERE)],
    "2 prunes and 4 pushes": [("remote prune", f"there{n}") for n in range(2)]
    + [("push", f"there{n}") for n in range(4)],
    "prune and cleanup": [("remote prune", "there"), ("cleanup", HERE)],
    "prune and restore": [("remote prune", HERE), ("restore", EMPTY)],
    "everything": [
        ("push", HERE),
        ("cleanup", HERE),
        ("push", "there"),
        ("cleanup", "there"),
        ("restore", EMPTY),
        ("remote prune", "third"),
    ],
}


class Race:
    """One round: machines with the run, an archive, and who is at work."""

    def __init__(self, command: Command, access: Access, racers: list[tuple[str, str]]) -> None:
        self.command = command
        self.access = access
        self.place = command.place()
        self.racers = racers
        names = [name for name, _ in racers]
        models = command.models
        self._restored = [models.restored]  # what a racer may have restored
        if set(names) != {"push"}:
            command.fill(self.place)
        if "push" in names:  # a push that was broken off: a checkpoint is there but not listed
            self._restored.append(models.restored_early)  # the records are listed before it
            for key in self.place.keys():  # noqa: SIM118
                if "/manifests/step_2-" in key or "/manifests/records" in key:
                    self._remove(key)
        if "remote prune" in names:
            self.place.put(SPARE, b"12345")
        self.roots = {machine: self._machine(machine) for machine in {one for _, one in racers}}

    def _remove(self, key: str) -> None:
        self.place.client.delete_object(Bucket=self.place.bucket, Key=self.place.full(key))

    def _machine(self, machine: str) -> Path:
        root = self.command.new_root(next(_numbers))
        if not machine.startswith(EMPTY):
            self.command.models.copy_root(root)
        return root

    def run(self) -> list[int]:
        destination = destination_of(self.place)
        barrier = archive_forks.barrier(len(self.racers))
        processes = [
            archive_forks.start(Job(name, self.roots[machine], destination, self.access), barrier)
            for name, machine in self.racers
        ]
        for process in processes:
            process.join(120)
        return [process.exitcode for process in processes]

    def judge(self) -> None:
        self.command.every_listed_manifest_is_complete(self.place)
        for machine, root in self.roots.items():
            if not machine.startswith(EMPTY):
                self.command.every_checkpoint_is_somewhere(root, self.place)
            elif run_of(root).path.exists():
                assert tree(run_of(root).path) in self._restored

    def judge_end(self) -> None:
        """Hold that all commands still do their work, one after the other."""

        def storage_of(root: Path) -> Any:
            return self.access.storage(destination_of(self.place), root)

        for machine, root in self.roots.items():
            if not machine.startswith(EMPTY):
                Push.act(root, storage_of(root))
                CleanUp.act(root, storage_of(root))
                assert checkpoints.list_steps(run_of(root))[-1] == self.command.models.steps[-1]
        root = self.command.new_root(next(_numbers))
        RemotePrune.act(root, storage_of(root))
        self.judge()
        Restore.act(root, storage_of(root))
        assert tree(run_of(root).path) == self.command.models.restored
        for one in (root, *self.roots.values()):
            shutil.rmtree(one, ignore_errors=True)


@pytest.fixture
def make_race(seaweedfs: Server, memory: Path) -> Callable[..., Race]:
    command = CleanUp(Models(memory / "models", CleanUp), seaweedfs, memory)
    access = Access.to(seaweedfs)
    root = command.folder / "learning"
    access.storage(destination_of(command.full_place), root).has_checksums()
    shutil.copytree(root / "archive" / "stores", command.folder / "stores")
    return lambda racers: Race(command, access, racers)


@pytest.mark.parametrize("name", RACES)
def test_whoever_wins_nothing_is_lost(
    name: str, make_race: Callable[..., Race], counted: Callable[[str, int], None]
) -> None:
    for _ in range(NUM_ROUNDS):
        race = make_race(RACES[name])
        codes = race.run()
        assert set(codes) <= {0, SAID_NO}, codes
        race.judge()
        race.judge_end()
    counted("races of archive commands", NUM_ROUNDS)


def test_of_two_runs_of_one_name_one_at_most_has_it(
    make_race: Callable[..., Race], counted: Callable[[str, int], None]
) -> None:
    for _ in range(NUM_ROUNDS):
        race: Any = make_race([("push", HERE), ("push", "there")])
        other = race.roots["there"]
        shutil.rmtree(run_of(other).path)
        make_run(other, [1, 2, 3])
        codes = race.run()
        assert sorted(codes) in ([0, SAID_NO], [SAID_NO, SAID_NO])
        race.judge()
        winners = [root for root in race.roots.values() if not _is_refused(race, root)]
        assert len(winners) == 1
        if 0 in codes:
            first = race.roots[race.racers[codes.index(0)][1]]
            assert winners == [first]
    counted("races of archive commands", NUM_ROUNDS)


def _is_refused(race: Race, root: Path) -> bool:
    job = Job("push", root, destination_of(race.place), race.access)
    return archive_forks.run(job) == SAID_NO
