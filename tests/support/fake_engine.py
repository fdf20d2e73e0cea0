"""An engine that computes nothing: what it writes is a function of the request, and it misbehaves.

FAKE_ENGINE holds JSON:

    fail           ids of requests that end with a failure
    refuse         names of adapters that are refused
    ignore         names of adapters that are loaded and not applied
    step_seconds   how long a step takes
    start_seconds  how long the start takes
    refuse_start   why it does not start
    pids           a file that receives the process's number, and that of a child which sleeps
    do, at_step    what goes wrong, and in which step: see `_misbehave`
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rlrun.engines import pipes, serve
from rlrun.engines.pipes import Channel
from rlrun.engines.serve import Finished, Refused
from rlrun.engines.spec import EngineInfo, EngineSpec, Failure, GenerateRequest
from rlrun.seeds import uniforms
from rlrun.types import Completion

HANG_SECONDS = 3600.0


class FakeBackend:
    """Finishes one request a step, the first that was asked for."""

    channel: ClassVar[Channel]

    def __init__(self, spec: EngineSpec, behaviour: dict[str, Any]) -> None:
        self.info = EngineInfo(spec.engine, "1.0", "cpu", {"fake": "1.0"}, "w" * 64, "t" * 64, True)
        self.model_folder = Path("nowhere")
        self.num_tokens = 0
        self._behaviour = behaviour
        self._adapters: dict[str, float] = {}  # name -> what it adds
        self._asked: list[tuple[int, Any]] = []
        self._num_steps = 0

    @property
    def is_busy(self) -> bool:
        return bool(self._asked)

    def encode(self, question: str, instructions: str) -> Sequence[int]:
        return [ord(character) for character in instructions + question]

    def load(self, name: str, folder: Path) -> None:
        if name in self._behaviour.get("refuse", ()):
            raise Refused("it is refused")
        config = json.loads((folder / "adapter_config.json").read_text())
        is_applied = name not in self._behaviour.get("ignore", ())
        self._adapters[name] = config["lora_alpha"] if is_applied else 0.0

    def unload(self, name: str) -> None:
        del self._adapters[name]

    def score(self, number: int, adapter: str | None, token_ids: Sequence[int]) -> None:
        shift = self._adapters[adapter] if adapter else 0.0
        self._asked.append((number, tuple(-1.0 - shift / 10 for _ in token_ids[1:])))

    def generate(self, number: int, request: GenerateRequest) -> None:
        if request.adapter is not None and request.adapter not in self._adapters:
            raise Refused(f"there is no adapter named {request.adapter!r}")
        if request.id in self._behaviour.get("fail", ()):
            self._asked.append((number, Failure("it fails")))
            return
        self._asked.append((number, completion_of(request)))

    def step(self) -> Sequence[Finished]:
        self._num_steps += 1
        if self._num_steps == self._behaviour.get("at_step"):
            self._misbehave(self._behaviour["do"])
        time.sleep(self._behaviour.get("step_seconds", 0.0))
        number, result = self._asked.pop(0)
        if isinstance(result, Completion):
            self.num_tokens += len(result.token_ids)
        return [(number, result)]

    def abort(self) -> None:
        self._asked.clear()

    def _misbehave(self, how: str) -> None:
        if how == "idle":  # says that it is alive, and makes nothing
            self._say_alive(num_times=10**6, num_tokens=0)
        elif how == "work long":  # makes something for a second before it answers
            self._say_alive(num_times=10, num_tokens=1)
        elif how == "say garbage":
            self.channel.write_raw(b"Loading weights: 50%\n")
        elif how == "break off":
            self.channel.write_raw(b'{"number": 1, "do')
            os._exit(3)
        else:
            MISHAPS[how]()

    def _say_alive(self, num_times: int, num_tokens: int) -> None:
        for _ in range(num_times):
            time.sleep(0.1)
            self.num_tokens += num_tokens
            self.channel.write({"alive": self.num_tokens})


def crash() -> None:
    raise ValueError("it crashes")


def print_something() -> None:
    sys.stdout.write("a library says something\n")
    sys.stdout.flush()
    os.write(1, b"and so does its C code\n")


MISHAPS: dict[str, Callable[[], None]] = {
    "crash": crash,
    "exit": lambda: os._exit(3),
    "abort": os.abort,
    "hang": lambda: time.sleep(HANG_SECONDS),
    "print": print_something,
}


def completion_of(request: GenerateRequest) -> Completion:
    """Return what is written for a request: a function of all that it says but its id."""
    key = (request.adapter or "", *request.token_ids)
    draws = uniforms(request.seed, "fake", *key, count=request.max_completion_tokens)
    tokens = tuple(int(100 * draw) for draw in draws[: 1 + int(draws[0] * len(draws))])
    return Completion(tokens, " ".join(map(str, tokens)), tuple(-draw for draw in draws), "stop")


def start(spec: EngineSpec, behaviour: dict[str, Any]) -> FakeBackend:
    if "pids" in behaviour:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        Path(behaviour["pids"]).write_text(f"{os.getpid()} {child.pid}\n")
    time.sleep(behaviour.get("start_seconds", 0.0))
    if "refuse_start" in behaviour:
        raise Refused(behaviour["refuse_start"])
    return FakeBackend(spec, behaviour)


def remember_channel() -> None:
    """Let the backend say what it should not."""
    open_channel = pipes.open_channel

    def open_and_remember() -> Channel:
        FakeBackend.channel = open_channel()
        return FakeBackend.channel

    pipes.open_channel = open_and_remember


def main() -> None:
    behaviour = json.loads(os.environ.get("FAKE_ENGINE", "{}"))
    remember_channel()
    serve.serve(lambda spec: start(spec, behaviour))


if __name__ == "__main__":
    main()
