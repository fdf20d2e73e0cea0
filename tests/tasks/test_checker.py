"""The checker's process: what it says, and that nothing of it is left behind, whatever happens."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import pytest

from rlrun.errors import MissingExtraError, WorkerError
from rlrun.tasks import checker
from rlrun.tasks.checker import Checker

TOWER = "5^{5^{5^{5^{5}}}}"  # has more digits than there are atoms
BUSHY = "(x+y+z+w+v+u)^{60}"  # has eight million terms
MIB = 2**20


def is_running(pid: int) -> bool:
    """Return whether there is such a process; one that nobody has waited for is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(is_so: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def pid_of(of: Checker) -> int:
    assert of.pid is not None
    return of.pid


@pytest.fixture
def short() -> Iterator[Checker]:
    """A checker that gives a question a second."""
    made = Checker(cpu_seconds=1.0)
    yield made
    made.close()


def test_one_process_answers_one_question_after_the_other(short: Checker) -> None:
    assert short.pid is None
    assert short.ask("x+x", "2x") == "correct"
    first = short.pid
    assert short.ask("x+x", "3x") == "wrong"
    assert short.pid == first is not None


def test_the_process_is_in_a_group_and_session_of_its_own(short: Checker) -> None:
    short.start()
    assert os.getpgid(pid_of(short)) == os.getsid(pid_of(short)) == short.pid


def test_a_computation_without_end_is_ended_and_the_next_question_is_answered(
    short: Checker,
) -> None:
    short.start()
    first = pid_of(short)
    assert short.ask(TOWER, "2") == "checker_timeout"
    assert short.pid is None
    assert not is_running(first)
    assert short.ask("x+x", "2x") == "correct"
    assert short.pid != first


def test_a_process_that_is_not_let_run_is_killed_by_the_clock() -> None:
    stuck = Checker(cpu_seconds=0.05)  # a second by the clock
    stuck.start()
    pid = pid_of(stuck)
    os.kill(pid, signal.SIGSTOP)
    assert stuck.ask("x+x", "2x") == "checker_timeout"
    assert not is_running(pid)
    stuck.close()


def test_a_formula_that_takes_too_much_memory_is_given_up() -> None:
    small = Checker(cpu_seconds=120, memory_bytes=192 * MIB)
    assert small.ask("x+x", "2x") == "correct"
    pid = pid_of(small)
    assert small.ask(BUSHY, "2x") == "checker_timeout"
    assert not is_running(pid)
    assert small.ask("x+x", "2x") == "correct"
    small.close()


def test_a_process_that_died_between_two_questions_is_started_anew(short: Checker) -> None:
    short.start()
    first = pid_of(short)
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: not is_running(first))
    assert short.ask("x+x", "2x") == "correct"


def test_an_interrupted_question_leaves_no_reply_for_the_next_one() -> None:
    patient = Checker(cpu_seconds=60)
    patient.start()
    first = pid_of(patient)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            patient.ask(TOWER, "2")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not is_running(first)
    assert patient.ask("x+x", "3x") == "wrong"
    patient.close()


def test_threads_get_the_answers_to_their_own_questions() -> None:
    shared = Checker()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: shared.ask(f"{n}x", "x+x"), range(8)))
    assert [n for n, verdict in enumerate(found) if verdict == "correct"] == [2]
    shared.close()


def test_closing_ends_the_process_and_may_be_done_twice(short: Checker) -> None:
    short.start()
    pid = pid_of(short)
    short.close()
    short.close()
    assert not is_running(pid)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(3)", "it ends before it is ready"),
        ('print(\'{"error": "ImportError: no sympy"}\')', "ImportError: no sympy"),
    ],
)
def test_a_process_that_does_not_start_is_an_error_with_a_way_out(
    program: str, reason: str
) -> None:
    broken = Checker(command=(sys.executable, "-c", program))
    with pytest.raises(WorkerError, match=re.escape(reason)) as caught:
        broken.ask("x+x", "2x")
    assert "pip install" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert broken.pid is None


