"""Which checkpoints stay, and how one is removed: section 12 of docs/design.md.

A step goes only while enough newer ones are proven good, byte for byte, by this process; one that
does not verify is neither counted nor touched, and so is another tool's.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rlrun.errors import DamagedError, RunNotFoundError, StorageError
from rlrun.runs import checkpoints, files, jsonl, pins, rewind
from rlrun.runs.checkpoints import Step
from rlrun.runs.layout import RunDir


@dataclass(frozen=True, slots=True)
class Rules:
    """Which checkpoints stay; without any rule all do."""

    keep_latest: int | None = None
    keep_every: int | None = None

    def __bool__(self) -> bool:
        return self.keep_latest is not None or self.keep_every is not None

    def __str__(self) -> str:
        named = (("keep_latest", self.keep_latest), ("keep_every", self.keep_every))
        return ", ".join(f"{name}={value}" for name, value in named if value is not None)

    @property
    def num_latest(self) -> int:
        """How many of the newest stay in any case: at least one."""
        return self.keep_latest or 1


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a step, and why."""

    step: int
    goes: bool
    reason: str
    num_bytes: int = 0


def reasons_to_stay(
    steps: Iterable[int],
    *,
    pinned: Collection[int] = (),
    in_use: Collection[int] = (),
    rules: Rules,
) -> dict[int, tuple[str, ...]]:
    """Return, for each of the valid steps, why it stays; nothing: it goes."""
    newest_first = sorted(steps, reverse=True)
    every = rules.keep_every
    is_latest = f"one of the newest {rules.num_latest}"
    found: dict[int, tuple[str, ...]] = {}
    for place, step in enumerate(newest_first):
        tests = (
            (place == 0, "the newest"),
            (0 < place < rules.num_latest, is_latest),
            (every is not None and step % every == 0, f"divisible by {every}"),
            (step in pinned, "pinned"),
            (step in in_use, "in use"),
            (not rules, "no rule"),
        )
        found[step] = tuple(reason for holds, reason in tests if holds)
    return found


def plan(
    steps: Iterable[int],
    *,
    pinned: Collection[int] = (),
    in_use: Collection[int] = (),
    rules: Rules,
) -> list[int]:
    """Return which of the valid steps go, the oldest first."""
    reasons = reasons_to_stay(steps, pinned=pinned, in_use=in_use, rules=rules)
    return sorted(step for step, why in reasons.items() if not why)


def _let_pass(_folder: Path) -> None: ...


def remove_step(
    run: RunDir, step: Step, reason: str, *, guard: Callable[[Path], None] = _let_pass
) -> bool:
    """Remove a step; return False if it is pinned or in use, and so is there still.

    `guard` is told where the step is: when nobody else has it, and again when nobody finds it by
    its name any more; it raises if the step is to stay.  Killed at any moment, this leaves a whole
    step, or what the next session removes or puts back.
    """
    with pins.taken(step.path) as is_free:
        if not is_free or pins.is_pinned(run, step.step):
            return False
        guard(step.path)
        _note_intent(run, step, reason)
        aside = run.removed_step(step.step)
        if aside.exists():  # of a removal that was broken off, before the step was saved again
            files.remove_tree(aside)
        files.rename(step.path, aside)
        files.sync_dir(run.training_state)
        goes = False
        try:
            guard(aside)
            goes = not pins.is_pinned(run, step.step)
        finally:
            if not goes:
                files.rename(aside, step.path)
                files.sync_dir(run.training_state)
        if goes:
            files.remove_tree(aside)
            files.sync_dir(run.training_state)
        return goes


def _note_intent(run: RunDir, step: Step, reason: str) -> None:
    proof = None if step.manifest is None else step.manifest["manifest_hash"]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"step": step.step, "manifest_hash": proof, "reason": reason, "time": now}
    jsonl.append(run.removals, record)


