"""Several processes want one run at once: one gets it, and it ends as if there had been no other.

The processes meet at barriers and in front of file operations, so that each race is run the same
way every time.
"""

import os
import shutil
import signal
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from support import jobs, mishaps, oracle, races
from support.jobs import Job
from support.races import Competitor, OtherHost, SealForAReader, StandStill, TurnAt, Turns
from support.runs import make_run

from rlrun.errors import EXIT_DONE, LockedError, StorageError
from rlrun.runs import checkpoints, ledger, lock, store
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest

SETTINGS = {
    "plain": ["train.max_steps=4", "saving.every_steps=2", "grpo.prompts_per_step=2"],
    "window": [
        "train.max_steps=4",
        "saving.every_steps=1",
        "grpo.prompts_per_step=1",
        "grpo.updates_per_batch=2",
    ],
}


class Track:
    """An untouched run, what it ends in, and how many calls a session makes on the way."""

    def __init__(self, folder: Path, model: Path, name: str) -> None:
        self._untouched = make_run(folder, "untouched", model, SETTINGS[name])
        straight, trace = self.copy(folder / "straight"), folder / "trace"
        assert jobs.run_worker(Job(straight.path, trace=trace)) == 0
        self.num_calls = len(trace.read_text().splitlines())
        self.digest = oracle.digest(straight.path)

    def copy(self, path: Path) -> RunDir:
        return RunDir(shutil.copytree(self._untouched.path, path, symlinks=True))

    def check(self, run: RunDir, *, num_sessions: int) -> None:
        """Fail unless a run is at its end, as if one process had worked on it."""
        assert oracle.differences(self.digest, oracle.digest(run.path)) == []
        assert oracle.litter(run.path) == []
        assert checkpoints.linked_step(run) == 4
        races.check_one_writer(run, num_sessions)
        races.check_no_group_twice(run)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> Any:
    @cache
    def track(name: str = "plain") -> Track:
        return Track(tmp_path_factory.mktemp(name), micro_model, name)

    return track


@pytest.fixture
def run(tracks: Any, tmp_path: Path) -> RunDir:
    (tmp_path / "training_runs").mkdir()
    made: RunDir = tracks().copy(tmp_path / "training_runs" / "run")
    return made


def ended(process: Any) -> int:
    """Return how a process ends."""
    process.join(races.SECONDS)
    if process.exitcode is None:
        process.kill()
        pytest.fail("a process hung")
    code: int = process.exitcode
    return code


def finish(run: RunDir, track: Track, *, num_sessions: int) -> None:
    """Train a run to its end and judge it."""
    assert jobs.run_worker(Job(run.path)) == 0
    track.check(run, num_sessions=num_sessions)


# ---- two to eight sessions


def leave_new(run: RunDir) -> int:
    return 0


def leave_stopped(run: RunDir) -> int:
    assert jobs.run_worker(Job(run.path, SessionRequest(steps=1, device="cpu"))) == 0
    return 1


def leave_killed(run: RunDir) -> int:
    assert jobs.run_worker(Job(run.path, kill_after_steps=2)) == -9
    assert run.lock.exists()
    return 1


@pytest.mark.parametrize("num_sessions", [2, 4, 8])
@pytest.mark.parametrize("leave", [leave_new, leave_stopped, leave_killed])
def test_of_sessions_at_once_one_gets_the_run_and_the_others_leave_no_trace(
    leave: Any, num_sessions: int, run: RunDir, tracks: Any, counted: Any
) -> None:
    num_before = leave(run)
    competitor = Competitor(jobs.barrier(num_sessions), jobs.barrier(num_sessions))
    job = Job(run.path, mishap=competitor)
    processes = [jobs.start(jobs.serve, job) for _ in range(num_sessions)]
    codes = sorted(ended(process) for process in processes)
    assert codes == [EXIT_DONE] + [LockedError.exit_code] * (num_sessions - 1)
    tracks().check(run, num_sessions=num_before + 1)
    counted("races", 1)


def test_sessions_on_a_run_of_a_dead_process_do_not_wait_for_a_heartbeat_to_be_old(
    run: RunDir, tracks: Any, counted: Any
) -> None:
    leave_killed(run)
    assert lock.heartbeat_age(run) < lock.STALE_SECONDS
    finish(run, tracks(), num_sessions=2)
    counted("races", 1)


# ---- creation


