"""vLLM as `serve` works it: requests join while others are decoded, each with its own adapter.

Runs where vLLM is installed, with the standard library and vLLM alone.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vllm import SamplingParams
from vllm.inputs.engine import tokens_input
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind

from rlrun.engines import model_source
from rlrun.engines.chat import encode_question
from rlrun.engines.serve import Finished, Refused
from rlrun.engines.spec import EngineInfo, Failure, GenerateRequest
from rlrun.types import Completion

_COMPANY = "company"


@dataclass(slots=True)
class _Active:
    """A request, and what vLLM has made of it."""

    number: int
    adapter: str | None
    prompt: Sequence[int]
    sampling: Any  # vLLM's parameters
    is_score: bool = False
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class VllmBackend:
    """vLLM on one model."""

    def __init__(self, engine: Any, info: EngineInfo, model_folder: Path, *, is_cpu: bool) -> None:
        self.info = info
        self.model_folder = model_folder
        self.num_tokens = 0
        self._engine = engine
        self._tokenizer = engine.get_tokenizer()
        stop_ids = model_source.stop_ids(model_folder, self._tokenizer.eos_token_id)
        self._stop_ids = sorted(stop_ids)
        self._is_cpu = is_cpu
        self._has_company = False
        self._adapters: dict[str, Any] = {}
        self._num_loaded = 0
        self._waiting: deque[_Active] = deque()
        self._active: dict[str, _Active] = {}  # by vLLM's name for a request

    @property
    def is_busy(self) -> bool:
        """Whether vLLM has something to do."""
        return bool(self._active or self._waiting)

    def encode(self, question: str, instructions: str) -> Sequence[int]:
        """Return the token ids of a prompt."""
        return encode_question(self._tokenizer, question, instructions)

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter; vLLM's number for it is never another's."""
        self._num_loaded += 1
        request = LoRARequest(name, self._num_loaded, str(folder))
        try:
            self._engine.add_lora(request)
        except (ValueError, RuntimeError, OSError) as error:
            raise Refused(f"vLLM does not take it ({error})") from error
        self._adapters[name] = request

    def unload(self, name: str) -> None:
        """Forget an adapter."""
        self._engine.remove_lora(self._adapter(name).lora_int_id)
        del self._adapters[name]

    def _adapter(self, name: str | None) -> Any:
        if name is not None and name not in self._adapters:
            raise Refused(f"there is no adapter named {name!r}")
        return None if name is None else self._adapters[name]

    def score(self, number: int, adapter: str | None, token_ids: Sequence[int]) -> None:
        """Ask for the log-probabilities of a text, by way of a completion of one token."""
        sampling = _sampling(temperature=0.0, max_tokens=1, prompt_logprobs=0)
        self._ask(_Active(number, adapter, token_ids, sampling, is_score=True))

    def generate(self, number: int, request: GenerateRequest) -> None:
        """Ask for a completion."""
        sampling = _sampling(
            temperature=request.temperature,
            seed=request.seed,
            max_tokens=request.max_completion_tokens,
            stop_token_ids=self._stop_ids,
            logprobs=0,
        )
        self._ask(_Active(number, request.adapter, request.token_ids, sampling))

    def _ask(self, asked: _Active) -> None:
        self._adapter(asked.adapter)
        self._waiting.append(asked)

    def _admit(self) -> None:
        """Hand vLLM what it may work on at the same time.

        On the CPU its kernels take a row without an adapter for one with the last adapter there is,
        wherever other rows have one: there, rows with and rows without take turns.
        """
        while self._waiting:
            asked = self._waiting[0]
            kinds = {active.adapter is None for active in self._active.values()}
            if self._is_cpu and kinds and (asked.adapter is None) not in kinds:
                return
            self._waiting.popleft()
            name, lora = str(asked.number), self._adapter(asked.adapter)
            tokens = tokens_input(list(asked.prompt))
            self._engine.add_request(name, tokens, asked.sampling, lora_request=lora)
            self._active[name] = asked

    def step(self) -> Sequence[Finished]:
        """Make a token of each request that runs; return those that are finished."""
        finished: list[Finished] = []
        self._admit()
        self._keep_company()
        for output in self._engine.step():
            if output.request_id == _COMPANY:
                self._has_company = not output.finished
                continue
            active = self._active[output.request_id]
            [part] = output.outputs
            self.num_tokens += len(part.token_ids)
            active.token_ids += part.token_ids
            if active.is_score:
                if output.prompt_logprobs:  # the first token has none
                    scored = output.prompt_token_ids[1:]
                    active.logprobs = _chosen(scored, output.prompt_logprobs[1:])
            else:
                active.logprobs += _chosen(part.token_ids, part.logprobs)
            if output.finished:
                del self._active[output.request_id]
                finished.append((active.number, self._result(active, part.finish_reason)))
        return finished

    def _keep_company(self) -> None:
        """Have something else decoded at any time: one row alone is multiplied by another kernel.

        With it, on the CPU, a completion has the same bits whatever else is asked.
        """
        if not self._is_cpu or self._has_company:
            return
        longest = self._engine.model_config.max_model_len - 1
        sampling = _sampling(temperature=0.0, max_tokens=longest, ignore_eos=True)
        tokens = tokens_input([self._stop_ids[0]], cache_salt=_COMPANY)  # its cache is its own
        self._engine.add_request(_COMPANY, tokens, sampling)
        self._has_company = True

    def _result(self, active: _Active, reason: Any) -> Completion | tuple[float, ...] | Failure:
        if not all(map(math.isfinite, active.logprobs)):
            return Failure("the model's probabilities are not finite")
        if active.is_score:
            return tuple(active.logprobs)
        if reason not in ("stop", "length"):
            return Failure(f"vLLM ended it for the reason {reason!r}")
        text = self._tokenizer.decode(active.token_ids, skip_special_tokens=True)
        return Completion(tuple(active.token_ids), text, tuple(active.logprobs), reason)

    def abort(self) -> None:
        """Drop everything that is asked."""
        self._engine.abort_request(list(self._active))
        self._active.clear()
        self._waiting.clear()


def _sampling(**parameters: Any) -> Any:
    """Return vLLM's parameters; tokens come as they are made, and are turned into text here."""
    return SamplingParams(detokenize=False, output_kind=RequestOutputKind.DELTA, **parameters)


def _chosen(token_ids: Sequence[int], found: Sequence[Any]) -> list[float]:
    """Return the log-probability of each token, which is all that vLLM was asked for."""
    return [by_token[token].logprob for token, by_token in zip(token_ids, found, strict=True)]
