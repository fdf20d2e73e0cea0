"""`rlrun eval` in forked processes, which a test may kill by the clock or in front of a file call.

The fork server has imported it all, and made the sums.
"""

import io
import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrun.cli import app, evaluate
from rlrun.engines.messages import completion_of, completion_to_json
from rlrun.engines.spec import EngineSpec, GenerateRequest
from rlrun.errors import AdapterError
from rlrun.runs import files
from rlrun.tasks.arithmetic import Arithmetic
from rlrun.types import Prompt
from support import scoring
from support.fake_scorer import FakeScorer
from support.scoring_rlrun import use_the_scorer

for split in ("train", "eval"):
    scoring.remembered_sums(Arithmetic(scoring.NUM_TRAINED), split)  # type: ignore[arg-type]


class NoProcess:
    """The fake scorer without a process, for faults that are not the engine's: it is up at once."""

    pid = 0

    def __init__(self, spec: EngineSpec, **_: Any) -> None:
        self.spec = spec
        self._backend = FakeScorer(spec, json.loads(os.environ["FAKE_ENGINE"]))
        self._names: set[str] = set()
        self.info = self._backend.info

    def kill(self) -> None: ...

    def encode(self, prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
        return [tuple(self._backend.encode(one.question, one.instructions)) for one in prompts]

    def load_adapter(self, name: str, folder: Path) -> None:
        if name in self._names:
            raise AdapterError(f"{name} was loaded before")
        self._names.add(name)
        self._backend.load(name, folder)

    def unload_adapter(self, name: str) -> None:
        self._backend.unload(name)

    def token_logprobs(self, adapter: str | None, token_ids: Sequence[int]) -> Any:
        self._backend.score(0, adapter, token_ids)
        return self._backend.step()[0][1]

    def generate(self, requests: Any) -> Iterator[tuple[str, Any]]:
        for request in requests:
            assert isinstance(request, GenerateRequest)
            self._backend.generate(0, request)
            ((_, result),) = self._backend.step()
            yield request.id, completion_of({"done": completion_to_json(result)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Command:
    """One command line, and what befalls it."""

    root: Path
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    kill_at_call: int | None = None  # SIGKILL in front of this file operation, counted from 0
    trace: Path | None = None  # receives each file operation before it is made
    has_process: bool = True  # whether engines are processes


def work(command: Command) -> None:
    """Run a command line in this process, dying where it says."""
    os.environ |= command.environ
    Arithmetic.prompts = scoring.remembered_sums  # type: ignore[method-assign]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    with engines(has_process=command.has_process), files.watched(_watcher(command)):
        code = app.run([*command.arguments, "--root", str(command.root)])
    os._exit(code)


@contextmanager
def engines(*, has_process: bool) -> Iterator[None]:
    """Let `rlrun eval` use the fake scorer inside the block."""
    known = evaluate.EngineProcess
    if has_process:
        use_the_scorer()
    else:
        evaluate.EngineProcess = NoProcess  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        evaluate.EngineProcess = known  # type: ignore[misc]


def run(root: Path, *arguments: str, has_process: bool = False) -> tuple[int, str]:
    """Run a command line in this process; return its exit code and what it said."""
    said = io.StringIO()
    with engines(has_process=has_process), redirect_stderr(said), redirect_stdout(io.StringIO()):
        code = app.run([*arguments, "--root", str(root)])
    return code, said.getvalue()


def _watcher(command: Command) -> files.Watcher:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    trace = None if command.trace is None else os.open(command.trace, flags)
    num_calls = 0

    def watch(operation: str, path: Path) -> None:
        nonlocal num_calls
        if trace is not None:
            os.write(trace, f"{operation} {path.name}\n".encode())
        if num_calls == command.kill_at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        num_calls += 1

    return watch


def is_gone(pid: int) -> bool:
    """Return whether a process is no more; one that nobody has waited for is none."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"
