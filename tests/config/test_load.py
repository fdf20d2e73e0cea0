"""Recipes and overrides: what they mean, where values come from, and how mistakes are reported."""

import contextlib
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlrun.config.keys import dotted, known_keys, leaves
from rlrun.config.load import (
    apply_overrides,
    config_from_dict,
    config_to_dict,
    dump_config,
    load_config,
)
from rlrun.config.recipes import find_recipe
from rlrun.config.schema import (
    GrpoConfig,
    LoraConfig,
    ModelConfig,
    RunConfig,
    SamplingConfig,
    SavingConfig,
    TaskConfig,
    TemperatureConfig,
    TrainConfig,
)
from rlrun.errors import ConfigError, RunNotFoundError

POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
COUNTS = st.integers(min_value=1, max_value=10**12)
TEXTS = st.text(max_size=30)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


LORAS = st.builds(
    LoraConfig,
    rank=COUNTS,
    alpha=POSITIVE,
    dropout=st.floats(0, 1, exclude_max=True),
    target_modules=st.lists(TEXTS, max_size=3).map(tuple),
)
MODELS = st.builds(
    ModelConfig,
    path=TEXTS,
    dtype=st.just("float32"),
    lora=optional(LORAS),
    initial_adapter=st.none(),
    gradient_checkpointing=st.booleans(),
)
TEMPERATURES = st.builds(
    TemperatureConfig, initial=POSITIVE, final=POSITIVE, warmup_steps=st.integers(0, 100)
)
HORIZONS = st.builds(TrainConfig, max_steps=COUNTS, num_threads=optional(COUNTS)) | st.builds(
    TrainConfig, num_epochs=POSITIVE, deterministic=st.booleans()
)
CONFIGS = st.builds(
    RunConfig,
    seed=st.integers(0, 2**64),
    model=MODELS,
    task=st.builds(
        TaskConfig, path=optional(TEXTS), num_questions=optional(COUNTS), instructions=TEXTS
    ),
    sampling=st.builds(SamplingConfig, temperature=TEMPERATURES, batch_rows=st.integers(4, 512)),
    grpo=st.builds(
        GrpoConfig,
        learning_rate=POSITIVE,
        micro_batch_size=optional(COUNTS),
        schedule=st.sampled_from(["constant", "linear", "cosine"]),
    ),
    train=HORIZONS,
    saving=st.builds(SavingConfig, every_seconds=optional(POSITIVE), background=st.booleans()),
)

OVERRIDES = {
    "seed": ["7", "0"],
    "model.path": ["'1e-5'", "somewhere/else"],
    "model.lora.rank": ["8", "4"],
    "task.name": ["gsm8k"],
    "sampling.temperature.initial": ["2", "0.5"],
    "sampling.temperature.final": ["0.25"],
    "grpo.learning_rate": ["1e-5", "3"],
    "grpo.micro_batch_size": ["4", "null"],
    "train.max_steps": ["5"],
    "saving.background": ["false"],
}
"""Keys that exclude no other key, with values that are right for them."""

SECTIONS = [dotted(path) for path, key in known_keys().items() if key.is_section]
NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=12)
in_a_tmp_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, text: str) -> str:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def message_of(source: str | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides)
    return str(caught.value)


# -- invariants


@given(config=CONFIGS)
@in_a_tmp_folder
def test_loading_what_was_dumped_gives_an_equal_configuration(
    tmp_path: Path, config: RunConfig
) -> None:
    assert load_config(write(tmp_path, dump_config(config)), []).config == config


@given(config=CONFIGS)
def test_a_stored_dict_gives_an_equal_configuration(config: RunConfig) -> None:
    assert config_from_dict(config_to_dict(config), "config.json") == config


@given(section=st.sampled_from(SECTIONS), name=NAMES, value=st.sampled_from(["1", "[a]", "{b: 1}"]))
def test_an_unknown_key_anywhere_is_refused_with_its_dotted_name(
    section: str, name: str, value: str
) -> None:
    key = f"{section}.{name}" if section else name
    if tuple(key.split(".")) not in known_keys():
        assert f"--set {key} is not " in message_of("tiny", f"{key}={value}")


@given(keys=st.permutations(sorted(OVERRIDES)), data=st.data())
def test_overrides_of_different_keys_commute(keys: list[str], data: st.DataObject) -> None:
    overrides = [f"{key}={data.draw(st.sampled_from(OVERRIDES[key]))}" for key in keys]
    assert load_config("tiny", overrides) == load_config("tiny", sorted(overrides))


