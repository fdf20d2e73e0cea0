"""One writer: a living owner is respected, a dead one replaced, and asking changes nothing."""

import errno
import io
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import jobs, locking
from support.calls import recorded

from rlrun.errors import DamagedError, LockedError, StorageError
from rlrun.runs import files, lock
from rlrun.runs.layout import RunDir

NOW = 1_000_000.0
NUM_COMPETITORS = 8


def take(run: RunDir, session: int = 1, now: float = NOW) -> lock.Lock:
    return lock.Lock(run, lambda: session, now=lambda: now, heartbeat_seconds=None)


def write_owner(
    run: RunDir, *, host: str, heartbeat: float = NOW, pid: int = 4121, boot_id: str = "b"
) -> None:
    """Leave the lock file of a process elsewhere, or of one that is gone."""
    owner = {"host": host, "pid": pid, "boot_id": boot_id, "session": 7}
    run.lock.write_text(json.dumps(owner))
    os.utime(run.lock, (heartbeat, heartbeat))


@pytest.fixture
def holder(run: RunDir, tmp_path: Path) -> Iterator[int]:
    """Another process that holds the lock; its pid."""
    said = tmp_path / "said"
    process = jobs.start(locking.hold, run.path, said)
    wait_for(said)
    yield int(said.read_text())
    process.kill()
    process.join()


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_lock_file_says_who_holds_the_run_and_goes_when_it_is_released(run: RunDir) -> None:
    held = take(run, session=4)
    assert held.owner == lock.this_process(4)
    assert held.owner.pid == os.getpid()
    assert held.owner.host == socket.gethostname()
    assert lock.read_owner(run) == held.owner
    held.release()
    assert not run.lock.exists()
    assert lock.read_owner(run) is None


def test_a_released_lock_can_be_taken_again(run: RunDir) -> None:
    for session in (1, 2):
        take(run, session).release()
        assert lock.read_owner(run) is None


def test_the_session_is_numbered_when_the_lock_is_held_and_not_before(run: RunDir) -> None:
    held = take(run)
    with pytest.raises(LockedError):
        lock.Lock(run, lambda: pytest.fail("asked without the lock"), heartbeat_seconds=None)
    held.release()


def test_a_lock_whose_session_cannot_be_numbered_is_given_back(run: RunDir) -> None:
    def refuse() -> int:
        raise DamagedError("the ledger is damaged")

    with pytest.raises(DamagedError):
        lock.Lock(run, refuse, heartbeat_seconds=None)
    assert not run.lock.exists()
    take(run).release()


def test_another_process_is_refused_with_pid_host_and_session(run: RunDir, holder: int) -> None:
    with pytest.raises(LockedError) as caught:
        take(run)
    assert str(caught.value) == (
        f"run 'sums' is being written by pid {holder} on {socket.gethostname()} (session 3); stop "
        "it with 'rlrun stop sums'"
    )
    assert lock.read_owner(run) == lock.find_holder(run)


def test_a_holder_that_was_killed_is_replaced_however_fresh_its_heartbeat(
    run: RunDir, tmp_path: Path
) -> None:
    process = jobs.start(locking.hold, run.path, tmp_path / "said")
    wait_for(tmp_path / "said")
    process.kill()
    process.join()
    os.utime(run.lock, (NOW, NOW))
    assert lock.read_owner(run) is not None
    assert lock.find_holder(run, lambda: NOW) is None
    held = take(run, session=4)
    assert lock.read_owner(run) == lock.this_process(4)
    held.release()


def test_a_lock_whose_owner_has_not_written_its_name_yet_is_respected(
    run: RunDir, holder: int
) -> None:
    run.lock.write_text("")
    with pytest.raises(LockedError, match="being taken by another session right now; try again"):
        take(run)


