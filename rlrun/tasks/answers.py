r"""The one grader of written answers: what a text answers, and whether that is the gold answer.

Rewards and evaluation both ask `grade_answer`, so they can never differ.  Which words of a text are
its answer is said in extraction.py.  Two answers agree if

    both are the same number, exactly              numbers.py
    neither is a number, and both are the same words, in any case and spacing
    the gold answer is a formula (LaTeX that is no number) and the checker calls them equal

A gold answer that is a number or words is thus decided by strict comparison alone, the same on
every machine.  Only the checker, asked for formulas, may run out of its limits.

All but the checker takes any string, never raises, and takes time linear in the text.
"""

from rlrun.tasks import checker
from rlrun.tasks.extraction import extract
from rlrun.tasks.formulas import canonical_formula, is_formula, pair_for_checker
from rlrun.tasks.markup import without_markup
from rlrun.tasks.numbers import read_number
from rlrun.types import Grade, Verdict

_EDGES = " .*_`\"'"


def grade_answer(text: str, gold: str, *, is_truncated: bool) -> Grade:
    """Return the verdict on `text`, where `gold` is a bare answer such as "1,080".

    A text that was cut off before it had marked a complete answer is `truncated`, whatever it says.
    """
    found = extract(text, is_truncated=is_truncated)
    if found is None:
        return Grade("truncated" if is_truncated else "no_answer", None)
    return Grade(judge(found.answer, gold), found.answer)


def judge(answer: str, gold: str) -> Verdict:
    """Return the verdict on a bare answer."""
    given, wanted = canonical(answer), canonical(gold)
    if given == wanted:
        return "correct"
    # From here on the answer is what is alike in all answers that agree with it.
    pair = pair_for_checker(given, wanted) if needs_checker(gold) else None
    return "wrong" if pair is None else checker.check(*pair)


def has_marked_answer(text: str, *, is_truncated: bool) -> bool:
    """Return whether `text` says which of its words are the answer."""
    found = extract(text, is_truncated=is_truncated)
    return found is not None and found.is_marked


def canonical(answer: str) -> str:
    """Return what answers that agree have in common: a number in lowest terms, or else words.

    Answers that are alike in this have the same verdict, so a majority may be counted by it.
    Formulas are alike as they are written: that x + x is 2x is seen by the checker only.
    """
    number = read_number(answer)
    if number is not None:
        return str(number)
    return canonical_formula(answer) if is_formula(answer) else _words(answer)


def needs_checker(gold: str) -> bool:
    """Return whether answers to this gold answer can differ from it in writing and be right."""
    return read_number(gold) is None and is_formula(gold)


def is_gradable(gold: str) -> bool:
    """Return whether a completion that marks this gold answer as its own is correct."""
    wanted = canonical(gold)
    found = [extract(text) for text in (f"#### {gold}", rf"\boxed{{{gold}}}")]
    return all(it is not None and canonical(it.answer) == wanted for it in found)


def _words(text: str) -> str:
    words = " ".join(without_markup(text).casefold().split()).strip(_EDGES)
    is_choice = len(words) == 3 and words[0] == "(" and words[2] == ")"  # (A)
    return words[1] if is_choice else words
