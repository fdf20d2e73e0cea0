"""The process that compares, spoken to as its parent speaks to it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

Start = Callable[..., "subprocess.Popen[str]"]

MIB = 2**20


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the process with its limits."""
    started: list[subprocess.Popen[str]] = []

    def start_process(cpu_seconds: float = 5.0, mebibytes: int = 2048) -> "subprocess.Popen[str]":
        limits = [str(cpu_seconds), str(mebibytes * MIB)]
        process = subprocess.Popen(
            [sys.executable, "-m", "rlrun.tasks.checker_process", *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        return process

    yield start_process
    for process in started:
        process.kill()
        process.communicate(timeout=20)


def question(answer: str, gold: str) -> str:
    return json.dumps({"answer": answer, "gold": gold}) + "\n"


def test_a_line_is_answered_by_a_line_and_the_end_by_an_end(start: Start) -> None:
    process = start()
    asked = question("x+x", "2x") + question("x+x", "3x") + question("\ud800", "\u221a\n")
    out, _ = process.communicate(asked, timeout=60)
    replies = [json.loads(line) for line in out.splitlines()]
    verdicts = [{"is_equal": is_equal} for is_equal in (True, False, False)]
    assert replies == [{"is_ready": True}, *verdicts]
    assert process.returncode == 0


def test_the_kernel_ends_what_takes_too_long(start: Start) -> None:
    process = start(cpu_seconds=0.5)
    out, _ = process.communicate(question("5^{5^{5^{5^{5}}}}", "2"), timeout=60)
    assert process.returncode == -signal.SIGPROF
    assert len(out.splitlines()) == 1


def test_the_time_of_one_question_is_not_that_of_the_next(start: Start) -> None:
    process = start(cpu_seconds=1.0)
    asked = "".join(question(rf"{n}\sqrt{{2}}+x^{{2}}", rf"\sqrt{{{2 * n * n}}}+x^{{2}}")
                    for n in range(2, 40))  # fmt: skip
    out, _ = process.communicate(asked, timeout=120)
    assert process.returncode == 0
    assert len(out.splitlines()) == 1 + 38


def test_it_ends_where_the_memory_does_not_suffice(start: Start) -> None:
    process = start(cpu_seconds=120, mebibytes=192)
    out, _ = process.communicate(question("(x+y+z+w+v+u)^{60}", "2x"), timeout=300)
    assert process.returncode == 3
    assert len(out.splitlines()) == 1


def test_it_says_so_if_it_cannot_even_import(start: Start) -> None:
    process = start(mebibytes=32)
    out, _ = process.communicate(timeout=60)
    assert [list(json.loads(line)) for line in out.splitlines()] in ([["error"]], [])