@pytest.mark.parametrize("num_processes", [2, 4, 8])
def test_of_processes_that_create_a_run_of_one_name_one_does(
    num_processes: int, tmp_path: Path, micro_model: Path, counted: Any
) -> None:
    said = create_at_once(tmp_path, "run", micro_model, num_processes)
    assert said.count("run") == 1
    refusals = [text for text in said if text != "run"]
    assert all(text.startswith("refused: run 'run' already exists in") for text in refusals)
    (run,) = store.list_runs(tmp_path)
    assert store.read_identity(run).id
    assert os.listdir(tmp_path / "training_runs") == ["run"]  # noqa: PTH208
    counted("races", 1)


def test_processes_that_create_runs_without_a_name_make_one_each(
    tmp_path: Path, micro_model: Path, counted: Any
) -> None:
    said = create_at_once(tmp_path, None, micro_model, 4)
    found = store.list_runs(tmp_path)
    assert sorted(said) == [run.name for run in found]
    assert len({store.read_identity(run).id for run in found}) == 4
    assert len(list((tmp_path / "training_runs").iterdir())) == 4
    counted("races", 1)


def create_at_once(root: Path, name: str | None, model: Path, count: int) -> list[str]:
    start = jobs.barrier(count)
    places = [root / f"said{number}" for number in range(count)]
    processes = [jobs.start(races.create, root, name, model, start, place) for place in places]
    assert [ended(process) for process in processes] == [0] * count
    said = [place.read_text() for place in places]
    for place in places:
        place.unlink()
    return said


# ---- a session that stands still


IN_A_SAMPLE = StandStill("rlrun.rollouts.torch_engine", "draw_tokens", 11)
IN_AN_UPDATE = StandStill("rlrun.trainer.step", "grpo_loss", 3)
IN_A_COPY = StandStill("rlrun.trainer.session", "copy_state", 1)
IN_A_SAVE = StandStill("rlrun.runs.manifest", "describe_bytes", 4)  # the last file of the first one
MOMENTS = {"sample": IN_A_SAMPLE, "update": IN_AN_UPDATE, "copy": IN_A_COPY, "save": IN_A_SAVE}


def start_and_stand(run: RunDir, moment: Any, output: Path | None = None) -> Any:
    """Start a session and return its process when it stands still."""
    process = jobs.start(jobs.serve, Job(run.path, mishap=moment, output=output))
    races.wait_until_it_stands(process)
    return process


def wake(process: Any) -> int:
    os.kill(process.pid, signal.SIGCONT)
    return ended(process)


def test_a_session_that_stands_still_keeps_its_run_and_goes_on(
    run: RunDir, tracks: Any, counted: Any
) -> None:
    process = start_and_stand(run, IN_AN_UPDATE)
    assert jobs.run_worker(Job(run.path)) == LockedError.exit_code
    assert wake(process) == EXIT_DONE
    tracks().check(run, num_sessions=1)
    counted("races", 1)


@pytest.mark.parametrize("moment", ["sample", "update", "copy"])
def test_a_session_whose_run_was_taken_over_while_it_stood_still_writes_nothing_more(
    moment: str, run: RunDir, tmp_path: Path, counted: Any
) -> None:
    process = start_and_stand(run, MOMENTS[moment], tmp_path / "output")
    run.lock.write_text('{"boot_id": "b", "host": "gpu-2", "pid": 4121, "session": 9}')
    before = races.contents(run.path)
    assert wake(process) == LockedError.exit_code
    assert races.contents(run.path) == before
    assert "was taken over by pid 4121 on gpu-2" in (tmp_path / "output").read_text()
    counted("races", 1)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_session_that_wakes_behind_another_hosts_spoils_nothing(
    moment: str, run: RunDir, tracks: Any, counted: Any
) -> None:
    process = start_and_stand(run, MOMENTS[moment])
    races.let_heartbeat_be_old(run)
    assert jobs.run_worker(Job(run.path, mishap=OtherHost())) == EXIT_DONE
    before = races.contents(run.path)
    # what it was writing is gone, so in the middle of a save the system may be who refuses it
    refused = [LockedError.exit_code] + [StorageError.exit_code] * (moment == "save")
    assert wake(process) in refused
    assert races.contents(run.path) == before
    tracks().check(run, num_sessions=2)
    counted("races", 1)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_session_that_wakes_while_another_host_works_leaves_the_run_to_it(
    moment: str, run: RunDir, tracks: Any, counted: Any
) -> None:
    process = start_and_stand(run, MOMENTS[moment])
    races.let_heartbeat_be_old(run)
    turns = Turns(jobs.barrier(2), every=1)
    meeting = partial(mishaps.several, OtherHost(), TurnAt(turns, "write train_log.jsonl"))
    other = jobs.start(jobs.serve, Job(run.path, mishap=meeting))
    codes: list[int] = []
    turns.take(lambda: codes.append(wake(process)))
    assert ended(other) == EXIT_DONE
    assert codes[0] in (LockedError.exit_code, StorageError.exit_code)
    tracks().check(run, num_sessions=2)
    counted("races", 1)


