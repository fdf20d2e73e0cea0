"""Rows from local files, and from a stand-in for the hub's library."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rlrun.errors import ConfigError, MissingExtraError
from rlrun.tasks.rows import HUB_ID, fields_of, read_rows
from rlrun.types import Split

EGGS = {"question": "What are 4 eggs at $18 worth?", "answer": "4 * 18 = <<4*18=72>>72\n#### 72"}


def write_rows(file: Path, *rows: object) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def refusal(path: str, split: Split = "train") -> str:
    with pytest.raises(ConfigError) as caught:
        list(read_rows(path, split))
    return str(caught.value)


@pytest.mark.parametrize(("split", "name"), [("train", "train.jsonl"), ("eval", "test.jsonl")])
def test_a_folder_has_a_file_for_each_split(tmp_path: Path, split: Split, name: str) -> None:
    write_rows(tmp_path / name, EGGS)
    assert list(read_rows(str(tmp_path), split)) == [(f"{tmp_path / name}:1", json.dumps(EGGS))]


def test_a_folder_without_the_split_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", EGGS)
    assert f"{tmp_path / 'test.jsonl'} cannot be read" in refusal(str(tmp_path), "eval")


def test_a_single_file_has_no_eval_split(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "questions.jsonl", EGGS)
    assert "is one file, which is the train split" in refusal(file, "eval")


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(b"\xff\xfe{")
    assert "is not UTF-8 text" in refusal(str(tmp_path / "q.jsonl"))


@pytest.mark.parametrize("path", ["/no/such/folder", "./nothing", "data/q.jsonl", "a/b/c", "gsm8k"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    assert refusal(path).startswith(f"task.path: there is no file or folder {path}")


def test_a_row_is_looked_at_when_its_fields_are_asked_for() -> None:
    fields = (EGGS["question"], EGGS["answer"])
    assert fields_of("q.jsonl:1", json.dumps(EGGS)) == fields
    assert fields_of("some/data train row 1", EGGS) == fields
    with pytest.raises(ConfigError, match=r"^q.jsonl:2 is not JSON"):
        fields_of("q.jsonl:2", "{")


def test_the_hub_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install datasets")):
        list(read_rows(HUB_ID, "train"))


class FakeHub(ModuleType):
    """Stands in for the datasets package: one row, and a note of what was asked for."""

    def __init__(self) -> None:
        super().__init__("datasets")
        self.asked: list[tuple[str, str | None, str]] = []

    def load_dataset(self, path: str, name: str | None, *, split: str) -> list[object]:
        self.asked.append((path, name, split))
        if path == "no/such":
            raise FileNotFoundError("Dataset 'no/such' doesn't exist on the hub\nmore talk")
        return [EGGS]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


def test_gsm8k_on_the_hub_is_read_in_its_main_configuration(hub: FakeHub) -> None:
    assert list(read_rows(HUB_ID, "train")) == [("openai/gsm8k train row 0", EGGS)]
    assert list(read_rows(HUB_ID, "eval")) == [("openai/gsm8k test row 0", EGGS)]
    assert hub.asked == [("openai/gsm8k", "main", "train"), ("openai/gsm8k", "main", "test")]


def test_another_data_set_on_the_hub_is_read_in_its_default_configuration(hub: FakeHub) -> None:
    assert list(read_rows("some/problems", "train")) == [("some/problems train row 0", EGGS)]
    assert hub.asked == [("some/problems", None, "train")]


def test_a_data_set_that_the_hub_has_not_is_refused_with_the_reason(hub: FakeHub) -> None:
    message = refusal("no/such")
    assert "(Dataset 'no/such' doesn't exist on the hub)" in message
    assert "\n" not in message
