"""Ask an engine for what is missing, keep each answer as it comes, and outlive the engine's faults.

An engine that dies or hangs is started again and the work goes on.  What an attempt adds is kept,
so only attempts that add nothing count against a checkpoint; after the second it is given up.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from rlrun.engines.client import EngineProcess
from rlrun.engines.proof import prove_live
from rlrun.engines.spec import EngineInfo, Failure, GenerateRequest
from rlrun.errors import AdapterError, EngineError, RunNotFoundError
from rlrun.evaluation import records, targets
from rlrun.evaluation.folder import EvalFolder
from rlrun.evaluation.plan import Plan, completion_seed
from rlrun.evaluation.records import Keeper, Key, Record
from rlrun.evaluation.targets import Target
from rlrun.types import Completion, Prompt, Task

NUM_CHANCES = 2

_Answer = TypeVar("_Answer")


class Watcher(Protocol):
    """Somebody who is told what happens."""

    def engine_starts(self) -> None:
        """Say that an engine is being started, which takes a while."""
        ...

    def engine_ready(self, info: EngineInfo, seconds: float) -> None:
        """Say that it is up."""
        ...

    def engine_failed(self, reason: str) -> None:
        """Say that it died or hung; it is started again."""
        ...

    def begins(self, target: Target, num_missing: int, num_kept: int) -> None:
        """Say that a checkpoint's turn has come."""
        ...

    def completed(self, target: Target, record: Record) -> None:
        """Say that a completion is kept."""
        ...

    def ends(self, target: Target, found: Mapping[Key, Record]) -> None:
        """Say that all of a checkpoint's completions are there."""
        ...

    def gives_up(self, label: str, reason: str) -> None:
        """Say that a checkpoint cannot be scored."""
        ...


class Engines:
    """At most one engine at a time, started when it is asked for, and again after it was lost."""

    def __init__(self, start: Callable[[Path | None], EngineProcess], watcher: Watcher) -> None:
        self._start = start
        self._watcher = watcher
        self._engine: EngineProcess | None = None
        self._model: Path | None = None
        self._num_loads = 0
        self.num_starts = 0
        self.start_seconds = 0.0

    def first(self, ask: Callable[[EngineProcess], _Answer]) -> tuple[EngineInfo, _Answer]:
        """Return what an engine of the base says of itself, and its answer to a first question.

        Raises EngineError if it fails at that a second time.
        """
        for chance in range(NUM_CHANCES):
            engine = self.of(None)
            try:
                answer = ask(engine)
            except EngineError as error:
                self.discard()
                if chance == NUM_CHANCES - 1:
                    raise
                self._watcher.engine_failed(str(error))
            else:
                break
        return engine.info, answer

    def new_name(self, target: Target) -> str:
        """Return a name for loading an adapter; no engine has heard it: caches go by names."""
        self._num_loads += 1
        return f"{target.adapter_name}@{self._num_loads}"

    def of(self, model: Path | None) -> EngineProcess:
        """Return a running engine of a model; None is the run's base."""
        if self._engine is not None and self._model == model:
            return self._engine
        self.discard()
        self._engine, self._model = self._started(model), model
        return self._engine

    def _started(self, model: Path | None) -> EngineProcess:
        """Return an engine that is up; one that fails at its start has a second chance."""
        for chance in range(NUM_CHANCES):
            self._watcher.engine_starts()
            began = time.monotonic()
            self.num_starts += 1
            try:
                engine = self._start(model)
            except EngineError as error:
                if chance == NUM_CHANCES - 1:
                    raise
                self._watcher.engine_failed(str(error))
            else:
                seconds = time.monotonic() - began
                self.start_seconds += seconds
                self._watcher.engine_ready(engine.info, seconds)
                break
        return engine

    def discard(self) -> None:
        """End the engine, if there is one, with everything that it started; it holds no answers."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.kill()


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked, and where the answers go."""

    folder: EvalFolder
    plan: Plan
    prompts: Mapping[str, Prompt]  # by id
    token_ids: Mapping[str, tuple[int, ...]]  # by id
    task: Task
    grader: str  # hash of the code that grades
    max_adapters: int

    def kept(self, target: Target) -> dict[Key, Record]:
        """Return the records of a target."""
        path = self.folder.step(target.label).completions
        return records.read(path, model=target.model_hash, plan=self.plan.hash)

    def missing(self, kept: Mapping[Key, Record]) -> list[Key]:
        """Return what is still to be generated, sample by sample, so that all questions advance."""
        samples = range(self.plan.asked.num_samples)
        keys = [(name, sample) for sample in samples for name in self.plan.asked.question_ids]
        return [key for key in keys if key not in kept or kept[key].text is None]

    def was_tried(self, target: Target) -> bool:
        """Return whether there is a record of each completion, if only of the engine's failure."""
        num_wanted = self.plan.asked.num_samples * len(self.plan.asked.question_ids)
        return len(self.kept(target)) == num_wanted


