"""A fake engine that answers sums: the more often right, the larger the adapter's alpha.

FAKE_ENGINE holds JSON, beside what the fake engine knows of it:

    log            a file that receives a line for each completion that is asked for
    starts         a file that receives a line for each engine: its model, its process and group
    fail           questions that are never completed
    fail_once      a file: the question in it fails once, and then the file is removed
    refuse         labels of checkpoints whose adapters are refused
    die_for        labels of checkpoints in front of whose completions the process ends
    refuse_start   why no engine starts; or of which model_path only: [path, why]
    once           a file that is removed when `at_step` misbehaves; where it is not, all is well
"""

import json
import os
from pathlib import Path
from typing import Any

from rlrun.engines import serve
from rlrun.engines.serve import Refused
from rlrun.engines.spec import EngineSpec, Failure, GenerateRequest
from rlrun.seeds import uniforms
from rlrun.types import Completion
from support.fake_engine import FakeBackend


class FakeScorer(FakeBackend):
    """Answers "12+34=" with "46", or one more; the log of what was asked outlives it."""

    def __init__(self, spec: EngineSpec, behaviour: dict[str, Any]) -> None:
        if not _takes(behaviour.get("once")):
            behaviour = {**behaviour, "at_step": None}
        super().__init__(spec, behaviour)
        _note(behaviour.get("starts"), f"{spec.model_path} {os.getpid()} {os.getpgrp()}")
        self._full_alpha = _alpha_of_model(Path(spec.model_path))
        refusal = behaviour.get("refuse_start")
        path, why = refusal if isinstance(refusal, list) else (spec.model_path, refusal)
        if why and path == spec.model_path:
            raise Refused(why)

    def load(self, name: str, folder: Path) -> None:
        if _label(name) in self._behaviour.get("refuse", ()):
            raise Refused("it is refused")
        super().load(name, folder)

    def generate(self, number: int, request: GenerateRequest) -> None:
        super().generate(number, request)
        question = "".join(map(chr, request.token_ids))
        _note(self._behaviour.get("log"), f"{request.adapter} {question} {request.seed}")
        if _label(request.adapter or "") in self._behaviour.get("die_for", ()):
            os._exit(3)
        fails = question in self._behaviour.get("fail", ()) or self._fails_once(question)
        result = Failure("it fails") if fails else self._answer(question, request)
        self._asked[-1] = (number, result)

    def _fails_once(self, question: str) -> bool:
        path = Path(self._behaviour.get("fail_once", "/nowhere"))
        return path.exists() and path.read_text() == question and _takes(str(path))

    def _answer(self, question: str, request: GenerateRequest) -> Completion:
        alpha = self._adapters[request.adapter] if request.adapter else self._full_alpha
        (draw,) = uniforms(request.seed, "answer", question, count=1)
        left, right = question.removesuffix("=").split("+")
        text = str(int(left) + int(right) + (0 if draw < 0.2 + alpha / 100 else 1))
        tokens = tuple(map(ord, text))
        return Completion(tokens, text, (-0.5,) * len(tokens), "stop")


def _label(name: str) -> str:
    return name.partition("@")[0]


def _alpha_of_model(folder: Path) -> float:
    """Return what stands for a full model's training: the `alpha` in its config.json."""
    path = folder / "config.json"
    return float(json.loads(path.read_text()).get("alpha", 0.0)) if path.is_file() else 0.0


def _takes(path: str | None) -> bool:
    """Return whether something is to happen: always, or once, while there is a file."""
    if path is None:
        return True
    try:
        Path(path).unlink()
    except FileNotFoundError:
        return False
    return True


def _note(path: str | None, line: str) -> None:
    if path is not None:
        with Path(path).open("a") as file:
            file.write(f"{line}\n")


def main() -> None:
    behaviour = json.loads(os.environ.get("FAKE_ENGINE", "{}"))
    serve.serve(lambda spec: FakeScorer(spec, behaviour))


if __name__ == "__main__":
    main()
