"""Lines: what is written is read back as it was, floats to the bit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.engines.messages import completion_of, completion_to_json, from_line, to_line
from rlrun.engines.spec import Failure, GenerateRequest
from rlrun.types import Completion

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COMPLETIONS = st.builds(
    Completion,
    token_ids=st.lists(st.integers(0, 2**20)).map(tuple),
    text=st.text(),
    sampler_logprobs=st.lists(FLOATS).map(tuple),
    finish_reason=st.sampled_from(["stop", "length"]),
)


@given(COMPLETIONS)
def test_a_completion_is_one_line_and_is_read_back_as_it_was(completion: Completion) -> None:
    line = to_line({"number": 1, "done": completion_to_json(completion)})
    assert line.count(b"\n") == 1
    assert completion_of(from_line(line)) == completion


def test_a_failure_keeps_its_reason() -> None:
    assert completion_of({"number": 1, "failed": "too long"}) == Failure("too long")


def test_a_request_is_read_back_as_it_was() -> None:
    request = GenerateRequest("a", None, (1, 2), 7, 0.5, 4)
    assert GenerateRequest.from_json(from_line(to_line(request.to_json()))) == request


def test_a_number_that_is_not_finite_is_never_written() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        to_line({"done": [float("nan")]})


@pytest.mark.parametrize("line", [b"Loading weights\n", b'{"number": 1\n', b"[1]\n", b"\xff\n"])
def test_what_is_no_object_is_no_message(line: bytes) -> None:
    with pytest.raises(ValueError):
        from_line(line)