@given(key=st.sampled_from(sorted(OVERRIDES)), text=TEXTS)
def test_any_text_after_a_key_is_taken_or_refused_in_words(key: str, text: str) -> None:
    override = f"{key}={text}"
    with contextlib.suppress(ConfigError):
        assert load_config("tiny", [override]).source == "tiny"


# -- what values mean


def test_no_source_means_the_recipe_tiny() -> None:
    loaded = load_config(None, [])
    assert loaded == load_config("tiny", [])
    assert loaded.source == "tiny"


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-5", 0.00001), ("1E3", 1000), ("2", 2), (".5", 0.5), ("1_000.5", 1000.5), ("+3.", 3)],
)
def test_a_number_is_a_number_in_files_and_in_overrides(
    tmp_path: Path, text: str, number: float
) -> None:
    source = write(tmp_path, f"grpo: {{learning_rate: {text}}}\ntrain: {{max_steps: 1}}\n")
    assert load_config(source, []).config.grpo.learning_rate == number
    assert load_config(None, [f"grpo.learning_rate={text}"]).config.grpo.learning_rate == number


@pytest.mark.parametrize("text", ["no", "2024-01-01", "1:30", "=", "a:b"])
def test_plain_words_stay_text(text: str) -> None:
    assert load_config(None, [f"model.path={text}"]).config.model.path == text


def test_the_command_line_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    source = write(tmp_path, "seed: 1\ngrpo: {group_size: 4}\ntrain: {max_steps: 9}\n")
    config = load_config(source, ["seed=2"]).config
    assert (config.seed, config.grpo.group_size, config.grpo.clip_low) == (2, 4, 0.2)


def test_of_two_overrides_of_one_key_the_later_wins() -> None:
    assert load_config(None, ["seed=1", "seed=2"]).config.seed == 2


def test_each_value_knows_where_it_was_written() -> None:
    origins = load_config("tiny", ["grpo.kl_weight=0.1"]).origins
    lines = find_recipe("tiny")[0].read_text(encoding="utf-8").splitlines()
    line = lines.index("  max_steps: 100") + 1
    assert origins["train.max_steps"] == f"configs/tiny.yaml:{line}"
    assert origins["grpo.kl_weight"] == "--set"
    assert origins["grpo.clip_low"] == "default"


def test_every_leaf_has_an_origin() -> None:
    loaded = load_config("tiny", ["model.lora=null"])
    assert list(loaded.origins) == list(leaves(config_to_dict(loaded.config)))
    assert loaded.origins["model.lora"] == "--set"


def test_null_switches_a_section_off() -> None:
    assert load_config("tiny", ["model.lora=null"]).config.model.lora is None


def test_a_value_below_a_section_that_is_off_switches_it_on(tmp_path: Path) -> None:
    source = write(tmp_path, "model: {lora: null}\ntrain: {max_steps: 1}\n")
    assert load_config(source, ["model.lora.rank=8"]).config.model.lora == LoraConfig(rank=8)
    assert load_config(source, ["model.lora={}"]).config.model.lora == LoraConfig()


def test_a_value_below_a_section_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    source = write(tmp_path, "model: {lora: {alpha: 5}}\ntrain: {max_steps: 1}\n")
    both = LoraConfig(rank=8, alpha=5)
    assert load_config(source, ["model.lora.rank=8"]).config.model.lora == both
    assert load_config(source, ["model.lora={rank: 8}"]).config.model.lora == both


def test_a_list_is_replaced_as_a_whole() -> None:
    config = load_config("tiny", ["model.lora.target_modules=[q_proj,v_proj]"]).config
    assert config.model.lora is not None
    assert config.model.lora.target_modules == ("q_proj", "v_proj")


def test_a_number_as_temperature_is_both_its_ends(tmp_path: Path) -> None:
    source = write(tmp_path, "sampling: {temperature: 0.7}\ntrain: {max_steps: 1}\n")
    loaded = load_config(source, ["sampling.temperature.final=0.5"])
    assert loaded.config.sampling.temperature == TemperatureConfig(initial=0.7, final=0.5)
    assert loaded.origins["sampling.temperature.initial"] == f"{source}:1"
    assert loaded.origins["sampling.temperature.final"] == "--set"


def test_a_flow_mapping_sets_each_of_its_keys() -> None:
    loaded = load_config(None, ["sampling.temperature={initial: 1, final: 0.5}"])
    assert loaded.config.sampling.temperature == TemperatureConfig(initial=1, final=0.5)


