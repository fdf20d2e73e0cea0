"""Questions, plans, a task and stored completions for tests of evaluation."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rlrun.evaluation import folder as folders
from rlrun.evaluation.folder import EvalFolder
from rlrun.evaluation.plan import Asked, Found, Plan
from rlrun.evaluation.records import Keeper, Record
from rlrun.evaluation.targets import Target
from rlrun.evaluation.work import Job
from rlrun.types import Grade, Prompt, Reward, Split, Verdict

ASKED = Asked(
    dataset="sums",
    question_ids=("q0", "q1", "q2"),
    questions_hash="questions",
    num_samples=1,
    temperature=0.0,
    max_prompt_tokens=16,
    max_completion_tokens=8,
    seed=0,
    engine="torch",
    engine_version="1",
    dtype="float32",
)
FOUND = Found("prompts", "weights", "tokenizer", "cpu")


def make_prompts(count: int) -> tuple[Prompt, ...]:
    """Return questions whose gold answer is their number."""
    return tuple(Prompt(f"q{i}", f"question {i}", str(i)) for i in range(count))


class GoldTask:
    """Grades by equality; an empty text has no answer, and nothing that was cut off has one."""

    def __init__(self, count: int = 3) -> None:
        self._prompts = make_prompts(count)

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        return self._prompts if split == "eval" else ()

    def grade(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Grade:
        if is_truncated:
            return Grade("truncated", None)
        if not completion_text:
            return Grade("no_answer", None)
        is_correct = completion_text == prompt.answer
        return Grade("correct" if is_correct else "wrong", completion_text)

    def reward(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Reward:
        grade = self.grade(prompt, completion_text, is_truncated=is_truncated)
        return Reward(float(grade.verdict == "correct"), {})


VERDICTS: Mapping[str, Verdict] = {
    "+": "correct", "-": "wrong", "0": "no_answer", "<": "truncated", "?": "checker_timeout",
    "!": "engine_error",
}  # fmt: skip


def make_job(root: Path, num_questions: int, num_samples: int = 1, grader: str = "code") -> Job:
    """Return a job on questions q0, q1, ... whose folder is there."""
    prompts = make_prompts(num_questions)
    ids = tuple(prompt.id for prompt in prompts)
    asked = replace(ASKED, question_ids=ids, num_samples=num_samples)
    plan = Plan(asked, FOUND)
    with folders.held_for(root, "run", plan, prompts, is_own=True) as folder:
        by_id = {prompt.id: prompt for prompt in prompts}
        return Job(folder, plan, by_id, {}, GoldTask(num_questions), grader, 1)


def step_target(step: int, model: str | None = None) -> Target:
    return Target(f"step_{step}", step, None, None, model or f"model {step}")


def keep(job: Job, target: Target, *samples: str) -> None:
    """Keep completions of a target: of each sample a sign for each question, a space for none."""
    with closing(Keeper(job.folder.step(target.label).completions)) as keeper:
        for number, signs in enumerate(samples):
            for question, sign in zip(job.plan.asked.question_ids, signs, strict=True):
                if sign != " ":
                    keeper.keep(_record(job, target, question, number, VERDICTS[sign]))


def _record(job: Job, target: Target, question: str, sample: int, verdict: Verdict) -> Record:
    gold = job.prompts[question].answer
    text = {"correct": gold, "wrong": "x", "checker_timeout": gold}.get(verdict, "")
    is_answer = verdict in ("correct", "wrong", "checker_timeout")
    record = Record(
        target.model_hash, job.plan.hash, question, sample, 7, verdict, text, 10,
        "length" if verdict == "truncated" else "stop", text if is_answer else None,
        job.grader, -0.5, 0.25,
    )  # fmt: skip
    if verdict == "engine_error":
        return replace(record, text=None, finish_reason=None, grader=None, reason="it failed",
                       num_tokens=0)  # fmt: skip
    return record


def folders_in(folder: EvalFolder) -> Sequence[str]:
    return sorted(path.name for path in folder.path.iterdir() if path.is_dir())
