"""Ctrl-C comes to the main thread; what works for it in other threads ends then too."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.fake_s3 import FakeS3
from support.storage_contract import PART, some_bytes

from rlrun.archive import blobs, stopping
from rlrun.archive.bodies import Body
from rlrun.archive.credentials import Credentials
from rlrun.archive.destination import S3Destination
from rlrun.archive.retries import Patience
from rlrun.archive.s3_storage import S3Storage
from rlrun.archive.transfers import Progress, each

LONG = 30.0  # seconds that nobody may wait in these tests


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def left(submit: Callable[[], Any], error: BaseException) -> Any:
    """Return what was submitted in a block that was left by an error."""
    submitted = None
    try:
        with stopping.passed_on():
            submitted = submit()
            raise error
    except type(error):
        return submitted


def left_by(error: BaseException, pool: ThreadPoolExecutor) -> Any:
    """Return what a thread came to that sleeps while the block around it is left by an error."""
    return left(lambda: stopping.submit(pool, stopping.sleep, 0.2), error)


def test_a_thread_that_waits_ends_when_the_block_is_left_by_ctrl_c(
    pool: ThreadPoolExecutor,
) -> None:
    assert isinstance(left_by(KeyboardInterrupt(), pool).exception(LONG), KeyboardInterrupt)


def test_an_error_lets_a_thread_end_by_itself(pool: ThreadPoolExecutor) -> None:
    assert left_by(ValueError(), pool).exception(LONG) is None


def test_outside_of_a_block_nobody_is_told(pool: ThreadPoolExecutor) -> None:
    left_by(KeyboardInterrupt(), pool)
    stopping.check()
    stopping.sleep(0)
    assert pool.submit(stopping.check).exception(LONG) is None


def test_a_block_in_a_block_passes_on_what_the_outer_one_is_told(pool: ThreadPoolExecutor) -> None:
    def inner() -> list[None]:
        return each(stopping.sleep, [LONG, LONG], at_once=2)

    both = left(lambda: stopping.submit(pool, inner), KeyboardInterrupt())
    assert isinstance(both.exception(LONG / 2), KeyboardInterrupt)


def test_progress_and_a_body_end_a_thread_that_is_told(pool: ThreadPoolExecutor) -> None:
    is_told = threading.Event()

    def move(act: Callable[[], object]) -> None:
        is_told.wait(LONG)
        act()

    body = Body(blobs.of_bytes(b"content"), 0, 7)
    acts = (lambda: Progress().note(1), body.read)
    threads = left(lambda: [stopping.submit(pool, move, act) for act in acts], KeyboardInterrupt())
    is_told.set()
    assert [type(one.exception(LONG)) for one in threads] == [KeyboardInterrupt] * 2


@dataclass
class World:
    """A store that stops to answer, and what happens to whoever waits for it."""

    root: Path
    fake: FakeS3 = field(default_factory=FakeS3)
    asleep: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def storage(self) -> S3Storage:
        patience = Patience(
            first_delay_seconds=LONG,
            longest_delay_seconds=LONG,
            sleep=self.sleep,
            random=lambda: 1.0,
        )
        found = S3Storage(
            S3Destination("bucket"),
            Credentials(),
            self.root,
            transfers=2,
            client_maker=lambda _: self.fake,
            patience=patience,
        )
        assert found.has_checksums()
        for operation in ("put_object", "upload_part"):
            self.fake.fail(operation, TimeoutError(), times=10**6)
        return found

    def sleep(self, seconds: float) -> None:
        self.asleep.release()
        stopping.sleep(seconds)

    def interrupt_when_asleep(self, num_threads: int) -> None:
        """Send Ctrl-C as soon as so many threads wait to try again."""

        def watch() -> None:
            for _ in range(num_threads):
                assert self.asleep.acquire(timeout=LONG)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        threading.Thread(target=watch, daemon=True).start()


def test_ctrl_c_ends_all_transfers_although_the_store_never_answers(tmp_path: Path) -> None:
    world = World(tmp_path)
    storage = world.storage()
    world.interrupt_when_asleep(4)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        each(
            lambda key: storage.put(key, blobs.of_bytes(b"content"), lambda _: None),
            ["a", "b", "c", "d"],
            at_once=4,
        )
    assert time.monotonic() - begun < LONG / 3
    assert world.fake.calls["put_object"] < 20


def test_ctrl_c_ends_the_parts_of_a_single_object_although_the_store_never_answers(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    storage = world.storage()
    world.interrupt_when_asleep(2)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        storage.put("large", blobs.of_bytes(some_bytes(3 * PART)), lambda _: None)
    assert time.monotonic() - begun < LONG / 3
