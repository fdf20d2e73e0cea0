"""The configuration of a run: a frozen tree, strict about keys, that never looks at the machine.

Each setting stands in one place.  Periods are `every_...`, counts `num_...`, durations carry their
unit.  `None` means "off" or "derived", and each such field says which.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def names_a_user(place: str) -> bool:
    """Return whether a place is written with a user, or a password, in front of its host."""
    _, separator, rest = place.partition("://")
    return bool(separator) and "@" in rest.partition("/")[0]


class Section(BaseModel):
    """A part of the tree: immutable, strict about keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class LoraConfig(Section):
    """Low-rank adapters (Hu et al. 2021); only they are trained."""

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip


class ModelConfig(Section):
    """The policy's model."""

    path: str = "builtin:tiny"  # built-in name, folder, .gguf file, or hub id
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # of the frozen weights
    lora: LoraConfig | None = LoraConfig()  # None: full fine-tuning
    initial_adapter: str | None = None  # a PEFT folder to go on from; also the reference policy
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _trains_in_float32(self) -> "ModelConfig":
        if self.lora is None and self.dtype != "float32":
            raise ValueError("full fine-tuning trains in float32; set model.dtype=float32")
        if self.lora is None and self.initial_adapter is not None:
            raise ValueError("an initial adapter needs model.lora; set its rank and alpha there")
        return self


class TaskConfig(Section):
    """Prompts, and what a completion is worth."""

    name: Literal["arithmetic", "gsm8k"] = "arithmetic"
    path: str | None = None  # local JSONL file or folder, or hub id; None: the task's own source
    num_questions: PositiveInt | None = None  # the first N training questions; None: all
    instructions: str | None = None  # replaces the task's own; "" for none


class TemperatureConfig(Section):
    """Linear from `initial` at step 1 to `final` after `warmup_steps` steps, then `final`."""

    initial: PositiveFloat = 1.0
    final: PositiveFloat = 1.0
    warmup_steps: NonNegativeInt = 0


def _constant_temperature(value: Any) -> Any:
    """Let a plain number stand for a constant temperature."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"initial": value, "final": value} if is_number else value


class SamplingConfig(Section):
    """How completions are drawn while training."""

    engine: Literal["torch"] = "torch"
    temperature: Annotated[TemperatureConfig, BeforeValidator(_constant_temperature)] = (
        TemperatureConfig()
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: NonNegativeInt = 0  # 0: no limit
    max_prompt_tokens: PositiveInt = 16
    max_completion_tokens: PositiveInt = 8
    batch_rows: Annotated[int, Field(ge=4)] = 64  # decoded together, rounded up to eights


class GrpoConfig(Section):
    """The algorithm and its optimizer (AdamW)."""

    group_size: Annotated[int, Field(ge=2)] = 8
    prompts_per_step: PositiveInt = 16
    updates_per_batch: PositiveInt = 1  # optimizer steps taken on each generated batch
    micro_batch_size: PositiveInt | None = None  # completions a forward-backward; None: all
    accumulation_steps: PositiveInt | None = None  # or: that many equal micro-batches
    learning_rate: PositiveFloat = 1e-3
    schedule: Literal["constant", "linear", "cosine"] = "constant"  # over the run's max_steps
    warmup_steps: NonNegativeInt = 0
    weight_decay: NonNegativeFloat = 0.0
    max_grad_norm: PositiveFloat = 1.0
    clip_low: Share = 0.2
    clip_high: NonNegativeFloat = 0.28
    kl_weight: NonNegativeFloat = 0.0
    scale_advantages: Literal["none", "group_std"] = "group_std"
    mask_truncated: bool = False  # cut-off completions carry no loss

    @model_validator(mode="after")
    def _one_way_to_split(self) -> "GrpoConfig":
        if self.micro_batch_size is not None and self.accumulation_steps is not None:
            raise ValueError(
                "grpo.micro_batch_size and grpo.accumulation_steps say the same thing; keep one"
            )
        if (self.accumulation_steps or 1) > self.prompts_per_step * self.group_size:
            raise ValueError("grpo.accumulation_steps is larger than prompts_per_step x group_size")
        return self


class TrainConfig(Section):
    """How far the run goes, and how reproducibly."""

    max_steps: PositiveInt | None = None  # the run's horizon; or num_epochs
    num_epochs: PositiveFloat | None = None
    deterministic: bool = True
    num_threads: PositiveInt | None = None  # CPU threads; None: as many as at the run's creation

    @model_validator(mode="after")
    def _one_horizon(self) -> "TrainConfig":
        if (self.max_steps is None) == (self.num_epochs is None):
            raise ValueError("set exactly one of train.max_steps and train.num_epochs")
        return self


class SavingConfig(Section):
    """When a checkpoint is written, and how long it stays; a session's end always writes one."""

    every_steps: PositiveInt | None = None
    every_seconds: PositiveFloat | None = None
    every_epochs: PositiveFloat | None = None
    background: bool = True  # persist while training goes on
    keep_latest: PositiveInt | None = None  # the newest N stay; both None: all stay
    keep_every: PositiveInt | None = None  # those of steps divisible by N stay


