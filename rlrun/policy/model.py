"""The policy: a causal language model, its trainable parameters, and its reference.

B rows of a micro-batch, T tokens, K scored positions.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlrun.config.schema import LoraConfig, ModelConfig
from rlrun.engines.model_source import ModelSource, find_model
from rlrun.errors import ConfigError, DamagedError
from rlrun.grpo.batch import MicroBatch
from rlrun.grpo.logprobs import logprobs_and_entropy
from rlrun.policy import attention
from rlrun.seeds import derive_seed

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
_OTHER_SCALING = ("use_rslora", "alpha_pattern")  # of PEFT: these show in no tensor's name or shape


class Policy:
    """A model with what is trained of it.

    `model` and `tokenizer` are transformers' and peft's own objects.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        source: ModelSource,
        *,
        has_reference_copy: bool,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.source = source
        self.is_lora = isinstance(model, PeftModel)
        self._reference = self._copy_state() if has_reference_copy else None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.model.parameters()).device

    @property
    def pad_id(self) -> int:
        """A token to fill rows with; it is masked wherever it stands."""
        pad = self.tokenizer.pad_token_id
        return pad if pad is not None else min(self.stop_ids)

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a completion."""
        generation = self.model.generation_config.eos_token_id
        listed = generation if isinstance(generation, list) else [generation]
        return frozenset(
            token for token in [*listed, self.tokenizer.eos_token_id] if token is not None
        )

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Return what is trained, by its name in the saved files, in the model's order."""
        named = self.model.named_parameters()
        return {_saved_name(name): param for name, param in named if param.requires_grad}

    def _copy_state(self) -> dict[str, torch.Tensor]:
        return {name: param.detach().clone() for name, param in self.parameters().items()}

    def token_logprobs(
        self, batch: MicroBatch, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (log-probabilities, entropy) of the targets, each float32 [B, K]."""
        output = self.model(
            input_ids=batch.input_ids, use_cache=False, logits_to_keep=batch.num_logits
        )
        return logprobs_and_entropy(output.logits, batch.targets, temperature)

    @contextmanager
    def as_reference(self) -> Iterator[None]:
        """Be the reference policy inside the block: adapter off, or the weights of step 0."""
        if self._reference is None:
            with self.model.disable_adapter():
                yield
            return
        current = self._copy_state()
        self._assign(self._reference)
        try:
            yield
        finally:
            self._assign(current)

    def _assign(self, state: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, param in self.parameters().items():
                param.copy_(state[name])

    def load_state(self, state: Mapping[str, torch.Tensor], where: str) -> None:
        """Take the weights of a checkpoint; DamagedError unless they fit exactly."""
        expected = {name: (p.shape, p.dtype) for name, p in self.parameters().items()}
        found = {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
        if expected != found:
            odd = sorted(set(expected.items()) ^ set(found.items()), key=str)[0][0]
            raise DamagedError(
                f"{where} does not fit this model: {odd!r} differs in name, shape or type; "
                "continue with the model and LoRA settings it was made with"
            )
        self._assign(state)


def _saved_name(name: str) -> str:
    """Return a parameter's name as PEFT and transformers write it."""
    return name.replace(".default.weight", ".weight").replace(".default.bias", ".bias")


def build_policy(
    config: ModelConfig, *, run_seed: int, device: torch.device, needs_reference: bool
) -> Policy:
    """Return the policy of step 0."""
    model, tokenizer, source = load_model(config.path, config.dtype)
    model = model.to(device)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if config.lora is not None:
        model = _add_adapter(model, config.lora, source, run_seed)
    has_copy = needs_reference and (config.lora is None or config.initial_adapter is not None)
    policy = Policy(model, tokenizer, source, has_reference_copy=False)
    if config.initial_adapter is not None and config.lora is not None:
        folder = Path(config.initial_adapter).expanduser()
        try:
            policy.load_state(read_adapter(folder, config.lora), str(folder))
        except DamagedError as error:
            raise ConfigError(f"model.initial_adapter: {error}") from error
    return Policy(model, tokenizer, source, has_reference_copy=True) if has_copy else policy


def load_model(path: str, dtype: str) -> tuple[Any, Any, ModelSource]:
    """Return a model, its tokenizer, and where they are from; ConfigError if there is none."""
    attention.register()
    source = find_model(path)
    try:
        model = _load_weights(source, getattr(torch, dtype))
        tokenizer = AutoTokenizer.from_pretrained(source.folder, gguf_file=source.gguf_file)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model.path={path}: transformers cannot load it ({error}); give a causal "
            "language model with its tokenizer"
        ) from error
    return model, tokenizer, source


def _load_weights(source: ModelSource, dtype: torch.dtype) -> Any:
    if source.gguf_file is None:
        return AutoModelForCausalLM.from_pretrained(
            source.folder, dtype=dtype, attn_implementation=attention.NAME
        )
    quantised = AutoModelForCausalLM.from_pretrained(
        source.folder, gguf_file=source.gguf_file, dtype=dtype
    )
    # The weights are plain by now, but the model still calls itself quantised; peft would believe
    # it.
    config = quantised.config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(
        config, dtype=dtype, attn_implementation=attention.NAME
    )
    model.load_state_dict(quantised.state_dict())
    model.generation_config = quantised.generation_config
    return model.eval()


def _add_adapter(
    model: Any,
    lora: LoraConfig,
    source: ModelSource,
    run_seed: int,
) -> Any:
    config = PeftLoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(derive_seed(run_seed, "lora_init"))
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(f"model.lora.target_modules: {error}") from error
    adapted.peft_config["default"].base_model_name_or_path = source.name
    return adapted


def read_adapter(folder: Path, lora: LoraConfig) -> dict[str, torch.Tensor]:
    """Return the tensors of a PEFT folder whose settings are `lora`'s; ConfigError otherwise."""
    if not (folder / ADAPTER_CONFIG).is_file() or not (folder / ADAPTER_WEIGHTS).is_file():
        raise ConfigError(
            f"model.initial_adapter={folder}: not a PEFT folder with {ADAPTER_CONFIG} and "
            f"{ADAPTER_WEIGHTS}; give a checkpoint's model/ folder"
        )
    stated = json.loads((folder / ADAPTER_CONFIG).read_bytes())
    wanted = {"r": lora.rank, "lora_alpha": lora.alpha, "use_rslora": False, "use_dora": False}
    for key, value in wanted.items():
        if stated.get(key) != value:
            raise ConfigError(
                f"model.initial_adapter={folder} has {key}={stated.get(key)}, but model.lora says "
                f"{value}; make them equal"
            )
    for key in _OTHER_SCALING:
        if stated.get(key):
            raise ConfigError(
                f"model.initial_adapter={folder} has {key}={stated[key]}, a scaling that "
                "model.lora cannot express; give an adapter without it"
            )
    tensors = safetensors.torch.load((folder / ADAPTER_WEIGHTS).read_bytes())
    return {name: tensor.float() for name, tensor in tensors.items()}
