"""`rlrun eval`: score checkpoints on held-out questions, in a process of its own."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlrun.cli import eval_options as given
from rlrun.cli import options, restore, scoreboard, sentences, show, text
from rlrun.cli.archive_options import FROM, FromOption, Reach, RestoreOption, refuse_without
from rlrun.cli.eval_options import Which, request_of, resolved_engine
from rlrun.cli.eval_view import EvalView
from rlrun.cli.options import DeviceOption, JsonOption, RootOption, RunArgument
from rlrun.config.schema import RunConfig
from rlrun.engines.client import EngineProcess
from rlrun.engines.spec import EngineSpec
from rlrun.errors import (
    EXIT_DONE,
    EXIT_STOPPED_EARLY,
    EXIT_STOPPED_NOW,
    SomeFailedError,
    UsageError,
)
from rlrun.evaluation import report, request, rescore
from rlrun.evaluation.evaluate import Evaluated, Evaluation
from rlrun.evaluation.plan import BASE_STEP
from rlrun.evaluation.request import Prepared, Request
from rlrun.runs import checkpoints
from rlrun.runs.layout import RunDir
from rlrun.sessions import state

POLL_SECONDS = 5.0
"""How often a run that is followed is looked at."""


def evaluate(
    name: RunArgument = None,
    all_steps: given.AllStepsOption = False,
    steps: given.WhichStepsOption = None,
    ckpt_path: given.PathOption = None,
    config: given.RecipeOption = None,
    dataset: given.DatasetOption = None,
    subset_frac: given.ShareOption = None,
    max_samples: given.MaxQuestionsOption = None,
    samples: given.SamplesOption = None,
    temperature: given.TemperatureOption = None,
    engine: given.EngineOption = None,
    device: DeviceOption = "auto",
    timeout: given.TimeoutOption = None,
    baseline: given.BaselineOption = None,
    is_watching: given.WatchOption = False,
    is_rescoring: given.RescoreOption = False,
    is_restoring: RestoreOption = False,
    from_archive: FromOption = None,
    as_json: JsonOption = False,
    root: RootOption = None,
) -> int:
    """Score checkpoints of a run on questions that it was not trained on.

    All of them in one start of the engine, each on the same questions, so that steps are compared
    pairwise.  What is stored is never generated again: the same command goes on where it was
    stopped, and has nothing to do when all is there.

    Exit codes: 0 all scored, 12 some could not be, 75 stopped with what is done kept.
    """
    settings: dict[str, Any] = {
        "subset_frac": subset_frac,
        "max_samples": max_samples,
        "num_samples": samples,
        "temperature": temperature,
        "engine": engine,
        "timeout_seconds": timeout,
        "has_baseline": baseline,
    }
    is_all = all_steps or is_watching or (is_rescoring and steps is None and ckpt_path is None)
    which = Which(name, is_all, steps, ckpt_path, config)
    asked = request_of(which, settings, dataset, options.device_of(device), root)
    reach = Reach(from_archive, root=root, option=FROM)
    if not bring_back(asked, reach, is_asked=is_restoring):
        return EXIT_STOPPED_NOW
    if is_rescoring:
        return _rescore(asked, root, as_json=as_json)
    return _evaluate(asked, root, is_watching=is_watching, as_json=as_json)


def bring_back(asked: Request, reach: Reach, *, is_asked: bool) -> bool:
    """Have the steps that are named here, if that is asked for; False if the user stops that."""
    refuse_without("--restore", is_given=is_asked, from_archive=reach.place)
    if is_asked and not asked.steps:
        raise UsageError("--restore goes with --steps N,N; name the steps that are to be fetched")
    if asked.run is None:
        return True
    steps = [step for step in asked.steps or () if step != BASE_STEP]
    return restore.bring_back(asked.run, steps, reach, is_asked=is_asked)


@dataclass(frozen=True, slots=True)
class Done:
    """What was asked for, and what came of it."""

    prepared: Prepared
    evaluated: Evaluated


def _evaluate(asked: Request, root: Path | None, *, is_watching: bool, as_json: bool) -> int:
    with show.meter() as meter:
        view = EvalView(meter, asked.name)
        try:
            done = _work(asked, view, is_watching=is_watching)
        except KeyboardInterrupt:
            view.stopped()
            return EXIT_STOPPED_EARLY
    return _show(asked, done, root, as_json=as_json)


def _work(asked: Request, view: EvalView, *, is_watching: bool) -> Done:
    engine, reason = resolved_engine(asked.config)
    if reason:
        view.say(f"engine: torch, which is slower than vLLM ({reason})")
    looks = _looks(asked.run, view) if asked.run and is_watching else iter([None])
    next(looks)
    prepared = request.prepare(asked, engine)
    view.plan(prepared, scoreboard.plan_lines(prepared))
    if not prepared.wanted:
        reasons = {one.label: one.reason for one in prepared.unusable}
        raise SomeFailedError(scoreboard.failures(reasons, len(reasons)))
    with Evaluation(prepared, starter(asked.config), view) as evaluation:
        done = evaluation.evaluate(prepared)
        for _ in looks:
            latest = request.prepare(asked, engine)
            if latest != prepared:
                prepared = latest
                done = evaluation.evaluate(prepared)
    if done.num_starts == 0 and not done.given_up:
        view.say("nothing to do: every completion is there already")
    return Done(prepared, done)


def _looks(run: RunDir, view: EvalView) -> Iterator[None]:
    """Yield whenever a run has other checkpoints than before, and last when it has ended."""
    known: list[int] = []
    is_over = False
    while not is_over:
        is_over = state.summarise(run).status != "running"  # what is saved until here is seen below
        there = checkpoints.list_steps(run)
        if is_over or there not in (known, []):
            known = there
            yield
        else:
            view.waits()
            time.sleep(POLL_SECONDS)


def starter(config: RunConfig) -> Callable[[EngineSpec, Path], EngineProcess]:
    """Return what makes the engines of an evaluation."""

    def start(spec: EngineSpec, log: Path) -> EngineProcess:
        return EngineProcess(
            spec,
            python=config.eval.python,
            log=log,
            timeout_seconds=config.eval.timeout_seconds,
        )

    return start


def _show(asked: Request, done: Done, root: Path | None, *, as_json: bool) -> int:
    evaluated = done.evaluated
    found = report.read(evaluated.folder)
    if as_json:
        show.json_result(scoreboard.as_data(asked, evaluated, found))
    else:
        scoreboard.show_steps(found, evaluated)
    if evaluated.given_up:
        raise SomeFailedError(scoreboard.failures(evaluated.given_up, len(evaluated.labels)))
    if not as_json:
        show.hints(sentences.commands_with_root(scoreboard.next_commands(asked, found), root))
    return EXIT_DONE


def _rescore(asked: Request, root: Path | None, *, as_json: bool) -> int:
    """Grade everything that is stored of a run again."""
    found = rescore.rescore_run(asked)
    if as_json:
        show.json_result({"run": asked.name, "rescored": [asdict(one) for one in found]})
        return EXIT_DONE
    for one in found:
        show.out(
            f"{one.folder} {one.label}: {text.count(one.num_graded, 'completion')} graded again, "
            f"{one.num_gained} became correct, {one.num_lost} no longer are"
        )
    show.hints(sentences.commands_with_root([f"eval {asked.name} --all-steps"], root))
    return EXIT_DONE
