"""The sampler that trains, as `rlrun.engines.serve` works it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from rlrun import __version__
from rlrun.engines.chat import encode_question
from rlrun.engines.protocol import SampleKey, SampleRequest
from rlrun.engines.serve import Finished, Refused
from rlrun.engines.spec import EngineInfo, EngineSpec, Failure, GenerateRequest
from rlrun.errors import ConfigError, NotFiniteError, UsageError
from rlrun.policy import determinism
from rlrun.policy.device import find_device
from rlrun.policy.model import Policy, load_model
from rlrun.rollouts.torch_engine import Decoding, TorchEngine
from rlrun.serving.adapters import Adapters
from rlrun.types import Sampling

_VERSIONED = ("transformers", "peft")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What requests must have in common to be decoded together."""

    adapter: str | None
    sampling: Sampling


class TorchBackend:
    """The in-process engine on one model; it decodes one kind of request at a time."""

    def __init__(self, policy: Policy, spec: EngineSpec, info: EngineInfo) -> None:
        self.info = info
        self.model_folder = policy.source.folder
        self.num_tokens = 0
        self._policy = policy
        self._spec = spec
        self._adapters = Adapters(policy.model, self._reload)
        self._scores: deque[tuple[int, str | None, Sequence[int]]] = deque()
        self._waiting: dict[_Kind, list[tuple[int, SampleRequest]]] = {}
        self._kind: _Kind | None = None  # what is being decoded
        self._decoding: Decoding | None = None
        self._decoded: set[int] = set()  # the numbers of it that are not finished

    def _reload(self) -> Any:
        model, _, _ = load_model(self._spec.model_path, self._spec.dtype)
        return model.to(self._policy.device)

    @property
    def is_busy(self) -> bool:
        """Whether something is asked that is not finished."""
        return bool(self._scores or self._waiting or self._decoded)

    def encode(self, question: str, instructions: str) -> Sequence[int]:
        """Return the token ids of a prompt."""
        return encode_question(self._policy.tokenizer, question, instructions)

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter beside those that are there."""
        self._adapters.load(name, folder)

    def unload(self, name: str) -> None:
        """Forget an adapter."""
        self._adapters.unload(name)

    def score(self, number: int, adapter: str | None, token_ids: Sequence[int]) -> None:
        """Ask for the log-probabilities of a text."""
        if adapter is not None:
            self._adapters.known(adapter)
        self._scores.append((number, adapter, token_ids))

    def generate(self, number: int, request: GenerateRequest) -> None:
        """Ask for a completion."""
        if request.adapter is not None:
            self._adapters.known(request.adapter)
        sampling = Sampling(request.temperature, 1.0, 0, request.max_completion_tokens)
        asked = SampleRequest(request.token_ids, sampling, SampleKey(request.seed, 0, "", 0))
        self._waiting.setdefault(_Kind(request.adapter, sampling), []).append((number, asked))

    def step(self) -> Sequence[Finished]:
        """Score a text, or draw a token in each row."""
        if self._scores:
            number, adapter, token_ids = self._scores.popleft()
            return [(number, _token_logprobs(self._adapters.activate(adapter), token_ids))]
        if not self._decoded:
            self._start_decoding()
        return self._decode()

    def _start_decoding(self) -> None:
        """Turn to the requests of the kind that was asked for first."""
        self._kind = next(iter(self._waiting))
        model = self._adapters.activate(self._kind.adapter)
        self._decoding = Decoding(_engine_of(model, self._policy, self._spec))

    def _decode(self) -> Sequence[Finished]:
        if self._decoding is None or self._kind is None:
            return []
        self._adapters.activate(self._kind.adapter)
        for number, request in self._waiting.pop(self._kind, ()):
            self._decoding.add(number, request)
            self._decoded.add(number)
        before = self._decoding.num_drawn
        try:
            finished: Sequence[Finished] = self._decoding.step()
        except NotFiniteError:
            failure = Failure("the model's probabilities are not finite")
            finished = [(number, failure) for number in sorted(self._decoded)]
        self.num_tokens += self._decoding.num_drawn - before
        self._decoded -= {number for number, _ in finished}
        return finished

    def abort(self) -> None:
        """Drop everything that is asked."""
        self._scores.clear()
        self._waiting.clear()
        self._decoded.clear()


def _engine_of(model: Any, policy: Policy, spec: EngineSpec) -> TorchEngine:
    return TorchEngine(
        model,
        policy.tokenizer,
        stop_ids=policy.stop_ids,
        num_rows=spec.batch_rows,
        max_prompt_tokens=spec.max_prompt_tokens,
        max_completion_tokens=spec.max_completion_tokens,
    )


@torch.inference_mode()
def _token_logprobs(model: Any, token_ids: Sequence[int]) -> tuple[float, ...] | Failure:
    """Return the log-probability of each token after the first, at temperature 1."""
    tokens = torch.tensor([token_ids], device=model.device)  # [1, T]
    logits = model(input_ids=tokens, use_cache=False).logits  # [1, T, V]
    logprobs = torch.log_softmax(logits[0, :-1].float(), dim=-1)  # [T - 1, V]
    chosen = logprobs.gather(-1, tokens[0, 1:, None]).squeeze(-1)  # [T - 1]
    if not bool(chosen.isfinite().all()):
        return Failure("the model's probabilities are not finite")
    return tuple(chosen.tolist())


def start(spec: EngineSpec) -> TorchBackend:
    """Return the engine with its model loaded, on settings that make it deterministic."""
    determinism.prepare_environment()
    num_threads = spec.num_threads or torch.get_num_threads()
    determinism.apply(deterministic=True, num_threads=num_threads)
    try:
        device = find_device(spec.device)
        model, tokenizer, source = load_model(spec.model_path, spec.dtype)
    except (ConfigError, UsageError) as error:
        raise Refused(str(error)) from error
    policy = Policy(model.to(device), tokenizer, source, has_reference_copy=False)
    is_cuda = device.type == "cuda"
    info = EngineInfo(
        engine="torch",
        version=version("torch"),
        device=torch.cuda.get_device_name(device) if is_cuda else "cpu",
        versions={"rlrun": __version__, **{name: version(name) for name in _VERSIONED}},
        weights_hash=source.weights_hash(),
        tokenizer_hash=source.tokenizer_hash(),
        is_pure=_engine_of(policy.model, policy, spec).is_pure,
    )
    return TorchBackend(policy, spec, info)