@dataclass(slots=True)
class _Progress:
    """How far a target has come in this command."""

    target: Target
    kept: dict[Key, Record]
    num_vain: int = 0  # attempts that added nothing
    adapter: str | None = None  # the name that the engine has it under


def score(job: Job, wanted: Sequence[Target], engines: Engines, watcher: Watcher) -> dict[str, str]:
    """Have every target scored, and return why each that could not be was given up, by label.

    Raises StorageError where the answers cannot be kept, EngineError if no engine starts.
    """
    given_up: dict[str, str] = {}
    for model, group in _by_engine(wanted):
        progress = [_Progress(target, job.kept(target)) for target in group]
        _Group(job, engines, watcher, model).work(progress, given_up)
    return given_up


def _by_engine(wanted: Sequence[Target]) -> Iterator[tuple[Path | None, list[Target]]]:
    """Yield what one engine can score: the base with all adapters, then each full model."""
    shared = [target for target in wanted if target.kind != "model"]
    if shared:
        yield None, shared
    for target in wanted:
        if target.kind == "model":
            yield target.folder, [target]


class _Group:
    """The targets that share one engine's model."""

    def __init__(self, job: Job, engines: Engines, watcher: Watcher, model: Path | None) -> None:
        self._job = job
        self._engines = engines
        self._watcher = watcher
        self._model = model

    def work(self, waiting: list[_Progress], given_up: dict[str, str]) -> None:
        width = self._job.max_adapters
        for progress in waiting:
            self._watcher.begins(progress.target, self._num_left(progress), len(progress.kept))
        waiting = [one for one in waiting if self._is_open(one, given_up)]
        while waiting:
            batch = waiting[:width]
            before = [self._num_left(progress) for progress in batch]
            failure = self._attempt(batch, given_up)
            if failure is not None:
                self._watcher.engine_failed(failure)
                width = 1  # so that the next failure has one to blame
            for progress, num_left in zip(batch, before, strict=True):
                self._settle(progress, num_left, len(batch), failure, given_up)
            waiting = [one for one in waiting if self._is_open(one, given_up)]

    def _num_left(self, progress: _Progress) -> int:
        return len(self._job.missing(progress.kept))

    def _is_open(self, progress: _Progress, given_up: Mapping[str, str]) -> bool:
        is_given_up = progress.target.label in given_up or progress.num_vain >= NUM_CHANCES
        return not is_given_up and self._num_left(progress) > 0

    def _settle(
        self,
        progress: _Progress,
        num_before: int,
        num_in_batch: int,
        failure: str | None,
        given_up: dict[str, str],
    ) -> None:
        """Say that a target is done, or count an attempt that was in vain."""
        target, left = progress.target, self._num_left(progress)
        if target.label in given_up:
            return
        if left == 0:
            self._watcher.ends(target, progress.kept)
            return
        is_to_blame = failure is None or num_in_batch == 1
        if left == num_before and is_to_blame:
            progress.num_vain += 1
        if progress.num_vain >= NUM_CHANCES:
            self._give_up(target, failure or self._refusals(progress), given_up)

    def _refusals(self, progress: _Progress) -> str:
        reasons = Counter(one.reason for one in progress.kept.values() if one.text is None)
        reason, _ = reasons.most_common(1)[0]
        left = self._num_left(progress)
        return f"the engine failed {NUM_CHANCES} times at {left} of its completions: {reason}"

    def _give_up(self, target: Target, reason: str, given_up: dict[str, str]) -> None:
        given_up[target.label] = reason
        self._watcher.gives_up(target.label, reason)

    def _attempt(self, batch: Sequence[_Progress], given_up: dict[str, str]) -> str | None:
        """Generate what a batch lacks; return why the engine failed, if it did."""
        engine = self._engine(batch, given_up)
        if engine is None:
            return None
        try:
            ready = [one for one in batch if self._prepare(engine, one, given_up)]
            self._generate(engine, ready)
            for one in ready:
                if one.adapter is not None:
                    engine.unload_adapter(one.adapter)
        except EngineError as error:
            self._engines.discard()
            return str(error)
        return None

    def _engine(self, batch: Sequence[_Progress], given_up: dict[str, str]) -> EngineProcess | None:
        """Return the engine; None if it cannot load the checkpoint that it would be of.

        Raises EngineError if that of the base cannot be started.
        """
        if self._model is None:
            return self._engines.of(None)
        (one,) = batch
        try:
            with targets.held(one.target):
                return self._engines.of(self._model)
        except (EngineError, RunNotFoundError) as error:
            self._give_up(one.target, str(error), given_up)
            return None

    def _prepare(
        self, engine: EngineProcess, progress: _Progress, given_up: dict[str, str]
    ) -> bool:
        """Load an adapter and prove that it is live; return False if it cannot be."""
        target, progress.adapter = progress.target, None
        if target.kind != "adapter" or target.folder is None:
            return True
        name = self._engines.new_name(target)
        try:
            with targets.held(target):
                self._load(engine, name, target.folder)
        except (AdapterError, RunNotFoundError) as error:
            self._give_up(target, str(error), given_up)
            return False
        progress.adapter = name
        return True

    def _load(self, engine: EngineProcess, name: str, folder: Path) -> None:
        probe = next(iter(self._job.token_ids.values()))
        engine.load_adapter(name, folder)
        try:
            prove_live(engine, name, folder, probe, self._job.folder.scratch)
        except AdapterError:
            engine.unload_adapter(name)
            raise

    def _generate(self, engine: EngineProcess, batch: Sequence[_Progress]) -> None:
        asked: dict[str, tuple[_Progress, Key]] = {}
        for progress in batch:
            for key in self._job.missing(progress.kept):
                asked[str(len(asked))] = progress, key
        with ExitStack() as stack:
            keepers = {
                label: stack.enter_context(
                    closing(Keeper(self._job.folder.step(label).completions))
                )
                for label in (one.target.label for one in batch)
            }
            last = time.monotonic()
            for name, answer in engine.generate(self._requests(asked)):
                progress, key = asked[name]
                now = time.monotonic()
                record = self._record(progress.target, key, answer, now - last)
                last = now
                keepers[progress.target.label].keep(record)
                progress.kept[key] = record
                self._watcher.completed(progress.target, record)

    def _requests(self, asked: Mapping[str, tuple[_Progress, Key]]) -> Iterator[GenerateRequest]:
        plan = self._job.plan.asked
        for name, (progress, (question, sample)) in asked.items():
            yield GenerateRequest(
                id=name,
                adapter=progress.adapter,
                token_ids=self._job.token_ids[question],
                seed=completion_seed(plan, question, sample),
                temperature=plan.temperature,
                max_completion_tokens=plan.max_completion_tokens,
            )

    def _record(
        self, target: Target, key: Key, answer: Completion | Failure, seconds: float
    ) -> Record:
        question, sample = key
        record = Record(
            model=target.model_hash,
            plan=self._job.plan.hash,
            question=question,
            sample=sample,
            seed=completion_seed(self._job.plan.asked, question, sample),
            verdict="engine_error",
            seconds=seconds,
            reason=answer.reason if isinstance(answer, Failure) else None,
        )
        if isinstance(answer, Failure):
            return record
        return records.completed(
            record, answer, self._job.prompts[question], self._job.task, self._job.grader
        )
