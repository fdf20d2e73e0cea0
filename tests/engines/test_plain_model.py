"""Plain folders of GGUF models: made once, whole or not at all."""

from pathlib import Path

import pytest

from rlrun.engines.model_source import ModelSource, find_model
from rlrun.engines.plain_model import cache_folder, plain_folder
from rlrun.errors import EngineError


class Exporter:
    """Writes two files, or fails between them."""

    def __init__(self, *, fails: bool = False) -> None:
        self.num_times = 0
        self._fails = fails

    def __call__(self, source: ModelSource, dtype: str, folder: Path, log: Path) -> None:
        self.num_times += 1
        (folder / "config.json").write_text(dtype)
        if self._fails:
            raise EngineError("the disk is full")
        (folder / "model.safetensors").write_bytes((source.folder / "small.gguf").read_bytes())


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    return find_model(str(tmp_path / "small.gguf"))


def make(source: ModelSource, tmp_path: Path, exporter: Exporter, dtype: str = "float32") -> Path:
    return plain_folder(
        source, dtype, cache=tmp_path / "cache", log=tmp_path / "log", export=exporter
    )


def test_it_is_named_by_what_it_holds(source: ModelSource, tmp_path: Path) -> None:
    folder = make(source, tmp_path, Exporter())
    assert folder == tmp_path / "cache" / f"{source.weights_hash()}-float32"
    assert (folder / "model.safetensors").read_bytes() == b"GGUF"


def test_it_is_written_once(source: ModelSource, tmp_path: Path) -> None:
    exporter = Exporter()
    assert make(source, tmp_path, exporter) == make(source, tmp_path, exporter)
    assert exporter.num_times == 1


def test_each_precision_has_its_own(source: ModelSource, tmp_path: Path) -> None:
    exporter = Exporter()
    make(source, tmp_path, exporter)
    other = make(source, tmp_path, exporter, dtype="bfloat16")
    assert (other / "config.json").read_text() == "bfloat16"
    assert exporter.num_times == 2


def test_another_model_of_the_same_name_is_another(source: ModelSource, tmp_path: Path) -> None:
    first = make(source, tmp_path, Exporter())
    (tmp_path / "small.gguf").write_bytes(b"GGUF, but another")
    assert make(source, tmp_path, Exporter()) != first


def test_one_that_was_not_finished_is_begun_anew(source: ModelSource, tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        make(source, tmp_path, Exporter(fails=True))
    folder = make(source, tmp_path, Exporter())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]


def test_models_are_kept_where_caches_are(tmp_path: Path) -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/rlrun/models")
    assert cache_folder({}) == Path.home() / ".cache" / "rlrun" / "models"
