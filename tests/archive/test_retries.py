"""What may go away is tried again, longer and longer apart, for as long as patience lasts."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from rlrun.archive.retries import Patience, persist
from rlrun.archive.s3_errors import Kind, Problem


class FailedError(Exception):
    def __init__(self, kind: Kind, retry_after: float | None = None) -> None:
        super().__init__(kind.name)
        self.problem = Problem(kind, kind.name, retry_after=retry_after)


def problem_of(error: Exception) -> Problem | None:
    return error.problem if isinstance(error, FailedError) else None


@dataclass
class World:
    """A clock that only sleeping moves, chance that is always the same, and what happened."""

    chance: float = 1.0
    has_answered: bool = True
    now: float = 0.0
    sleeps: list[float] = field(default_factory=list)
    num_renewed: int = 0
    num_tries: int = 0

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def renew(self) -> None:
        self.num_renewed += 1

    def run(self, *failures: Exception, forever: Exception | None = None) -> str:
        waiting = iter(failures)

        def attempt() -> str:
            self.num_tries += 1
            failure = next(waiting, forever)
            if failure:
                raise failure
            return "done"

        patience = Patience(clock=lambda: self.now, sleep=self.sleep, random=lambda: self.chance)
        answered: Callable[[], bool] = lambda: self.has_answered  # noqa: E731
        return persist(attempt, problem_of, patience, renew=self.renew, has_answered=answered)


def test_waits_double_up_to_the_longest() -> None:
    world = World()
    assert world.run(*[FailedError(Kind.TRANSIENT)] * 9) == "done"
    assert world.sleeps == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20, 20]


def test_a_wait_is_anything_up_to_that_by_chance() -> None:
    world = World(chance=0.25)
    world.run(*[FailedError(Kind.CONFLICT)] * 3)
    assert world.sleeps == [0.05, 0.1, 0.2]


def test_patience_ends_in_time_with_a_last_try_at_its_end() -> None:
    world = World()
    with pytest.raises(FailedError):
        world.run(forever=FailedError(Kind.TRANSIENT))
    assert world.now == pytest.approx(120)


def test_what_the_store_asks_for_is_waited_if_there_is_time() -> None:
    world = World(chance=0.0)
    world.run(FailedError(Kind.TRANSIENT, retry_after=7))
    assert world.sleeps == [7]
    with pytest.raises(FailedError):
        world.run(FailedError(Kind.TRANSIENT, retry_after=500))
    assert world.sleeps == [7]


def test_a_store_that_nobody_ever_reached_is_given_up_sooner() -> None:
    world = World(has_answered=False)
    with pytest.raises(FailedError):
        world.run(forever=FailedError(Kind.UNREACHABLE))
    assert world.now == pytest.approx(20)
    known = World(has_answered=True)
    with pytest.raises(FailedError):
        known.run(forever=FailedError(Kind.UNREACHABLE))
    assert known.now == pytest.approx(120)


@pytest.mark.parametrize(
    "kind", [Kind.DENIED, Kind.NO_BUCKET, Kind.ABSENT, Kind.LOST_UPLOAD, Kind.REFUSED]
)
def test_what_stays_is_not_tried_again(kind: Kind) -> None:
    world = World()
    with pytest.raises(FailedError):
        world.run(FailedError(kind))
    assert (world.num_tries, world.sleeps) == (1, [])


def test_expired_credentials_are_renewed_once() -> None:
    world = World()
    assert world.run(FailedError(Kind.EXPIRED)) == "done"
    assert (world.num_renewed, world.sleeps) == (1, [])
    with pytest.raises(FailedError):
        world.run(FailedError(Kind.EXPIRED), FailedError(Kind.EXPIRED))
    assert world.num_renewed == 2


def test_what_has_nothing_to_do_with_the_store_is_raised_at_once() -> None:
    world = World()
    with pytest.raises(ValueError, match="ours"):
        world.run(ValueError("ours"))
    assert world.num_tries == 1