@pytest.mark.parametrize("age", [0.0, 59.9, -5.0])
def test_another_host_with_a_fresh_heartbeat_is_respected(age: float, run: RunDir) -> None:
    write_owner(run, host="gpu-2", heartbeat=NOW - age)
    before = run.lock.read_bytes()
    with pytest.raises(LockedError, match=r"by pid 4121 on gpu-2 \(session 7\); stop it with"):
        take(run)
    assert run.lock.read_bytes() == before
    found = lock.find_holder(run, lambda: NOW)
    assert found is not None
    assert found.host == "gpu-2"


@pytest.mark.parametrize("age", [60.0, 3600.0])
def test_another_host_with_a_stale_heartbeat_is_replaced(age: float, run: RunDir) -> None:
    write_owner(run, host="gpu-2", heartbeat=NOW - age)
    assert lock.find_holder(run, lambda: NOW) is None
    held = take(run)
    assert lock.read_owner(run) == lock.this_process(1)
    held.release()


def test_a_refusal_leaves_the_lock_of_the_other_host_free_for_its_owner(run: RunDir) -> None:
    write_owner(run, host="gpu-2")
    with pytest.raises(LockedError):
        take(run)
    take(run, now=NOW + 61).release()


def test_the_age_of_a_heartbeat_is_what_the_clock_says(run: RunDir) -> None:
    write_owner(run, host="gpu-2", heartbeat=NOW - 12.5)
    assert lock.heartbeat_age(run, lambda: NOW) == 12.5
    run.lock.unlink()
    assert lock.heartbeat_age(run, lambda: NOW) == float("inf")


def test_a_holder_keeps_its_heartbeat_fresh(run: RunDir) -> None:
    held = lock.Lock(run, lambda: 1, heartbeat_seconds=0.005)
    os.utime(run.lock, (NOW, NOW))
    until = time.monotonic() + 60
    while run.lock.stat().st_mtime == NOW and time.monotonic() < until:
        time.sleep(0.005)
    assert lock.heartbeat_age(run) < 60
    held.release()
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_a_heartbeat_that_fails_once_goes_on(run: RunDir) -> None:
    num_beats = 0

    def refuse_the_first(operation: str, path: Path) -> None:
        nonlocal num_beats
        num_beats += operation == "touch"
        if num_beats == 1:
            raise StorageError("the network is away")

    with files.watched(refuse_the_first):
        held = lock.Lock(run, lambda: 1, heartbeat_seconds=0.005)
        until = time.monotonic() + 60
        while num_beats < 3 and time.monotonic() < until:
            time.sleep(0.005)
        held.release()
    assert num_beats >= 3


def test_releasing_removes_only_the_lock_that_was_taken(run: RunDir) -> None:
    held = take(run)
    run.lock.unlink()
    held.release()
    held = take(run)
    run.lock.unlink()
    write_owner(run, host="gpu-2")
    held.release()
    assert run.lock.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1}', "null"])
def test_a_lock_file_that_names_nobody_is_no_obstacle(text: str, run: RunDir) -> None:
    run.lock.write_text(text)
    assert lock.read_owner(run) is None
    assert lock.find_holder(run) is None
    take(run).release()


def test_asking_who_holds_a_run_changes_nothing(run: RunDir, holder: int) -> None:
    before = (run.lock.read_bytes(), run.lock.stat())
    with recorded() as calls:
        found = lock.find_holder(run)
    here = lock.this_process(3)
    assert found == lock.Owner(socket.gethostname(), holder, here.boot_id, 3, here.pid_namespace)
    assert calls == []
    assert (run.lock.read_bytes(), run.lock.stat()) == before


def test_asking_about_a_run_that_nobody_holds_makes_no_lock_file(run: RunDir) -> None:
    assert lock.find_holder(run) is None
    assert not run.lock.exists()


def test_a_machine_that_changed_its_name_is_known_by_its_boot(run: RunDir) -> None:
    write_owner(run, host="as-it-was-called", boot_id=lock.this_process(1).boot_id)
    assert lock.find_holder(run, lambda: NOW) is None  # fresh, but the kernel knows that it is gone
    take(run).release()