def test_overrides_on_a_run_leave_the_rest_as_it_is() -> None:
    old = load_config("tiny", ["seed=3"]).config
    new = apply_overrides(old, ["grpo.learning_rate=1e-4"])
    assert new == old.model_copy(
        update={"grpo": old.grpo.model_copy(update={"learning_rate": 0.0001})}
    )


# -- how mistakes are reported


def test_a_misspelt_key_in_a_file_is_reported_with_its_line_and_the_nearest_key(
    tmp_path: Path,
) -> None:
    source = write(tmp_path, "train: {max_steps: 1}\n\ngrpo:\n  learning_rat: 1e-5\n")
    assert message_of(source) == (
        f"{source}:4: grpo.learning_rat is not a known key; did you mean grpo.learning_rate?"
    )


def test_a_key_without_its_section_is_recognised() -> None:
    assert message_of(None, "group_size=4").endswith("did you mean grpo.group_size?")


def test_a_key_like_no_other_is_answered_with_the_keys_there_are() -> None:
    assert message_of(None, "saving.zzz=4") == (
        "--set saving.zzz is not a known key; "
        "saving has every_steps, every_seconds, every_epochs, background, keep_latest and "
        "keep_every"
    )


@pytest.mark.parametrize(
    ("override", "accepted"),
    [
        ("grpo.group_size=1", "must be at least 2"),
        ("grpo.group_size=2.0", "must be a whole number"),
        ("grpo.learning_rate=0", "must be more than 0"),
        ("grpo.learning_rate='1e-5'", "must be a number"),
        ("grpo.kl_weight=.inf", "must be a finite number"),
        ("grpo.clip_low=2", "must be at most 1"),
        ("model.lora.dropout=1", "must be less than 1"),
        ("grpo.schedule=cosin", "must be 'constant', 'linear' or 'cosine'"),
        ("train.num_threads=many", "must be a whole number or null"),
        ("saving.background=1", "must be true or false"),
        ("model.path=3", "must be text (put it in quotes)"),
        ("model.lora.target_modules=q_proj", "must be a list, such as [a, b]"),
        ("model.lora=2", "must be keys with values below it or null"),
        ("model=null", "must be keys with values below it"),
        ("sampling.temperature=hot", "must be a number or keys with values below it"),
    ],
)
def test_a_wrong_value_is_reported_with_what_would_be_accepted(
    override: str, accepted: str
) -> None:
    assert message_of(None, override) == f"--set {override}: {accepted}"


def test_a_wrong_item_of_a_list_is_counted_from_one() -> None:
    override = "model.lora.target_modules=[q_proj, 5]"
    assert message_of(None, override) == (
        f"--set {override}: item 2 must be text (put it in quotes)"
    )


def test_a_long_value_is_cut_short() -> None:
    assert message_of(None, f"seed={'x' * 99}") == (
        f"--set seed={'x' * 57}...: must be a whole number"
    )


def test_all_problems_come_at_once_by_line_and_the_command_line_last(tmp_path: Path) -> None:
    source = write(
        tmp_path,
        "grpo:\n  schedule: cosin\n  group_size: 0\nsed: 1\ntrain: {max_steps: 1}\n",
    )
    assert message_of(source, "task.nam=gsm8k").splitlines() == [
        "the configuration has 4 problems:",
        f"{source}:2: grpo.schedule=cosin: must be 'constant', 'linear' or 'cosine'",
        f"{source}:3: grpo.group_size=0: must be at least 2",
        f"{source}:4: sed is not a known key; did you mean seed?",
        "--set task.nam is not a known key; did you mean task.name?",
    ]


def test_a_second_horizon_on_the_command_line_names_the_way_out() -> None:
    message = message_of("tiny", "train.num_epochs=2")
    assert message.startswith("--set train.num_epochs=2: set exactly one of")
    assert message.endswith("also give --set train.max_steps=null")
    both = ["train.num_epochs=2", "train.max_steps=null"]
    assert load_config("tiny", both).config.train.num_epochs == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.lora=null", "model.dtype=bfloat16"],
            "--set model.dtype=bfloat16: full fine-tuning trains in float32; "
            "set model.dtype=float32",
        ),
        (
            ["model.initial_adapter=a", "model.lora=null"],
            "--set model.lora=null: an initial adapter needs model.lora; "
            "set its rank and alpha there",
        ),
        (
            ["grpo.accumulation_steps=257"],
            "--set grpo.accumulation_steps=257: "
            "grpo.accumulation_steps is larger than prompts_per_step x group_size",
        ),
        (
            ["archive.to=s3://me:hunter2@bucket/runs"],
            "--set archive.to=s3://...@bucket/runs: archive.to has a user or a password in it, "
            "which a configuration may not hold; write s3://bucket/prefix, and keep the keys in "
            "the file that --credentials names",
        ),
        (
            ["train.max_steps=null"],
            "--set train.max_steps=null: set exactly one of train.max_steps and train.num_epochs",
        ),
    ],
)
def test_a_broken_rule_is_put_beside_a_key_that_it_names(
    overrides: list[str], message: str
) -> None:
    assert message_of("tiny", *overrides) == message


