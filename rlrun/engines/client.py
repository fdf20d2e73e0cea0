"""An engine as the control plane has it: questions to a process of its own, and its answers."""

import os
import sys
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from rlrun.engines.interpreters import require_engine, vllm_python, worker_environ
from rlrun.engines.messages import Message, completion_of
from rlrun.engines.model_source import ModelSource, find_here
from rlrun.engines.plain_model import cache_folder, plain_folder
from rlrun.engines.process import WorkerProcess
from rlrun.engines.spec import EngineInfo, EngineSpec, Failure, GenerateRequest
from rlrun.errors import AdapterError, EngineError
from rlrun.types import Completion, Prompt

_GRACE_SECONDS = 10.0
_IN_FLIGHT_PER_ROW = 2  # so that a row that gets free finds the next request waiting
_VLLM_WORKER = Path(__file__).with_name("vllm_worker.py")
_TORCH_WORKER = ("-m", "rlrun.serving")


class EngineProcess:
    """One engine in a process of its own, from `with` to the end of the block."""

    def __init__(
        self,
        spec: EngineSpec,
        *,
        python: str | None,
        log: Path,
        timeout_seconds: float,
        command: Sequence[str] | None = None,
        start_timeout_seconds: float = 900.0,
    ) -> None:
        """Start the engine and wait until it is ready.

        `python` is the interpreter that has vLLM (None: the environment's, else this one);
        `command` replaces the worker.

        Raises:
            MissingExtraError: the interpreter has not the engine's packages.
            EngineError: the engine cannot be started.
        """
        self.spec = spec
        self._timeout_seconds = timeout_seconds
        environ, exported = dict(os.environ), None
        if command is None:
            require_engine(spec.engine, python, os.environ)
            command, environ = _worker(spec, python)
            spec, exported = _served(spec, log)
        self._num_asked = 0
        self._awaited: set[int] = set()  # numbers of completions that somebody waits for
        self._early: dict[int, Message] = {}  # answers to them that came while another was needed
        self._progress = 0
        self._process = WorkerProcess(command, name=spec.engine, environ=environ, log=log)
        try:
            started = self._ask({"do": "start", "spec": spec.to_json()}, start_timeout_seconds)
            self.info = _with_hashes_of(exported, EngineInfo(**started))
        except BaseException:
            self._process.kill()
            raise

    @property
    def pid(self) -> int:
        """The leader of the engine's process group."""
        return self._process.pid

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._process.kill()

    def close(self) -> None:
        """End the engine; it has nothing that would be lost."""
        self._send({"do": "quit"})
        self._process.close(_GRACE_SECONDS)

    def kill(self) -> None:
        """End the engine at once, with everything that it started."""
        self._process.kill()

    def encode(self, prompts: Sequence[Prompt]) -> tuple[tuple[int, ...], ...]:
        """Return the token ids of each prompt, as training would have them."""
        questions = [(prompt.question, prompt.instructions) for prompt in prompts]
        encoded = self._ask({"do": "encode", "questions": questions})
        return tuple(tuple(token_ids) for token_ids in encoded)

    def load_adapter(self, name: str, folder: Path) -> None:
        """Load a PEFT folder under a name that no adapter had before; AdapterError if it cannot."""
        self._ask({"do": "load", "name": name, "folder": str(folder.absolute())}, what=name)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter that no unfinished request names."""
        self._ask({"do": "unload", "name": name}, what=name)

    def token_logprobs(self, adapter: str | None, token_ids: Sequence[int]) -> tuple[float, ...]:
        """Return the log-probability of each token after the first, at temperature 1."""
        asked = {"do": "score", "adapter": adapter, "token_ids": list(token_ids)}
        return tuple(self._ask(asked, what=adapter))

    def generate(
        self, requests: Iterable[GenerateRequest]
    ) -> Iterator[tuple[str, Completion | Failure]]:
        """Yield (id, what came of it) as completions finish; a bounded number is in flight.

        Requests are taken as there is room for them.  Who stops listening stops them all; other
        things may be asked between two answers, but no second `generate`.
        """
        waiting = iter(requests)
        in_flight: dict[int, str] = {}  # the caller's ids by ours
        room = _IN_FLIGHT_PER_ROW * self.spec.batch_rows
        try:
            while True:
                for request in islice(waiting, room - len(in_flight)):
                    number = self._send({"do": "generate", "request": request.to_json()})
                    in_flight[number] = request.id
                    self._awaited.add(number)
                if not in_flight:
                    return
                answer = self._receive(in_flight, self._timeout_seconds)
                self._awaited.remove(answer["number"])
                request_id = in_flight.pop(answer["number"])
                if "refused" in answer:
                    answer["failed"] = answer["refused"]
                yield request_id, completion_of(answer)
        finally:
            self._awaited.clear()
            self._early.clear()
            if in_flight and not self._process.is_over:
                self._send({"do": "abort"})

    def _send(self, message: Message) -> int:
        self._num_asked += 1
        self._process.send({"number": self._num_asked, **message})
        return self._num_asked

    def _ask(
        self, message: Message, timeout_seconds: float | None = None, what: str | None = None
    ) -> Any:
        """Return the answer; a refusal is an AdapterError where it is about one (`what`)."""
        number = self._send(message)
        answer = self._receive((number,), timeout_seconds or self._timeout_seconds)
        if "done" in answer:
            return answer["done"]
        reason = answer.get("refused") or answer["failed"]
        if what is None:
            raise EngineError(f"the {self.spec.engine} engine refused: {reason}")
        raise AdapterError(f"adapter {what}: {reason}")

    def _receive(self, numbers: Container[int], timeout_seconds: float) -> Message:
        """Return the first answer to one of `numbers`; keep others that are awaited for later."""
        for early in [number for number in self._early if number in numbers]:
            return self._early.pop(early)
        deadline = time.monotonic() + timeout_seconds
        while True:
            message = self._process.receive(deadline)
            number = message.get("number", 0)
            if number in numbers:
                return message
            if number in self._awaited:
                self._early[number] = message
            if message.get("alive") != self._progress:  # alive without progress is a hang
                deadline = time.monotonic() + timeout_seconds
            self._progress = message.get("alive", self._progress)


def _worker(spec: EngineSpec, python: str | None) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts the engine, and its environment."""
    if spec.engine == "torch":
        return [sys.executable, *_TORCH_WORKER], dict(os.environ)
    return [vllm_python(python, os.environ), str(_VLLM_WORKER)], worker_environ()


def _served(spec: EngineSpec, log: Path) -> tuple[EngineSpec, ModelSource | None]:
    """Return the spec with a model that the engine can read, and the one that it was made from."""
    source = find_here(spec.model_path)
    if spec.engine == "torch" or source is None or source.gguf_file is None:
        return spec, None
    folder = plain_folder(source, spec.dtype, cache=cache_folder(os.environ), log=log)
    return replace(spec, model_path=str(folder)), source


def _with_hashes_of(source: ModelSource | None, info: EngineInfo) -> EngineInfo:
    """Return what the engine says of itself, with the hashes of what its model was made from."""
    if source is None:
        return info
    return replace(info, weights_hash=source.weights_hash(), tokenizer_hash=source.tokenizer_hash())
