"""Finding models: names without a machine's paths, hashes, and what is said when there is none."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from rlrun.engines.model_source import BUILTIN_MODELS, ModelSource, find_model
from rlrun.errors import ConfigError


@pytest.fixture
def folder(micro_model: Path, tmp_path: Path) -> Path:
    """A copy of the micro model that may be changed."""
    return shutil.copytree(micro_model, tmp_path / "mine")


def test_a_folder_is_named_without_its_place(folder: Path) -> None:
    assert find_model(str(folder)) == ModelSource("mine", folder)


def test_a_relative_folder_is_named_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find_model(".") == ModelSource("mine", folder)


def test_a_tilde_is_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert find_model("~/mine") == ModelSource("mine", folder)


def test_a_gguf_file_is_found_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    found = find_model(str(tmp_path / "small.gguf"))
    assert found == ModelSource("small.gguf", tmp_path, "small.gguf")


def test_a_builtin_model_keeps_its_prefix() -> None:
    assert find_model("builtin:tiny") == ModelSource("builtin:tiny", BUILTIN_MODELS["tiny"])


def test_a_hub_id_is_its_own_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The hub is far away: a stand-in answers with a folder of its cache.
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda path: str(folder))
    assert find_model("someone/model") == ModelSource("someone/model", folder)


def refuse(path: str) -> None:
    raise LocalEntryNotFoundError("no connection, and not in the cache")


def test_a_hub_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(ConfigError) as error:
        find_model("someone/model")
    assert str(error.value) == (
        "model.path=someone/model: there is no such folder, the hub's cache here does not have it, "
        "and the hub cannot be reached; give a folder, a .gguf file, or builtin:tiny"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("builtin:huge", "no such built-in model; there is builtin:tiny"),
        ("missing.gguf", "no such file; give the path to a .gguf"),
        ("not/a/hub/id", "neither a folder here nor a model that the hub gives"),
        ("no spaces allowed", "neither a folder here nor a model that the hub gives"),
    ],
)
def test_what_cannot_be_found_is_refused_with_a_way_out(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_model(path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        find_model(str(tmp_path))


# Hashes.


def hashes(folder: Path) -> tuple[str, str]:
    found = find_model(str(folder))
    return found.weights_hash(), found.tokenizer_hash()


def flip_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_the_same_files_elsewhere_have_the_same_hashes(folder: Path, micro_model: Path) -> None:
    assert hashes(folder) == hashes(micro_model)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "generation_config.json"])
def test_one_bit_of_the_model_changes_its_hash_only(folder: Path, name: str) -> None:
    weights, tokenizer = hashes(folder)
    flip_last_byte(folder / name)
    assert hashes(folder)[0] != weights
    assert hashes(folder)[1] == tokenizer


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_one_bit_of_the_tokenizer_changes_its_hash_only(folder: Path, name: str) -> None:
    weights, tokenizer = hashes(folder)
    flip_last_byte(folder / name)
    assert hashes(folder)[0] == weights
    assert hashes(folder)[1] != tokenizer


def test_a_chat_template_is_part_of_the_tokenizer(folder: Path) -> None:
    weights, tokenizer = hashes(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert hashes(folder)[0] == weights
    assert hashes(folder)[1] != tokenizer


def test_a_readme_changes_no_hash(folder: Path) -> None:
    before = hashes(folder)
    (folder / "README.md").write_text("A model.")
    assert hashes(folder) == before


def test_a_gguf_file_is_both_model_and_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    (tmp_path / "other.gguf").write_bytes(b"none of it")
    found = find_model(str(tmp_path / "small.gguf"))
    assert found.weights_hash() == found.tokenizer_hash()
    before = found.weights_hash()
    (tmp_path / "other.gguf").write_bytes(b"changed")
    assert found.weights_hash() == before
