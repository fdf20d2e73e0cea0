"""The options of `rlrun eval`, and the request that they make."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from rlrun.config.load import apply_overrides, load_config
from rlrun.config.schema import RunConfig
from rlrun.engines.interpreters import can_start_vllm
from rlrun.engines.spec import EngineName
from rlrun.errors import RunNotFoundError, UsageError
from rlrun.evaluation import request, targets
from rlrun.evaluation.plan import BASE_STEP
from rlrun.evaluation.request import Request
from rlrun.runs import store
from rlrun.runs.layout import RunDir, find_root

AllStepsOption = Annotated[
    bool, typer.Option("--all-steps", help="Score every checkpoint of the run.")
]
WhichStepsOption = Annotated[
    str | None,
    typer.Option("--steps", metavar="N,N", help="Score these steps.", show_default=False),
]
PathOption = Annotated[
    Path | None,
    typer.Option(
        "--ckpt-path",
        metavar="FOLDER",
        help="Score a PEFT or Hugging Face folder, of a run or not.",
        show_default=False,
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="RECIPE",
        help="With --ckpt-path: whose model, task and lengths are meant; RUN's if not given.",
        show_default=False,
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Another task, or a folder with test.jsonl; the run's own task if not given.",
        show_default=False,
    ),
]
ShareOption = Annotated[
    float | None,
    typer.Option(
        "--subset-frac", metavar="SHARE", help="Ask this share of the questions.",
        show_default=False,
    ),
]  # fmt: skip
MaxQuestionsOption = Annotated[
    int | None,
    typer.Option("--max-samples", metavar="N", help="Ask at most N questions.", show_default=False),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        "--samples", metavar="K", help="Completions a question (with --temperature).",
        show_default=False,
    ),
]  # fmt: skip
TemperatureOption = Annotated[
    float | None,
    typer.Option("--temperature", metavar="T", help="0 is greedy.", show_default=False),
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", metavar="ENGINE", help="auto, vllm or torch.", show_default=False),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", help="Kill an engine that is silent for so long.",
        show_default=False,
    ),
]  # fmt: skip
BaselineOption = Annotated[
    bool | None,
    typer.Option(
        "--baseline/--no-baseline", help="Score what step 1 started from, too.",
        show_default=False,
    ),
]  # fmt: skip
WatchOption = Annotated[
    bool, typer.Option("--watch", help="Follow the run: score each new checkpoint.")
]
RescoreOption = Annotated[
    bool,
    typer.Option("--rescore", help="Grade stored completions again; no engine is started."),
]

_ONE_BOUND = ("subset_frac", "max_samples")


@dataclass(frozen=True, slots=True)
class Which:
    """Which models a command line means."""

    name: str | None
    is_all: bool
    steps: str | None
    path: Path | None
    config: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the models are: a run, or a folder of none."""

    run: RunDir | None
    steps: tuple[int, ...] | None  # None: all
    path: Path | None


def request_of(
    which: Which, settings: Mapping[str, Any], dataset: str | None, device: str, root: Path | None
) -> Request:
    """Return what is to be evaluated; `settings` are those of `eval` that were given, or None.

    Raises UsageError unless exactly one way of saying what to score was used, RunNotFoundError if
    there is no such run or folder.
    """
    ways = [which.is_all, which.steps is not None, which.path is not None]
    if sum(ways) != 1:
        raise UsageError(
            "say what to score: --all-steps, or --steps 1,5,10, or --ckpt-path FOLDER (one of them)"
        )
    if which.config is not None and which.path is None:
        raise UsageError("--config goes with --ckpt-path; a run has its own configuration")
    place = _place(which, find_root(root))
    own = _config_of(place, which)
    wanted = apply_overrides(own, _overrides(settings))
    return Request(
        root=find_root(root),
        name=place.run.name if place.run else targets.name_of_path(place.path or Path()),
        config=wanted,
        is_own=dataset is None and _is_own(own, wanted),
        run=place.run,
        steps=place.steps,
        path=place.path,
        dataset=dataset,
        device=device,
    )


def _numbers(text: str) -> tuple[int, ...]:
    """Return the steps of `1,5,10`; UsageError for anything else."""
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise UsageError(f"--steps takes numbers such as 1,5,10, not {text!r}")
    return tuple(int(word) for word in words)


def _overrides(settings: Mapping[str, Any]) -> list[str]:
    """Return what the command line sets; one way to bound the questions replaces the other."""
    given = {key: value for key, value in settings.items() if value is not None}
    if sum(key in given for key in _ONE_BOUND) == 1:
        given = {**dict.fromkeys(_ONE_BOUND, "null"), **given}
    return [f"eval.{key}={value}" for key, value in given.items()]


def _place(which: Which, root: Path) -> _Place:
    """Return where the models are; a folder that is a run's checkpoint is that step."""
    if which.path is None:
        steps = None if which.steps is None else _numbers(which.steps)
        return _Place(store.find_run(root, which.name), steps, None)
    if which.config is not None:
        return _Place(None, None, which.path)
    owner = targets.run_of_path(which.path)
    if owner is not None and which.name in (None, owner[0].name) and owner[1] != BASE_STEP:
        return _Place(owner[0], (owner[1],), None)
    return _Place(store.find_run(root, which.name), None, which.path)


def _config_of(place: _Place, which: Which) -> RunConfig:
    """Return the configuration whose model, task and lengths are meant."""
    if place.run is not None and not place.run.config.is_file():
        raise RunNotFoundError(
            f"run '{place.run.name}' has no config.yaml, so its model and task are not known; give "
            "'--ckpt-path FOLDER --config RECIPE', a recipe that names them"
        )
    source = which.config if place.run is None else str(place.run.config)
    return load_config(source, ()).config


def _is_own(own: RunConfig, wanted: RunConfig) -> bool:
    """Return whether the plan is what the configuration alone would make it."""
    is_same = request.plan_settings(own) == request.plan_settings(wanted)
    return is_same and resolved_engine(own)[0] == resolved_engine(wanted)[0]


def resolved_engine(config: RunConfig) -> tuple[EngineName, str]:
    """Return the engine to use, and why `auto` did not come to vLLM."""
    if config.eval.engine != "auto":
        return config.eval.engine, ""
    can_start, reason = can_start_vllm(config.eval.python, os.environ)
    return ("vllm", "") if can_start else ("torch", reason)
