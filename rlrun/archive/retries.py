"""Trying again what may go away: longer and longer apart, at random, and only for so long."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from rlrun.archive import stopping
from rlrun.archive.s3_errors import Kind, Problem

_Result = TypeVar("_Result")
_AGAIN = (Kind.TRANSIENT, Kind.UNREACHABLE, Kind.CONFLICT, Kind.DAMAGED)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on, and with which clock."""

    seconds: float = 120.0
    unreachable_seconds: float = 20.0  # while nobody has ever answered
    first_delay_seconds: float = 0.2
    longest_delay_seconds: float = 20.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = stopping.sleep
    random: Callable[[], float] = random.random

    def delay(self, num_failures: int, problem: Problem) -> float:
        """Return how long to wait after so many failures: anything up to twice as long each time.

        What the store asks for is the least.
        """
        most = min(self.longest_delay_seconds, self.first_delay_seconds * 2.0 ** (num_failures - 1))
        return max(most * self.random(), problem.retry_after or 0.0)


def persist(
    attempt: Callable[[], _Result],
    classify: Callable[[Exception], Problem | None],
    patience: Patience,
    *,
    renew: Callable[[], None],
    has_answered: Callable[[], bool],
) -> _Result:
    """Return what an attempt returns; the last attempt's error if that does not go away.

    Credentials that have expired are renewed once.
    """
    begun, num_failures, is_renewed = patience.clock(), 0, False
    while True:
        stopping.check()
        try:
            return attempt()
        except Exception as error:
            problem = classify(error)
            if problem is None:
                raise
            if problem.kind is Kind.EXPIRED and not is_renewed:
                is_renewed = True
                renew()
                continue
            if problem.kind not in _AGAIN:
                raise
            num_failures += 1
            is_known = problem.kind is not Kind.UNREACHABLE or has_answered()
            most = patience.seconds if is_known else patience.unreachable_seconds
            left = most - (patience.clock() - begun)
            delay = patience.delay(num_failures, problem)
            if left <= 0 or (problem.retry_after or 0.0) > left:
                raise
        patience.sleep(min(delay, left))
