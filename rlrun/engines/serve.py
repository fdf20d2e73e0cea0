"""The worker's side of the conversation: lines in, an engine at work, lines out.

Standard library only, and the same for every engine.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty
from typing import Any, Protocol

from rlrun.engines import adapters, pipes
from rlrun.engines.messages import Message, completion_to_json
from rlrun.engines.spec import EngineInfo, EngineSpec, Failure, GenerateRequest
from rlrun.errors import AdapterError
from rlrun.types import Completion

SPARE_ADAPTERS = 2  # loaded beyond `max_adapters`, for the proof that one is live

_ALIVE_SECONDS = 1.0

Finished = tuple[int, Completion | tuple[float, ...] | Failure]
"""The number of what was asked, and what came of it."""


class Refused(Exception):
    """What was asked cannot be done; the engine is as it was before."""


class Backend(Protocol):
    """An engine as the loop below works it."""

    info: EngineInfo
    model_folder: Path  # adapters are compared with the weights that are in it

    @property
    def num_tokens(self) -> int:
        """The tokens made since the start."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether something is asked that is not finished."""
        ...

    def encode(self, question: str, instructions: str) -> Sequence[int]:
        """Return the token ids of a prompt."""
        ...

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter; Refused if it cannot be."""
        ...

    def unload(self, name: str) -> None:
        """Forget an adapter that nothing asked for is in need of."""
        ...

    def score(self, number: int, adapter: str | None, token_ids: Sequence[int]) -> None:
        """Ask for the log-probability of each token after the first, at temperature 1."""
        ...

    def generate(self, number: int, request: GenerateRequest) -> None:
        """Ask for a completion; Refused if the request cannot be one of this engine's."""
        ...

    def step(self) -> Sequence[Finished]:
        """Work for about as long as a token takes; return what was finished."""
        ...

    def abort(self) -> None:
        """Drop everything that is asked."""
        ...


def serve(start: Callable[[EngineSpec], Backend]) -> None:
    """Answer the client until it says quit, and end the process.

    To be called before there are other threads; `start` may import what begins some.
    """
    channel = pipes.open_channel()
    first = channel.inbox.get()
    spec = EngineSpec(**first["spec"])
    try:
        backend = start(spec)
    except Refused as refusal:
        channel.write({"number": first["number"], "refused": str(refusal)})
        return
    channel.write({"number": first["number"], "done": backend.info.to_json()})
    _Conversation(backend, spec, channel).hold()
    # There is nothing to save, and some libraries take seconds to take themselves apart.
    os._exit(0)


class _Conversation:
    """Questions and answers of one engine, until `quit`."""

    def __init__(self, backend: Backend, spec: EngineSpec, channel: pipes.Channel) -> None:
        self._backend = backend
        self._spec = spec
        self._channel = channel
        self._names: set[str] = set()  # of all adapters that ever were: caches go by them
        self._num_loaded = 0
        self._said_alive = time.monotonic()

    def hold(self) -> None:
        """Answer everything that is asked."""
        while True:
            for message in self._heard():
                if message["do"] == "quit":
                    return
                self._hear(message)
            for number, result in self._backend.step() if self._backend.is_busy else ():
                self._answer(number, result)
            self._say_alive()

    def _heard(self) -> list[Message]:
        """Return what has come in; waits for something unless there is work to do."""
        messages = [] if self._backend.is_busy else [self._channel.inbox.get()]
        while True:
            try:
                messages.append(self._channel.inbox.get_nowait())
            except Empty:
                return messages

    def _hear(self, message: Message) -> None:
        number = message["number"]
        try:
            done = self._do(message)
        except Refused as refusal:
            self._channel.write({"number": number, "refused": str(refusal)})
        else:
            if done is not None:
                self._channel.write({"number": number, "done": done})

    def _do(self, message: Message) -> Any:
        """Return the answer, or None where it comes later."""
        backend, number = self._backend, message["number"]
        match message["do"]:
            case "encode":
                return [list(backend.encode(*question)) for question in message["questions"]]
            case "load":
                self._load(message["name"], Path(message["folder"]))
                return True
            case "unload":
                backend.unload(message["name"])
                self._num_loaded -= 1
                return True
            case "abort":
                backend.abort()
                return True
            case "score":
                self._score(number, message["adapter"], message["token_ids"])
            case "generate":
                self._generate(number, GenerateRequest.from_json(message["request"]))
            case unknown:
                raise Refused(f"this worker does not know how to do {unknown!r}")
        return None

    def _load(self, name: str, folder: Path) -> None:
        if name in self._names:
            raise Refused(f"an adapter named {name!r} was loaded before; give each its own name")
        most = self._spec.max_adapters + SPARE_ADAPTERS
        if self._num_loaded >= most:
            raise Refused(f"{most} adapters are loaded, and no more fit; unload one first")
        try:
            adapter = adapters.read(folder)
            adapters.require_fit(
                adapter, folder, self._backend.model_folder, max_rank=self._spec.max_rank
            )
        except AdapterError as error:
            raise Refused(str(error)) from error
        self._backend.load(name, folder)
        self._names.add(name)
        self._num_loaded += 1

    def _score(self, number: int, adapter: str | None, token_ids: list[int]) -> None:
        limit = self._spec.max_prompt_tokens + self._spec.max_completion_tokens - 1
        _require("the text", len(token_ids), 2, limit)
        self._backend.score(number, adapter, token_ids)

    def _generate(self, number: int, request: GenerateRequest) -> None:
        _require("the prompt", len(request.token_ids), 1, self._spec.max_prompt_tokens)
        limit = self._spec.max_completion_tokens
        _require("the completion", request.max_completion_tokens, 1, limit)
        self._backend.generate(number, request)

    def _answer(self, number: int, result: Completion | tuple[float, ...] | Failure) -> None:
        if isinstance(result, Failure):
            message: Message = {"number": number, "failed": result.reason}
        elif isinstance(result, Completion):
            message = {"number": number, "done": completion_to_json(result)}
        else:
            message = {"number": number, "done": result}
        self._channel.write(message)

    def _say_alive(self) -> None:
        now = time.monotonic()
        if now - self._said_alive >= _ALIVE_SECONDS:
            self._said_alive = now
            self._channel.write({"alive": self._backend.num_tokens})


def _require(what: str, num_tokens: int, least: int, most: int) -> None:
    if not least <= num_tokens <= most:
        raise Refused(f"{what} has {num_tokens} tokens; this engine takes from {least} to {most}")