@dataclass(slots=True)
class Pruner:
    """Removes steps that no rule keeps; knows which steps this process has proven good.

    Only the holder of the run's lock may prune; to survey changes nothing.
    """

    run: RunDir
    run_id: str
    _proven: dict[int, str] = field(default_factory=dict)  # step to the hash of its manifest

    def note(self, step: Step) -> None:
        """Remember a step whose every byte was checked, or written, by this process."""
        if step.manifest is not None:
            self._proven[step.step] = step.manifest["manifest_hash"]

    def note_published(self, number: int) -> None:
        """Remember a step that this process has just acknowledged."""
        self.note(self._inspect(number, with_hashes=False))

    def survey(self, rules: Rules) -> list[Fate]:
        """Return what becomes of each step, ascending; reads the newest in full if one is to go."""
        found = self._look(rules)
        valid = [number for number, step in found.items() if step.is_valid]
        pinned = pins.list_pinned(self.run)
        going = plan(valid, pinned=pinned, rules=rules)
        in_use = {number for number in going if pins.is_in_use(found[number].path)}
        why = reasons_to_stay(valid, pinned=pinned, in_use=in_use, rules=rules)
        return [self._fate(step, why.get(number), rules) for number, step in found.items()]

    def prune(self, rules: Rules) -> list[Fate]:
        """Remove what no rule keeps, the oldest first; return what became of each step."""
        fates, refusals = [], []
        for fate in self.survey(rules):
            try:
                fates.append(self._carry_out(fate, rules))
            except StorageError as refusal:  # of this one; the others may go
                refusals.append(refusal)
        if refusals:
            raise refusals[0]
        return fates

    def prune_quickly(self, rules: Rules) -> list[Fate]:
        """Like `prune`, looking at no folder when the numbers alone say that none can go."""
        numbers = checkpoints.list_steps(self.run)
        if not plan(numbers, pinned=pins.list_pinned(self.run), rules=rules):
            return []
        return [fate for fate in self.prune(rules) if fate.goes]

    def _look(self, rules: Rules) -> dict[int, Step]:
        """Return all steps, ascending; those that let another go are checked byte for byte."""
        intent = rewind.pending(self.run)  # what is behind its step is on its way out already
        numbers = [
            number
            for number in checkpoints.list_steps(self.run)
            if intent is None or number <= intent.step
        ]
        found = {number: self._inspect(number, with_hashes=False) for number in numbers}
        valid = [number for number in numbers if found[number].is_valid]
        if not plan(valid, rules=rules):
            return found
        num_good = 0
        for number in reversed(valid):
            if not self._is_proven(found[number]):
                found[number] = self._inspect(number, with_hashes=True)
                self.note(found[number])
            num_good += found[number].is_valid
            if num_good == rules.num_latest:
                break
        return found

    def _inspect(self, number: int, *, with_hashes: bool) -> Step:
        return checkpoints.inspect(self.run, number, run_id=self.run_id, with_hashes=with_hashes)

    def _is_proven(self, step: Step) -> bool:
        proof = self._proven.get(step.step)
        return step.manifest is not None and step.manifest["manifest_hash"] == proof

    def _fate(self, step: Step, why: Sequence[str] | None, rules: Rules) -> Fate:
        size = checkpoints.num_bytes(step.path)
        if step.is_foreign:
            return Fate(step.step, False, "another tool's; left alone", size)
        if why is None:
            return Fate(step.step, False, f"does not verify ({step.problem}); left alone", size)
        if not why:
            return Fate(step.step, True, f"not kept by {rules}", size)
        return Fate(step.step, False, ", ".join(why), size)

    def _carry_out(self, fate: Fate, rules: Rules) -> Fate:
        if not fate.goes:
            return fate
        step = self._inspect(fate.step, with_hashes=False)
        if remove_step(self.run, step, str(rules)):
            return fate
        return Fate(fate.step, False, "pinned or in use meanwhile", fate.num_bytes)


def pin(
    run: RunDir, number: int, *, run_id: str, sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Keep a step from being removed; return False if it was pinned already.

    Needs no lock on the run: the pin is written first, and the step looked for afterwards, in full.
    Raises RunNotFoundError if it is not there, DamagedError if it does not verify; then nothing is
    pinned that was not before.  Another tool's step need not verify.
    """
    is_new = pins.write_pin(run, number)
    try:
        require_good(run, number, run_id=run_id, sleep=sleep)
    except BaseException:
        if is_new:
            pins.remove_pin(run, number)
        raise
    return is_new


def require_good(
    run: RunDir, number: int, *, run_id: str, sleep: Callable[[float], None] = time.sleep
) -> Step:
    """Return a step after checking every byte; another tool's as it is.

    Raises RunNotFoundError if it is not there, DamagedError if it does not verify.
    """
    try:
        with pins.hold(run.step(number), sleep=sleep):
            step = checkpoints.inspect(run, number, run_id=run_id, with_hashes=True)
    except RunNotFoundError:  # none of ours at least: those have a manifest to hold
        step = checkpoints.inspect(run, number, run_id=run_id, with_hashes=True)
        if not step.path.is_dir():
            known = ", ".join(map(str, checkpoints.list_steps(run))) or "none"
            raise RunNotFoundError(
                f"run '{run.name}' has no step {number}; it has {known}"
            ) from None
    if not step.is_valid and not step.is_foreign:
        raise DamagedError(
            f"step {number} of run '{run.name}' does not verify: {step.problem}; "
            f"'rlrun verify {run.name}' tells which steps do"
        )
    return step
