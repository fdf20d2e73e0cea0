"""What is looked up before a run is made of a configuration."""

from pathlib import Path

import pytest

from rlrun.config.load import load_config
from rlrun.config.schema import RunConfig
from rlrun.errors import ConfigError, MissingExtraError
from rlrun.sessions.preflight import located, require_data_package

GSM8K = "task.name=gsm8k"


def config_of(*overrides: str) -> RunConfig:
    return load_config("tiny", overrides).config


def test_a_relative_place_becomes_absolute(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "data.jsonl").touch()
    config = config_of("model.path=model", GSM8K, "task.path=data.jsonl")
    found = located(config, tmp_path)
    assert found.model.path == str(tmp_path / "model")
    assert found.task.path == str(tmp_path / "data.jsonl")


def test_the_home_folder_is_meant_by_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert located(config_of("model.path=~/model"), Path("/")).model.path == str(tmp_path / "model")


@pytest.mark.parametrize("name", ["builtin:tiny", "Qwen/Qwen2.5-0.5B-Instruct", "gpt2"])
def test_what_may_be_a_name_stays_as_it_is(name: str, tmp_path: Path) -> None:
    assert located(config_of(f"model.path={name}"), tmp_path).model.path == name


def test_a_configuration_without_places_is_unchanged(tmp_path: Path) -> None:
    assert located(config_of(), tmp_path) == config_of()


@pytest.mark.parametrize("path", ["/no/model", "./model", "~nobody", "some.gguf", "a/b/c"])
def test_a_path_to_nothing_is_refused_with_its_key(path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^model\.path: there is no /.*--set model\.path=PATH"):
        located(config_of(f"model.path={path}"), tmp_path)


def test_all_places_that_are_not_there_are_named_at_once(tmp_path: Path) -> None:
    config = config_of("model.path=./m", GSM8K, "task.path=./d", "model.initial_adapter=adapter")
    with pytest.raises(ConfigError) as refusal:
        located(config, tmp_path)
    keys = [line.partition(":")[0] for line in str(refusal.value).splitlines()]
    assert keys == ["model.path", "model.initial_adapter", "task.path"]


def test_an_initial_adapter_becomes_absolute(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").touch()
    found = located(config_of("model.initial_adapter=adapter"), tmp_path)
    assert found.model.initial_adapter == str(tmp_path / "adapter")


def test_questions_from_the_hub_need_the_datasets_package() -> None:
    with pytest.raises(MissingExtraError, match=r"from the hub .* 'pip install datasets'"):
        require_data_package(config_of(GSM8K), find=lambda _: None)
    require_data_package(config_of(GSM8K), find=lambda _: object())


def test_questions_from_a_file_or_made_up_need_none() -> None:
    require_data_package(config_of(GSM8K, "task.path=/data"), find=lambda _: None)
    require_data_package(config_of(), find=lambda _: None)


@pytest.mark.parametrize(
    ("to", "found"),
    [
        ("store", "/here/store"),
        ("~/store", "/home/me/store"),
        ("/mnt/store", "/mnt/store"),
        ("s3://bucket/runs", "s3://bucket/runs"),
        ("local", "local"),
    ],
)
def test_an_archive_s_folder_need_not_be_there_and_is_absolute(
    to: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert located(config_of(f"archive.to={to}"), Path("/here")).archive.to == found
    assert located(config_of(), Path("/here")).archive.to is None
