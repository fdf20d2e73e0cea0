r"""Grade-school word problems (Cobbe et al. 2021, arXiv:2110.14168), or any file written like them.

A row of the data is a JSON object, one a line in a local file:

    {"question": "Natalia sold clips to 48 of her friends in April, and then she sold half as many
                  clips in May. How many clips did Natalia sell altogether in April and May?",
     "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nNatalia sold 48+24 = <<48+24=72>>72
                clips altogether in April and May.\n#### 72"}

and becomes the prompt `Prompt("gsm8k/train/0", "Natalia sold clips to 48 ...", "72", ...)`.
"""

import importlib
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from rlrun.errors import ConfigError, MissingExtraError
from rlrun.tasks.answers import has_marked_answer, is_correct
from rlrun.types import Prompt, Reward, Split

HUB_ID = "openai/gsm8k"
INSTRUCTIONS = (
    'Reason step by step, and put the final answer, a number alone, on the last line after "####".'
)
FORMAT_REWARD = 0.1
"""Far below the 1 of a correct answer, so that form never pays more than being right."""

_FILES: dict[Split, str] = {"train": "train.jsonl", "eval": "test.jsonl"}

Row = tuple[str, object]
"""Where a row stands, for error messages, and the row, not yet looked at."""


class Gsm8k:
    """Word problems with a number for an answer; the eval split is the test set.

    `path` is a folder with train.jsonl and test.jsonl, one JSONL file of training questions, or a
    data set id on the Hugging Face hub (None: openai/gsm8k), which needs the `datasets` package.
    `num_questions` keeps the first that many training questions.  `instructions` replaces the
    task's own; "" is none.  Nothing is read before `prompts` is called.
    """

    def __init__(
        self,
        path: str | None = None,
        num_questions: int | None = None,
        instructions: str | None = None,
    ) -> None:
        self._path = HUB_ID if path is None else path
        self._num_questions = num_questions
        self._instructions = INSTRUCTIONS if instructions is None else instructions

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        """Return every prompt of the split, in the order of the data.

        Raises ConfigError for data that is not there or not as described above, and
        MissingExtraError where the hub is asked for and `datasets` is not installed.
        """
        return self._train if split == "train" else self._eval

    def reward(self, prompt: Prompt, completion_text: str) -> Reward:
        """Return correct (0 or 1) plus format (0 or 0.1, for an answer that is marked as such).

        A marked answer follows "####" or "the answer is", or is in a box; a correct answer need
        not be marked, so a right number at the end of a text without a mark earns 1.
        """
        correct = float(is_correct(completion_text, prompt.answer))
        marked = FORMAT_REWARD if has_marked_answer(completion_text) else 0.0
        return Reward(total=correct + marked, parts={"correct": correct, "format": marked})

    @cached_property
    def _train(self) -> tuple[Prompt, ...]:
        prompts = self._read("train")
        if self._num_questions is not None and self._num_questions > len(prompts):
            raise ConfigError(
                f"task.num_questions is {self._num_questions}, but {self._path} has "
                f"{len(prompts)} training questions; lower it or remove it"
            )
        return prompts[: self._num_questions]

    @cached_property
    def _eval(self) -> tuple[Prompt, ...]:
        return self._read("eval")

    def _read(self, split: Split) -> tuple[Prompt, ...]:
        prompts = tuple(
            Prompt(f"gsm8k/{split}/{index}", *_question_and_gold(where, row), self._instructions)
            for index, (where, row) in enumerate(_rows(self._path, split))
        )
        if not prompts:
            raise ConfigError(
                f"task.path: {self._path} has no {split} questions; add one JSON object a line"
            )
        return prompts


def gold_of(solution: str) -> str:
    """Return what follows the last "####" of a solution: "72" for "... #### 72".

    Raises ValueError where nothing does.
    """
    gold = solution.rpartition("####")[2].strip() if "####" in solution else ""
    if not gold:
        raise ValueError('no answer after "####"')
    return gold


def _question_and_gold(where: str, row: object) -> tuple[str, str]:
    if not isinstance(row, dict):
        raise ConfigError(f"{where} is not a JSON object with a question and an answer; correct it")
    for key in ("question", "answer"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise ConfigError(f'{where} has no text under "{key}"; add it')
    try:
        gold = gold_of(row["answer"])
    except ValueError as error:
        raise ConfigError(f'{where} has {error} in its answer; end it with "#### 72"') from error
    if not is_correct(f"#### {gold}", gold):
        raise ConfigError(
            f"{where} has the answer {gold!r}, which no completion could match; "
            'write one number or a few words after "####"'
        )
    return row["question"], gold


def _rows(path: str, split: Split) -> Iterator[Row]:
    """Yield the rows of the split from wherever `path` leads."""
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


def _looks_like_hub_id(path: str) -> bool:
    owner, slash, name = path.partition("/")
    is_local = path.startswith((".", "~")) or path.endswith((".jsonl", ".json"))
    return bool(owner and slash and name) and "/" not in name and not is_local


def _rows_of_file(file: Path) -> Iterator[Row]:
    """Yield the rows of a JSONL file; blank lines are passed over."""
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
            yield f"{file}:{number}", _parsed(f"{file}:{number}", line)


def _parsed(where: str, line: str) -> object:
    try:
        row: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON; write one JSON object a line") from error
    return row


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
