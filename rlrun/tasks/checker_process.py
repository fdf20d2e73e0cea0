"""The process that compares formulas: JSON lines in, JSON lines out, math-verify in between.

It may be killed at any moment, and does so itself: the kernel ends it when a question has taken its
seconds of processor time, which no computation can catch, and it ends where its input does.
"""

import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

Comparison = Callable[[str, str], bool]

_STATUS = Path("/proc/self/status")
_OUT_OF_MEMORY = 3


def main(arguments: list[str]) -> None:
    """Answer each line of the input, `{"answer", "gold"}`, with `{"is_equal"}`.

    `arguments` are the seconds of processor time for a question, and the bytes of address space.
    """
    cpu_seconds, memory_bytes = float(arguments[0]), int(arguments[1])
    replies = _own_output()
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    try:
        from rlrun.tasks.comparison import is_equal
    except (ImportError, MemoryError) as error:
        _say(replies, {"error": f"{type(error).__name__}: {error}"})
        return
    _say(replies, {"is_ready": is_equal("x+x", "2x")})  # the first one takes longer
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        verdict = _within(memory_bytes, is_equal, question["answer"], question["gold"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        _say(replies, {"is_equal": verdict})


def _within(memory_bytes: int, is_equal: Comparison, answer: str, gold: str) -> bool:
    """Return the verdict; ends the process where the memory did not suffice.

    sympy takes a MemoryError for one of many reasons not to see that two things are equal, so that
    it got near the limit is what tells.
    """
    try:
        verdict = is_equal(answer, gold)
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    except Exception:  # noqa: BLE001  sympy may raise anything; what cannot be compared is not equal
        verdict = False
    if _peak_bytes() > memory_bytes // 2:
        os._exit(_OUT_OF_MEMORY)
    return verdict


def _own_output() -> TextIO:
    """Return the output for replies; what a library prints goes nowhere."""
    replies = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return replies


def _say(replies: TextIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _peak_bytes() -> int:
    """Return the most address space that the process has had; 0 where the system does not say."""
    lines = _STATUS.read_text().splitlines() if _STATUS.exists() else []
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmPeak:")]
    return peaks[0] * 1024 if peaks else 0


if __name__ == "__main__":
    main(sys.argv[1:])