def test_the_same_question_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    class Counting(Checker):
        def ask(self, answer: str, gold: str) -> checker.CheckVerdict:
            asked.append((answer, gold))
            return "checker_timeout"

    monkeypatch.setattr(checker, "_CHECKER", Counting())
    assert checker.check("q+q", "2q") == checker.check("q+q", "2q") == "checker_timeout"
    checker.check("2q", "q+q")
    assert asked == [("q+q", "2q"), ("2q", "q+q")]
    checker.check.cache_clear()


def test_without_the_extra_a_formula_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checker, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"q.jsonl:3 .*'2x'.* pip install .*\[math\]") as e:
        checker.require("q.jsonl:3", "2x")
    assert "\n" not in str(e.value)


def test_with_the_extra_the_process_is_started_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Checker()
    monkeypatch.setattr(checker, "_CHECKER", waiting)
    checker.require("q.jsonl:3", "2x")
    assert is_running(pid_of(waiting))
    waiting.close()


def test_versions_are_those_of_what_compares() -> None:
    found = checker.versions()
    assert re.fullmatch(r"math-verify [\d.]+, latex2sympy2-extended [\d.]+, sympy [\d.]+", found)


def run_script(script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "dev", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_process_that_exits_takes_its_checker_with_it_and_says_nothing() -> None:
    parent = run_script(
        "from rlrun.tasks import checker\nprint(checker.check('x+x', '2x'), checker._CHECKER.pid)"
    )
    out, err = parent.communicate(timeout=60)
    verdict, pid = out.split()
    assert (verdict, err, parent.returncode) == ("correct", "", 0)
    assert not is_running(int(pid))


@pytest.mark.parametrize(
    "then",
    [
        pytest.param("time.sleep(60)", id="idle"),
        pytest.param(f"made.ask({TOWER!r}, '2')", id="in the middle of a computation"),
    ],
)
def test_a_parent_that_is_killed_leaves_no_process_behind(then: str) -> None:
    parent = run_script(
        "import time\nfrom rlrun.tasks.checker import Checker\n"
        f"made = Checker(cpu_seconds=2)\nmade.start()\nprint(made.pid, flush=True)\n{then}"
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    assert is_running(pid)
    parent.kill()
    parent.communicate(timeout=60)
    assert wait_until(lambda: not is_running(pid), seconds=60)


def test_a_forked_child_asks_a_process_of_its_own_and_leaves_its_parents_alone() -> None:
    parent = run_script(
        "import os\nfrom rlrun.tasks import checker\n"
        "print(checker.check('x+x', '2x'), checker._CHECKER.pid, flush=True)\n"
        "child = os.fork()\n"
        "print(checker.check('y+y', '3y'), checker._CHECKER.pid, flush=True)\n"
        "if child: print(os.waitpid(child, 0)[1])"
    )
    out, err = parent.communicate(timeout=60)
    first, *both, status = out.splitlines()
    mine = first.split()[1]
    pids = {line.split()[1] for line in both}
    assert err == ""
    assert [line.split()[0] for line in both] == ["wrong", "wrong"]
    assert mine in pids
    assert len(pids) == 2
    assert status == "0"
    assert not any(is_running(int(pid)) for pid in pids)


def test_a_forked_child_that_never_asks_does_not_keep_its_parents_process_alive() -> None:
    parent = run_script(
        "import os, time\nfrom rlrun.tasks import checker\n"
        "checker.check('x+x', '2x')\n"
        "child = os.fork()\n"
        "if child: print(checker._CHECKER.pid, child, flush=True)\n"
        "time.sleep(60)"
    )
    assert parent.stdout is not None
    pid, child = map(int, parent.stdout.readline().split())
    parent.kill()
    parent.wait(timeout=20)
    try:
        assert wait_until(lambda: not is_running(pid))
        assert is_running(child)
    finally:
        os.kill(child, signal.SIGKILL)
        parent.communicate(timeout=20)