# ---- two machines, and a file system whose locks do not reach from one to the other


def test_another_host_is_refused_while_the_heartbeat_is_fresh(
    run: RunDir, tracks: Any, counted: Any
) -> None:
    process = start_and_stand(run, IN_AN_UPDATE)
    assert jobs.run_worker(Job(run.path, mishap=OtherHost())) == LockedError.exit_code
    assert wake(process) == EXIT_DONE
    tracks().check(run, num_sessions=1)
    counted("races", 1)


def test_of_two_other_hosts_one_after_the_other_the_first_takes_a_stale_run_over(
    run: RunDir, tracks: Any, counted: Any
) -> None:
    process = start_and_stand(run, IN_AN_UPDATE)
    races.let_heartbeat_be_old(run)
    turns = Turns(jobs.barrier(2), every=1)
    meeting = partial(mishaps.several, OtherHost("gpu-2"), TurnAt(turns, "open train_log.jsonl"))
    second = jobs.start(jobs.serve, Job(run.path, mishap=meeting))
    codes: list[int] = []
    third = Job(run.path, mishap=OtherHost("gpu-3"))
    turns.take(lambda: codes.append(jobs.run_worker(third)))
    assert codes == [LockedError.exit_code]
    assert ended(second) == EXIT_DONE
    assert wake(process) == LockedError.exit_code
    tracks().check(run, num_sessions=2)
    assert [session.opening.host for session in ledger.read(run)][1] == "gpu-2"
    counted("races", 1)


# ---- readers, while a session saves and seals


@pytest.mark.parametrize("words", [["list"], ["status", "run"], ["logs", "run"]], ids=" ".join)
def test_readers_never_fail_and_never_change_anything_while_a_session_writes(
    words: list[str], run: RunDir, tracks: Any, tmp_path: Path, counted: Any
) -> None:
    turns = Turns(jobs.barrier(2), every=3)
    num_turns = tracks().num_calls // turns.every
    assert num_turns > 30
    output = tmp_path / "output"
    arguments = [*words, "--json", "--root", str(tmp_path)]
    reader = jobs.start(races.read_in_turns, arguments, turns, num_turns, run.path, output)
    session = jobs.start(jobs.serve, Job(run.path, mishap=turns))
    assert ended(reader) == 0, output.read_text()
    assert ended(session) == EXIT_DONE
    tracks().check(run, num_sessions=1)
    counted("races", 1)
    counted("looks of readers at a session at work", num_turns)


def test_forks_of_a_run_that_is_being_trained_are_whole_and_leave_it_alone(
    tracks: Any, tmp_path: Path, counted: Any
) -> None:
    track, root = tracks("window"), tmp_path / "forks"
    run = track.copy(tmp_path / "run")
    turns = Turns(jobs.barrier(2), every=7)
    num_turns = track.num_calls // turns.every
    forker = jobs.start(races.fork_in_turns, run.path, root, turns, num_turns)
    session = jobs.start(jobs.serve, Job(run.path, mishap=turns))
    assert (ended(forker), ended(session)) == (0, EXIT_DONE)
    track.check(run, num_sessions=1)
    forks = store.list_runs(root)
    assert len(forks) > 10
    for forked in forks:
        if checkpoints.list_steps(forked) != [4]:
            assert jobs.run_worker(Job(forked.path)) == 0
        found = oracle.digest(forked.path)
        assert [k for k in ("step", "state", "totals") if found[k] != track.digest[k]] == []
    counted("races", 1)
    counted("forks of a run at work, each trained to the end", len(forks))


def test_a_fork_that_looks_while_a_segment_is_sealed_still_has_its_window(
    tracks: Any, tmp_path: Path, counted: Any
) -> None:
    track, root = tracks("window"), tmp_path / "forks"
    run = track.copy(tmp_path / "run")
    listed, sealed = jobs.barrier(2), jobs.barrier(2)
    meeting = SealForAReader(listed, sealed, "step_1-2.jsonl", "mkdir .step_2.tmp")
    forker = jobs.start(races.fork_while_sealing, run.path, root, listed, sealed)
    session = jobs.start(jobs.serve, Job(run.path, mishap=meeting))
    assert (ended(forker), ended(session)) == (0, EXIT_DONE)
    (forked,) = store.list_runs(root)
    assert jobs.run_worker(Job(forked.path)) == 0
    found = oracle.digest(forked.path)
    assert [k for k in ("step", "state", "totals") if found[k] != track.digest[k]] == []
    counted("races", 1)
