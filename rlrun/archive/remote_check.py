"""`rlrun verify --remote`: every manifest of a run in an archive, and every object of theirs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rlrun.archive import catalog, keys, proof
from rlrun.archive.keys import RecordsKey, StepKey
from rlrun.archive.manifests import Archived, Entry
from rlrun.archive.storage import Storage
from rlrun.archive.transfers import Progress, each
from rlrun.errors import DamagedError, MissingObjectError

Depth = Literal["sizes", "checksums", "data"]
"""What was looked at of each object: its size, the checksum that the store computed, its bytes."""


@dataclass(frozen=True, slots=True)
class RemoteFinding:
    """Something that is not as it should be."""

    severity: Literal["damage", "note"]
    key: str
    what: str


@dataclass(frozen=True, slots=True)
class RemoteStep:
    """A checkpoint in an archive, after a look at it."""

    step: int
    manifest_hash: str  # as far as its key tells
    num_files: int
    num_bytes: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class RemoteCheck:
    """What was looked at, and what was found."""

    steps: tuple[RemoteStep, ...]
    findings: tuple[RemoteFinding, ...]
    num_objects: int
    num_bytes: int
    depth: Depth

    @property
    def damage(self) -> tuple[RemoteFinding, ...]:
        """What is missing or wrong."""
        return tuple(one for one in self.findings if one.severity == "damage")


@dataclass(slots=True)
class Checker:
    """Checks one run in one archive; changes nothing."""

    storage: Storage
    run_name: str
    with_data: bool = False
    transfers: int = 8
    progress: Progress = field(default_factory=Progress)
    _doubts: dict[str, str | None] = field(default_factory=dict)  # by key

    def check(self) -> RemoteCheck:
        """Return what is wrong with a run in the archive; RunNotFoundError if it has none."""
        found = catalog.require(self.storage, self.run_name)
        prefix = f"{self.run_name}/"
        sizes = {one.key.removeprefix(prefix): one.size for one in self.storage.list(prefix)}
        newest = found.newest_records
        wanted: list[StepKey | RecordsKey] = [*found.steps, *([newest] if newest else [])]
        findings: list[RemoteFinding] = []
        read: dict[StepKey | RecordsKey, Archived] = {}
        for key in wanted:
            try:
                read[key] = catalog.fetch(self.storage, self.run_name, key)
            except (DamagedError, MissingObjectError) as error:
                findings.append(RemoteFinding("damage", key.manifest, str(error)))
        self._look_at_all(read, sizes)
        findings += self._findings()
        findings += self._notes(found, read, sizes)
        steps = tuple(self._row(key, read.get(key)) for key in found.steps)
        total = sum(sizes.get(key, 0) for key in self._doubts)
        return RemoteCheck(steps, tuple(findings), len(self._doubts), total, self._depth())

    def _depth(self) -> Depth:
        if self.with_data:
            return "data"
        return "checksums" if self.storage.has_checksums() else "sizes"

    def _look_at_all(
        self, read: Mapping[StepKey | RecordsKey, Archived], sizes: Mapping[str, int]
    ) -> None:
        entries = {entry.key: entry for found in read.values() for entry in found.entries}
        num_bytes = sum(entry.seal.size for entry in entries.values())
        self.progress.expect(num_bytes)

        def look(entry: Entry) -> str | None:
            problem = self._doubt(entry, sizes)
            self.progress.note(entry.seal.size)
            return problem

        problems = each(look, entries.values(), at_once=self.transfers)
        self._doubts = dict(zip(entries, problems, strict=True))

    def _doubt(self, entry: Entry, sizes: Mapping[str, int]) -> str | None:
        if self._depth() == "sizes":
            size = sizes.get(entry.key)
            if size is None:
                return "is not there"
            return None if size == entry.seal.size else f"has {size} bytes, not {entry.seal.size}"
        key = f"{self.run_name}/{entry.key}"
        heed = self.progress.heed
        return proof.doubt(self.storage, key, entry.seal, with_data=self.with_data, note=heed)

    def _findings(self) -> list[RemoteFinding]:
        return [
            RemoteFinding("damage", key, problem)
            for key, problem in sorted(self._doubts.items())
            if problem is not None
        ]

    def _notes(
        self,
        found: catalog.Catalog,
        read: Mapping[StepKey | RecordsKey, Archived],
        sizes: Mapping[str, int],
    ) -> list[RemoteFinding]:
        needed = {entry.key for one in read.values() for entry in one.entries}
        notes = []
        if found.newest_records is None:
            what = "there are no records, so only models can be restored; archive the run again"
            notes.append(RemoteFinding("damage", keys.MANIFESTS, what))
        spare = [key for key in sizes if keys.is_ours(key) and key not in needed]
        if spare:
            what = (
                f"{len(spare)} objects that no checkpoint and no newest record needs; 'rlrun prune "
                "--remote' removes those that are older than a day"
            )
            notes.append(RemoteFinding("note", spare[0], what))
        return notes

    def _row(self, key: StepKey, found: Archived | None) -> RemoteStep:
        entries = found.entries if found else ()
        is_whole = found is not None and not any(self._doubts[one.key] for one in entries)
        return RemoteStep(key.step, key.short_hash, len(entries), key.num_bytes, is_whole)
