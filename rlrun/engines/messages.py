"""The lines between an engine's client and its worker: one JSON object each, in either direction.

A line to the worker has a `number`, by which it is answered, and says what to `do`.  An answer has
the number and `done`, `refused` or `failed`; a line without a number is `alive`.
"""

import json
from collections.abc import Mapping
from typing import Any

from rlrun.engines.spec import Failure
from rlrun.types import Completion

Message = dict[str, Any]


def to_line(message: Mapping[str, Any]) -> bytes:
    """Return the message with its line break; ValueError if a number in it is not finite."""
    return json.dumps(message, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def from_line(line: bytes) -> Message:
    """Return the message of a line; ValueError if it is none."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a message is an object")
    return message


def completion_to_json(completion: Completion) -> Message:
    """Return a completion as its answer holds it; floats are read back as they were."""
    return {
        "token_ids": completion.token_ids,
        "text": completion.text,
        "sampler_logprobs": completion.sampler_logprobs,
        "finish_reason": completion.finish_reason,
    }


def completion_of(answer: Message) -> Completion | Failure:
    """Return what the answer to `generate` says."""
    if "failed" in answer:
        return Failure(answer["failed"])
    fields = answer["done"]
    return Completion(
        token_ids=tuple(fields["token_ids"]),
        text=fields["text"],
        sampler_logprobs=tuple(fields["sampler_logprobs"]),
        finish_reason=fields["finish_reason"],
    )