def test_a_recipe_without_a_horizon_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path, "seed: 1\n")
    assert message_of(source) == (
        f"{source}: set exactly one of train.max_steps and train.num_epochs"
    )


def test_a_misspelt_horizon_is_one_problem_not_two(tmp_path: Path) -> None:
    source = write(tmp_path, "train:\n  max_step: 5\n")
    assert message_of(source) == (
        f"{source}:2: train.max_step is not a known key; did you mean train.max_steps?"
    )


def test_a_key_written_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    source = write(tmp_path, "seed: 1\ntrain: {max_steps: 1}\nseed: 2\n")
    assert message_of(source) == f"{source}:3: seed stands already in line 1"


def test_a_dotted_key_in_a_file_is_answered_with_the_nested_form(tmp_path: Path) -> None:
    source = write(tmp_path, "train.max_steps: 1\n")
    assert "write max_steps: below train:" in message_of(source)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("seed: [1\nx: 2\n", "expected ',' or ']'"),
        ("seed: &a 1\n", "anchors"),
        ("seed: !!python/name:os.system x\n", "tags"),
        ("seed: 1\n---\nseed: 2\n", "another document"),
        ("? [a]\n: 1\n", "a key must be a plain word"),
        ("seed: \x07\n", "not printable UTF-8"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_refused_with_the_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    source = write(tmp_path, text)
    message = message_of(source)
    assert message.startswith(source)
    assert reason in message


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"task: {path: \xff}")
    assert "not printable UTF-8 text" in message_of(str(path))


def test_a_file_that_holds_a_list_is_one_problem(tmp_path: Path) -> None:
    source = write(tmp_path, "- 1\n")
    assert message_of(source).startswith(f"{source}: a recipe holds sections")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("seed", "write it as key=value"),
        ("grpo..x=1", "write it as key=value"),
        ("seed=", "there is no value; write null to switch it off"),
        ("task.instructions=Think # hard", "'#' would begin a comment; put the text in quotes"),
        ("model.path=@x", "put text in quotes"),
        ("train={max_steps: 1, max_steps: 2}", "train.max_steps stands twice in one value"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused_with_the_reason(
    override: str, reason: str
) -> None:
    assert reason in message_of(None, override)


def test_an_unreadable_override_of_an_unknown_key_is_an_unknown_key() -> None:
    assert message_of(None, "sed=@") == "--set sed is not a known key; did you mean seed?"


def test_a_missing_recipe_is_answered_with_the_shipped_ones_and_the_nearest() -> None:
    with pytest.raises(RunNotFoundError, match=r"gsm8k_fast.* and tiny; did you mean tiny\?"):
        load_config("tinny", [])


def test_an_unreadable_file_is_refused_with_the_system_s_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    source = write(tmp_path, "seed: 1\n")
    monkeypatch.setattr(Path, "read_bytes", fail)
    assert message_of(source) == f"{source} cannot be read: Permission denied"


def test_a_stored_dict_with_problems_names_its_file() -> None:
    with pytest.raises(ConfigError, match=r"^runs/a/config.yaml: seed=-1: must be at least 0$"):
        config_from_dict({"seed": -1, "train": {"max_steps": 1}}, "runs/a/config.yaml")


def test_overrides_on_a_run_that_break_a_rule_are_refused() -> None:
    config = load_config("tiny", ["grpo.micro_batch_size=4"]).config
    with pytest.raises(ConfigError, match=r"also give --set grpo.micro_batch_size=null"):
        apply_overrides(config, ["grpo.accumulation_steps=2"])


def test_the_configuration_room_is_light() -> None:
    heavy = ["torch", "transformers", "peft", "numpy", "rich"]
    code = (
        "import sys, rlrun.config.load, rlrun.config.changes;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
