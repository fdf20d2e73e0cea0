"""Groups and batches survive the journal, to the bit."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rlrun.runs import canonical
from rlrun.runs.records import BatchRecord, GroupRecord
from rlrun.types import Completion, EncodedPrompt, Group, Prompt, Reward, Sampling, ScoredGroup

COUNTS = st.integers(min_value=0, max_value=9999)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LOGPROBS = st.floats(width=32, max_value=0.0, allow_nan=False, allow_infinity=False)
TOKENS = st.lists(COUNTS, max_size=4).map(tuple)
PROMPTS = st.builds(Prompt, st.text(), st.text(), st.text(), st.text())
PARTS = st.dictionaries(st.text(), FLOATS, max_size=2)


@st.composite
def completions(draw: st.DrawFn) -> Completion:
    tokens = draw(TOKENS)
    logprobs = draw(st.lists(LOGPROBS, min_size=len(tokens), max_size=len(tokens)))
    reason = draw(st.sampled_from(["stop", "length"]))
    return Completion(tokens, draw(st.text()), tuple(logprobs), reason)


@st.composite
def groups(draw: st.DrawFn) -> GroupRecord:
    rows = draw(st.lists(completions(), min_size=1, max_size=3))
    rewards = tuple(Reward(draw(FLOATS), draw(PARTS)) for _ in rows)
    sampling = Sampling(draw(FLOATS), draw(FLOATS), draw(COUNTS), draw(COUNTS))
    prompt = EncodedPrompt(draw(PROMPTS), draw(TOKENS))
    scored = ScoredGroup(Group(prompt, tuple(rows), sampling, draw(COUNTS)), rewards)
    return GroupRecord(draw(st.text()), draw(COUNTS), draw(COUNTS), scored)


def tuples(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=3).map(tuple)


BATCHES = st.builds(
    BatchRecord,
    first_step=COUNTS,
    last_step=COUNTS,
    batch=COUNTS,
    data_position=st.tuples(COUNTS, COUNTS),
    groups=tuples(st.text()),
    dropped=tuples(COUNTS),
    rewards=tuples(tuples(FLOATS)),
    micro_batches=tuples(tuples(COUNTS)),
    window_logprobs=st.none() | tuples(tuples(LOGPROBS)),
    config=st.dictionaries(st.text(), FLOATS | st.text() | st.none(), max_size=3),
)


def through_json(record: Any) -> Any:
    return json.loads(canonical.dumps(record))


@given(groups())
def test_a_group_comes_back_equal_with_the_prompt_of_its_task(group: GroupRecord) -> None:
    prompt = group.scored.group.prompt.prompt
    found = GroupRecord.from_record(through_json(group.to_record()), {prompt.id: prompt})
    assert found == group
    assert canonical.dumps(found.to_record()) == canonical.dumps(group.to_record())


@given(groups())
def test_a_group_of_a_prompt_that_the_task_no_longer_has_keeps_all_that_was_drawn(
    group: GroupRecord,
) -> None:
    found = GroupRecord.from_record(through_json(group.to_record()), {})
    drawn = group.scored.group
    assert found.to_record() == group.to_record()
    assert found.scored.group.prompt.prompt == Prompt(drawn.prompt.prompt.id, "", "")


@given(BATCHES)
def test_a_batch_comes_back_equal(batch: BatchRecord) -> None:
    found = BatchRecord.from_record(through_json(batch.to_record()))
    assert found == batch
    assert canonical.dumps(found.to_record()) == canonical.dumps(batch.to_record())


def test_a_record_says_what_it_is() -> None:
    prompt = EncodedPrompt(Prompt("sum/1", "1+1=", "2"), (5, 6))
    completion = Completion((3,), "2", (-0.25,), "stop")
    group = Group(prompt, (completion,), Sampling(1.0, 0.9, 8, 4), 6)
    scored = ScoredGroup(group, (Reward(1.0, {"exact": 1.0}),))
    assert GroupRecord("7.2.3", 7, 2, scored).to_record() == {
        "kind": "group",
        "id": "7.2.3",
        "first_step": 7,
        "slot": 2,
        "policy_step": 6,
        "prompt_id": "sum/1",
        "prompt_tokens": [5, 6],
        "sampling": {
            "temperature": 1.0,
            "top_p": 0.9,
            "top_k": 8,
            "max_completion_tokens": 4,
        },
        "completions": [
            {
                "tokens": [3],
                "text": "2",
                "sampler_logprobs": [-0.25],
                "finish_reason": "stop",
                "reward": 1.0,
                "reward_parts": {"exact": 1.0},
            }
        ],
    }
