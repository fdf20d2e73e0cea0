"""Rows of question and answer, from a file, a folder or the Hugging Face hub; not yet looked at."""

import importlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from rlrun.errors import ConfigError, MissingExtraError
from rlrun.types import Split

HUB_ID = "openai/gsm8k"
"""A hub id that is read in its configuration `main`; others are read in their default one."""

_FILES: dict[Split, str] = {"train": "train.jsonl", "eval": "test.jsonl"}

Row = tuple[str, object]
"""Where a row stands, for error messages, and the row: a line of a file, or what the hub has."""


def read_rows(path: str, split: Split) -> Iterator[Row]:
    """Yield the rows of the split from wherever `path` leads.

    That is a folder with train.jsonl and test.jsonl, a JSONL file (the train split), or a hub id.
    Raises ConfigError for what is not there or cannot be read, and MissingExtraError where the hub
    is asked for and `datasets` is not installed.
    """
    local = Path(path).expanduser()
    if local.is_dir():
        return _rows_of_file(local / _FILES[split])
    if local.is_file() and split == "train":
        return _rows_of_file(local)
    if local.is_file():
        raise ConfigError(
            f"task.path: {path} is one file, which is the train split; for evaluation give a "
            "folder with train.jsonl and test.jsonl"
        )
    if _looks_like_hub_id(path):
        return _rows_of_hub(path, split)
    raise ConfigError(
        f"task.path: there is no file or folder {path}; give a JSONL file, a folder with "
        f"train.jsonl and test.jsonl, or a hub id such as {HUB_ID}"
    )


def fields_of(where: str, row: object) -> tuple[str, str]:
    """Return the texts of a row under "question" and "answer"; ConfigError if it has not both."""
    fields = _parsed(where, row) if isinstance(row, str) else row
    if not isinstance(fields, dict):
        raise ConfigError(f"{where} is not a JSON object with a question and an answer; correct it")
    for key in ("question", "answer"):
        if not isinstance(fields.get(key), str) or not fields[key].strip():
            raise ConfigError(f'{where} has no text under "{key}"; add it')
    return fields["question"], fields["answer"]


def _looks_like_hub_id(path: str) -> bool:
    owner, slash, name = path.partition("/")
    is_local = path.startswith((".", "~")) or path.endswith((".jsonl", ".json"))
    return bool(owner and slash and name) and "/" not in name and not is_local


def _rows_of_file(file: Path) -> Iterator[Row]:
    """Yield the lines of a JSONL file; blank ones are passed over."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"task.path: {file} cannot be read ({error.strerror}); put a JSONL file there"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"task.path: {file} is not UTF-8 text; save it as UTF-8") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{file}:{number}", line


def _parsed(where: str, line: str) -> object:
    try:
        fields: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON; write one JSON object a line") from error
    return fields


def _rows_of_hub(hub_id: str, split: Split) -> Iterator[Row]:
    """Yield the rows of a data set on the hub; `datasets` is imported here and nowhere else."""
    try:
        datasets = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"reading {hub_id} from the hub needs the datasets package; run 'pip install datasets',"
            " or set task.path to a folder with train.jsonl and test.jsonl"
        ) from error
    configuration = "main" if hub_id == HUB_ID else None
    hub_split = "train" if split == "train" else "test"
    try:
        rows: Iterable[object] = datasets.load_dataset(hub_id, configuration, split=hub_split)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"task.path: {hub_id} could not be read from the hub ({reason}); "
            "correct the id, or give a folder with train.jsonl and test.jsonl"
        ) from error
    for index, row in enumerate(rows):
        yield f"{hub_id} {hub_split} row {index}", row