class EvalConfig(Section):
    """Held-out scoring: of which questions, how they are answered, and by which engine."""

    engine: Literal["auto", "vllm", "torch"] = "auto"  # auto: vllm where it can be started
    python: str | None = None  # vLLM's interpreter; None: $RLRUN_VLLM_PYTHON, else rlrun's own
    num_samples: PositiveInt = 1  # completions a question
    temperature: NonNegativeFloat = 0.0  # 0: greedy
    max_completion_tokens: PositiveInt | None = None  # None: as in sampling
    subset_frac: Annotated[float, Field(gt=0, le=1)] | None = None  # share of the questions asked
    max_samples: PositiveInt | None = None  # questions asked at most; both None: all
    seed: NonNegativeInt = 0  # of sampled completions; the same for every step
    has_baseline: bool = True  # what step 1 started from is scored, too
    timeout_seconds: PositiveFloat = 600.0  # an engine that is silent for so long is killed
    batch_rows: Annotated[int, Field(ge=4)] = 64  # completions generated together
    max_adapters: PositiveInt = 4  # checkpoints in the engine at the same time
    gpu_memory_share: Annotated[float, Field(gt=0, le=1)] = 0.85  # of the GPU, for vLLM

    @model_validator(mode="after")
    def _one_bound(self) -> "EvalConfig":
        if self.subset_frac is not None and self.max_samples is not None:
            raise ValueError("eval.subset_frac and eval.max_samples say the same thing; keep one")
        return self

    @model_validator(mode="after")
    def _samples_that_differ(self) -> "EvalConfig":
        if self.num_samples > 1 and self.temperature == 0:
            raise ValueError(
                "eval.num_samples > 1 at temperature 0 draws the same completion again; set "
                "eval.temperature"
            )
        return self


class ArchiveConfig(Section):
    """A verified copy elsewhere: where, and how it is sent; how it is reached is no setting."""

    to: str | None = None  # s3://bucket/prefix, a folder, or local; None: $RLRUN_ARCHIVE or --to
    transfers: PositiveInt = 8  # objects sent or fetched at once; small ones are sent 4 x as many

    @model_validator(mode="after")
    def _has_no_secret(self) -> "ArchiveConfig":
        if self.to is not None and names_a_user(self.to):
            raise ValueError(
                "archive.to has a user or a password in it, which a configuration may not hold; "
                "write s3://bucket/prefix, and keep the keys in the file that --credentials names"
            )
        return self


class RunConfig(Section):
    """Everything that a run is asked to do."""

    seed: NonNegativeInt = 0
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    sampling: SamplingConfig = SamplingConfig()
    grpo: GrpoConfig = GrpoConfig()
    train: TrainConfig
    saving: SavingConfig = SavingConfig()
    eval: EvalConfig = EvalConfig()
    archive: ArchiveConfig = ArchiveConfig()
