r"""Grade-school word problems (Cobbe et al. 2021, arXiv:2110.14168), or any file written like them.

A row of the data is a JSON object, one a line in a local file:

    {"question": "Natalia sold clips to 48 of her friends in April, and then she sold half as many
                  clips in May. How many clips did Natalia sell altogether in April and May?",
     "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nNatalia sold 48+24 = <<48+24=72>>72
                clips altogether in April and May.\n#### 72"}

and becomes the prompt `Prompt("gsm8k/train/0", "Natalia sold clips to 48 ...", "72", ...)`.
"""

from functools import cached_property

from rlrun.errors import ConfigError, first_few
from rlrun.tasks import checker
from rlrun.tasks.answers import grade_answer, has_marked_answer, is_gradable, needs_checker
from rlrun.tasks.rows import HUB_ID, fields_of, read_rows
from rlrun.types import Grade, Prompt, Reward, Split

INSTRUCTIONS = (
    'Reason step by step, and put the final answer, a number alone, on the last line after "####".'
)
FORMAT_REWARD = 0.1
"""Far below the 1 of a correct answer, so that form never pays more than being right."""


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

        Raises ConfigError for data that is not there or not as described above, naming its rows,
        and MissingExtraError where the hub is asked for and `datasets` is not installed, or where
        answers are formulas and `math-verify` is not.
        """
        return self._train if split == "train" else self._eval

    def grade(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Grade:
        """Return the verdict on what the completion answers; see answers.py."""
        return grade_answer(completion_text, prompt.answer, is_truncated=is_truncated)

    def reward(self, prompt: Prompt, completion_text: str, *, is_truncated: bool) -> Reward:
        """Return correct (0 or 1) plus format (0 or 0.1, for an answer that is marked as such).

        A marked answer follows "####" or "the answer is", or is in a box; a correct answer need
        not be marked, so a right number at the end of a text without a mark earns 1, unless the
        text was cut off there.  The part `checker_timeout` (0 or 1) counts for nothing: it shows.
        """
        verdict = self.grade(prompt, completion_text, is_truncated=is_truncated).verdict
        correct = float(verdict == "correct")
        is_marked = has_marked_answer(completion_text, is_truncated=is_truncated)
        marked = FORMAT_REWARD if is_marked else 0.0
        timeout = float(verdict == "checker_timeout")
        parts = {"correct": correct, "format": marked, "checker_timeout": timeout}
        return Reward(total=correct + marked, parts=parts)

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
        prompts: list[Prompt] = []
        problems: list[str] = []
        formula: tuple[str, str] | None = None
        for index, (where, row) in enumerate(read_rows(self._path, split)):
            try:
                question, gold = _question_and_gold(where, row)
            except ConfigError as problem:
                problems.append(str(problem))
                continue
            prompts.append(Prompt(f"gsm8k/{split}/{index}", question, gold, self._instructions))
            if formula is None and needs_checker(gold):
                formula = where, gold
        if problems:
            raise ConfigError("\n".join(first_few(problems, 10)))
        if not prompts:
            raise ConfigError(
                f"task.path: {self._path} has no {split} questions; add one JSON object a line"
            )
        if formula is not None:
            checker.require(*formula)
        return tuple(prompts)


def gold_of(solution: str) -> str:
    """Return what follows the last "####" of a solution: "72" for "... #### 72".

    Raises ValueError where nothing does.
    """
    gold = solution.rpartition("####")[2].strip() if "####" in solution else ""
    if not gold:
        raise ValueError('no answer after "####"')
    return gold


def _question_and_gold(where: str, row: object) -> tuple[str, str]:
    question, solution = fields_of(where, row)
    try:
        gold = gold_of(solution)
    except ValueError as error:
        raise ConfigError(f'{where} has {error} in its answer; end it with "#### 72"') from error
    if not is_gradable(gold):
        raise ConfigError(
            f"{where} has the answer {gold!r}, which no completion could match; "
            'write one number, a formula or a few words after "####"'
        )
    return question, gold
