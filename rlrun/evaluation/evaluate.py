"""Evaluate: from a request to numbers on disk, with an engine only if something is missing."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rlrun.engines.client import EngineProcess
from rlrun.engines.spec import EngineInfo, EngineSpec
from rlrun.errors import ConfigError
from rlrun.evaluation import folder as folders
from rlrun.evaluation import plan as plans
from rlrun.evaluation import report, rescore, work
from rlrun.evaluation.folder import EvalFolder
from rlrun.evaluation.plan import Found, Plan
from rlrun.evaluation.request import Prepared, spec_of
from rlrun.evaluation.work import Engines, Job, Watcher

Starter = Callable[[EngineSpec, Path], EngineProcess]
"""Makes an engine of a spec that logs to a file; it is not running yet."""

TokenIds = Mapping[str, tuple[int, ...]]
"""Encoded questions, by id."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Where it is kept, and what could not be scored."""

    folder: EvalFolder
    plan: Plan
    labels: tuple[str, ...]  # of all that was asked for
    scored: tuple[str, ...]  # of those whose numbers are in the tables
    given_up: Mapping[str, str]  # why, by label
    num_starts: int  # of engines; 0: everything was there
    start_seconds: float  # until they were up


class Evaluation:
    """An evaluation that goes on while checkpoints come; at most one engine at a time."""

    def __init__(self, prepared: Prepared, start: Starter, watcher: Watcher) -> None:
        self._prepared = prepared
        self._watcher = watcher
        request = prepared.request
        log = folders.engine_log(request.root, request.name, prepared.asked.dataset)
        self._engines = Engines(lambda model: start(spec_of(self._prepared, model), log), watcher)
        self._labels: dict[str, bool] = {}  # of all that was asked for: whether it has numbers
        self._stack = ExitStack()
        self._stack.callback(self._engines.discard)
        self._job: Job | None = None

    def __enter__(self) -> "Evaluation":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def evaluate(self, prepared: Prepared) -> Evaluated:
        """Have everything scored that is not, and return where it is.

        Raises UsageError if stored completions were graded by other code, LockedError if another
        process evaluates into the same folder, EngineError if no engine starts, StorageError where
        the answers cannot be kept.
        """
        self._prepared = prepared
        if self._job is None:
            done = self._without_engine()
            if done is not None:
                return done
            self._job = self._job_with_engine()
        return self._scored(self._job)

    def _without_engine(self) -> Evaluated | None:
        """Return what is there, if nothing is missing."""
        request = self._prepared.request
        known = folders.find_asked(
            request.root,
            request.name,
            self._prepared.asked,
            model_path=request.config.model.path,
            device=request.device,
        )
        if known is None:
            return None
        job = self._new_job(*known, token_ids={})
        if any(job.missing(job.kept(target)) for target in self._prepared.wanted):
            return None
        with folders.held(job.folder):
            return self._scored(job)

    def _scored(self, job: Job) -> Evaluated:
        prepared = self._prepared
        rescore.require_one_grader(job)
        rescore.retry_checks(job, prepared.wanted)
        given_up = {one.label: one.reason for one in prepared.unusable}
        given_up |= work.score(job, prepared.wanted, self._engines, self._watcher)
        scored = report.write(job, [one for one in prepared.wanted if job.was_tried(one)])
        unusable = [one.label for one in prepared.unusable]
        for label in (*unusable, *(one.label for one in prepared.wanted)):
            self._labels[label] = label in scored
        return Evaluated(
            job.folder,
            job.plan,
            tuple(self._labels),
            tuple(label for label, is_scored in self._labels.items() if is_scored),
            given_up,
            self._engines.num_starts,
            self._engines.start_seconds,
        )

    def _job_with_engine(self) -> Job:
        prepared, request = self._prepared, self._prepared.request
        info, token_ids = self._engines.first(lambda engine: _encoded(prepared, engine))
        plan = Plan(prepared.asked, _found(info, token_ids), request.config.model.path)
        folder = self._stack.enter_context(
            folders.held_for(
                request.root,
                request.name,
                plan,
                prepared.questions.prompts,
                is_own=request.is_own,
            )
        )
        return self._new_job(folder, plan, token_ids)

    def _new_job(self, folder: EvalFolder, plan: Plan, token_ids: TokenIds) -> Job:
        chosen = self._prepared.questions
        return Job(
            folder=folder,
            plan=plan,
            prompts={prompt.id: prompt for prompt in chosen.prompts},
            token_ids=token_ids,
            task=chosen.task,
            grader=chosen.grader,
            max_adapters=self._prepared.request.config.eval.max_adapters,
        )


def _encoded(prepared: Prepared, engine: EngineProcess) -> dict[str, tuple[int, ...]]:
    """Return the token ids of the questions; ConfigError if some do not fit."""
    prompts, limit = prepared.questions.prompts, prepared.asked.max_prompt_tokens
    encoded = dict(zip((one.id for one in prompts), engine.encode(prompts), strict=True))
    too_long = {name: len(ids) for name, ids in encoded.items() if len(ids) > limit}
    if too_long:
        name, length = max(too_long.items(), key=lambda item: item[1])
        raise ConfigError(
            f"sampling.max_prompt_tokens={limit}: {len(too_long)} of {len(encoded)} questions are "
            f"longer; the longest, {name}, needs {length}"
        )
    return encoded


def _found(info: EngineInfo, token_ids: TokenIds) -> Found:
    return Found(
        prompts_hash=plans.prompts_hash(token_ids),
        weights_hash=info.weights_hash,
        tokenizer_hash=info.tokenizer_hash,
        device=info.device,
    )