def test_an_owner_of_before_this_machine_was_started_is_dead(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uptime").write_text("20.5 70.0\n")
    monkeypatch.setattr(lock, "_UPTIME", tmp_path / "uptime")
    write_owner(run, host=socket.gethostname(), heartbeat=NOW - 25, boot_id="the one before")
    assert lock.find_holder(run, lambda: NOW) is None
    take(run).release()


def test_another_machine_of_the_same_name_is_respected(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uptime").write_text("20.5 70.0\n")
    monkeypatch.setattr(lock, "_UPTIME", tmp_path / "uptime")
    write_owner(run, host=socket.gethostname(), heartbeat=NOW - 5, boot_id="another")
    with pytest.raises(LockedError, match="pid 4121"):
        take(run)


def test_a_heartbeat_far_ahead_of_the_clock_is_said(run: RunDir) -> None:
    write_owner(run, host="gpu-2", heartbeat=NOW + 3600)
    with pytest.raises(LockedError) as caught:
        take(run)
    assert str(caught.value) == (
        "run 'sums' is being written by pid 4121 on gpu-2, and its heartbeat is 3600 s ahead of "
        "the clock here, so nobody can tell whether it lives; set the clocks right, or remove "
        f"{run.lock} if it does not"
    )


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_refused(
    number: int, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"has no file locks .*keep runs on one that has them"):
        take(run)


def test_a_session_that_was_taken_over_while_it_stood_still_learns_it(run: RunDir) -> None:
    held = take(run)
    held.require()
    write_owner(run, host="gpu-2")
    with pytest.raises(LockedError, match="taken over by pid 4121 on gpu-2 while this session"):
        held.require()
    held.release()
    assert lock.read_owner(run) is not None  # the other one's


def test_asking_never_keeps_a_session_from_taking_the_run(run: RunDir) -> None:
    here = lock.this_process(7)  # a dead session's, so that asking looks closer
    write_owner(run, host=here.host, boot_id=here.boot_id)
    dead = run.lock.read_bytes()
    is_done = threading.Event()

    def ask() -> None:
        while not is_done.is_set():
            lock.find_holder(run)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(50):
            run.lock.write_bytes(dead)
            take(run).release()
    finally:
        is_done.set()
        asking.join()


def test_processes_that_take_turns_are_never_in_each_others_way(run: RunDir) -> None:
    for _ in range(3):
        assert jobs.in_fork(locking.take_and_release, run.path, 50) == 0


@pytest.mark.parametrize("left_by", ["nobody", "the dead", "another host"])
def test_of_many_processes_that_want_a_run_at_once_exactly_one_gets_it(
    left_by: str, run: RunDir, tmp_path: Path
) -> None:
    if left_by != "nobody":
        host = socket.gethostname() if left_by == "the dead" else "gpu-2"
        write_owner(run, host=host, heartbeat=NOW)
    start, end = jobs.barrier(NUM_COMPETITORS), jobs.barrier(NUM_COMPETITORS)
    places = [tmp_path / f"said{number}" for number in range(NUM_COMPETITORS)]
    processes = [jobs.start(locking.compete, run.path, start, end, place) for place in places]
    for process in processes:
        process.join(60)
    said = [place.read_text() for place in places]
    assert said.count("won") == 1
    assert all(text.startswith("refused: run 'sums' is being") for text in said if text != "won")
    assert not run.lock.exists()


def test_a_lock_file_that_cannot_be_read_is_a_sentence_and_the_heart_beats_on(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lock.Lock(run, lambda: 1, heartbeat_seconds=0.01)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(io, "open", refuse)
        with pytest.raises(StorageError, match=r"cannot read .*lock\.json: Too many open files"):
            held.require()
        time.sleep(0.1)
        assert held._heart is not None
        assert held._heart.is_alive()
        held.release()
    assert run.lock.exists()  # whose it is could not be told; nobody holds it
    take(run, 2).release()
    assert not run.lock.exists()
