"""The completions of one step, as they are kept: one record each, never made twice."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import fsum
from pathlib import Path
from typing import Any

from rlrun.errors import DamagedError
from rlrun.runs import files, jsonl
from rlrun.types import FINAL_VERDICTS, Completion, FinishReason, Prompt, Task, Verdict

Key = tuple[str, int]
"""A question's id and a sample's number."""


@dataclass(frozen=True, slots=True)
class Record:
    """A completion of one question by one checkpoint, and what it was found to be."""

    model: str  # hash of the checkpoint's model files
    plan: str  # hash of the plan
    question: str
    sample: int
    seed: int
    verdict: Verdict
    text: str | None = None  # None: the engine failed
    num_tokens: int = 0
    finish_reason: FinishReason | None = None
    answer: str | None = None  # as extracted from the text
    grader: str | None = None  # hash of the code that graded it
    mean_logprob: float | None = None  # of its tokens, by the engine
    seconds: float = 0.0  # of the engine's time, shared out among what it finished meanwhile
    reason: str | None = None  # why the engine failed

    @property
    def key(self) -> Key:
        """What it is a completion of."""
        return self.question, self.sample

    @property
    def is_final(self) -> bool:
        """Whether it counts; the others are asked again."""
        return self.verdict in FINAL_VERDICTS


def lines(path: Path) -> list[jsonl.Record]:
    """Return the lines of a file of completions; DamagedError if one of them is damaged."""
    try:
        return jsonl.read(path, checked=True)
    except DamagedError as error:
        raise DamagedError(f"{error}, or move it aside and evaluate again") from error


def read(path: Path, *, model: str, plan: str) -> dict[Key, Record]:
    """Return the newest record of each completion of this model under this plan.

    Records of other models stay in the file and are passed over: a run that was rewound may have
    trained another step of the same number.  DamagedError for what is no record.
    """
    found = {}
    for data in lines(path):
        try:
            record = Record(**data)
        except TypeError as error:
            raise DamagedError(
                f"{path} holds a line that is no completion ({error}); move it aside, and evaluate "
                "again"
            ) from error
        if record.model == model and record.plan == plan:
            found[record.key] = record
    return found


def graded(record: Record, prompt: Prompt, task: Task, grader: str) -> Record:
    """Return the record with the verdict of today's grader; an engine's failure stays one."""
    if record.text is None:
        return record
    grade = task.grade(prompt, record.text, is_truncated=record.finish_reason == "length")
    return replace(record, verdict=grade.verdict, answer=grade.answer, grader=grader)


def completed(
    record: Record, completion: Completion, prompt: Prompt, task: Task, grader: str
) -> Record:
    """Return the record with what the engine wrote, graded."""
    logprobs = completion.sampler_logprobs
    written = replace(
        record,
        text=completion.text,
        num_tokens=len(completion.token_ids),
        finish_reason=completion.finish_reason,
        mean_logprob=fsum(logprobs) / len(logprobs) if logprobs else None,
    )
    return graded(written, prompt, task, grader)


class Keeper:
    """The file of a step's completions while it grows; a torn last line is cut first."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            whole = jsonl.whole_size(path, checked=True)
            if whole < path.stat().st_size:
                files.truncate(path, whole)
        files.ensure_dir(path.parent)
        self._appender = files.Appender(path)

    def keep(self, record: Record) -> None:
        """Append a record, durably."""
        self._appender.append(_line(record), sync=True)

    def close(self) -> None:
        """Close the file."""
        self._appender.close()


def rewrite(path: Path, changed: Mapping[Key, Record], *, model: str, plan: str) -> None:
    """Put other verdicts in place of a step's records, all at once; other records stay."""

    def changed_lines() -> Iterable[bytes]:
        for data in lines(path):
            record = Record(**data)
            is_meant = record.model == model and record.plan == plan
            yield _line(changed.get(record.key, record) if is_meant else record)

    files.replace(path, b"".join(changed_lines()))


def _line(record: Record) -> bytes:
    data: dict[str, Any] = asdict(record)
    return jsonl.encode(data, checked=True)
