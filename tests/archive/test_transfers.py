import threading

import pytest

from rlrun.archive.transfers import Progress, each


def test_results_come_in_the_order_of_the_items() -> None:
    assert each(lambda number: number * number, range(50), at_once=4) == [n * n for n in range(50)]


def test_so_many_are_at_work_and_no_more() -> None:
    lock, together, most = threading.Lock(), threading.Barrier(3, timeout=20), [0, 0]

    def act(_: int) -> None:
        with lock:
            most[0] += 1
            most[1] = max(most)
        together.wait()
        with lock:
            most[0] -= 1

    each(act, range(9), at_once=3)
    assert most[1] == 3


def test_the_first_error_ends_it_and_nothing_more_is_begun() -> None:
    begun = []

    def act(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        each(act, range(1000), at_once=2)
    assert len(begun) < 20


def test_one_item_needs_no_threads() -> None:
    assert each(lambda _: threading.current_thread().name, [1], at_once=8) == ["MainThread"]


def test_progress_adds_up_from_all_threads() -> None:
    seen: list[int] = []
    progress = Progress(watch=lambda one: seen.append(one.done_bytes))
    progress.expect(400)
    each(lambda _: progress.note(1), range(400), at_once=4)
    assert (progress.done_bytes, progress.total_bytes) == (400, 400)
    assert seen == sorted(seen)
