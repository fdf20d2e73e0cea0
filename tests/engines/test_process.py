"""Processes of engines: none is left, whoever dies and however."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.engines import TESTS, Start, is_running, pids_in, requests, wait_until_gone

from rlrun.errors import EngineError

CLIENT = """
import sys
from pathlib import Path
from support.engines import FAKE, SPEC, requests
from rlrun.engines.client import EngineProcess

with EngineProcess(
    SPEC, python=None, log=Path(sys.argv[1]), timeout_seconds=600, command=FAKE
) as engine:
    print("ready", flush=True)
    list(engine.generate(requests(4)))
"""


def test_an_engine_that_is_left_is_gone_with_its_children(
    start_fake: Start, tmp_path: Path
) -> None:
    engine = start_fake(pids=str(tmp_path / "pids"))
    pids = (engine.pid, *pids_in(tmp_path / "pids"))
    assert all(map(is_running, pids))
    engine.close()
    wait_until_gone(*pids)


@pytest.mark.parametrize("how", ["crash", "exit", "hang", "say garbage"])
def test_one_that_goes_wrong_is_gone_with_its_children(
    start_fake: Start, tmp_path: Path, how: str
) -> None:
    engine = start_fake(timeout_seconds=0.5, do=how, at_step=2, pids=str(tmp_path / "pids"))
    pids = (engine.pid, *pids_in(tmp_path / "pids"))
    with pytest.raises(EngineError):
        list(engine.generate(requests(4)))
    wait_until_gone(*pids)


def test_one_that_starts_for_too_long_is_gone_too(start_fake: Start, tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        start_fake(start_timeout_seconds=3.0, start_seconds=60.0, pids=str(tmp_path / "pids"))
    wait_until_gone(*pids_in(tmp_path / "pids"))


def test_an_exception_in_the_block_ends_it(start_fake: Start, tmp_path: Path) -> None:
    engine = start_fake(do="hang", at_step=1, pids=str(tmp_path / "pids"))
    pids = (engine.pid, *pids_in(tmp_path / "pids"))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), engine:
        raise KeyboardInterrupt
    assert time.monotonic() - started < 5  # a hang is not waited for
    wait_until_gone(*pids)


@pytest.mark.parametrize("victim", ["leader", "worker", "child"])
def test_when_one_of_its_processes_is_killed_the_others_go(
    start_fake: Start, tmp_path: Path, victim: str
) -> None:
    engine = start_fake(do="hang", at_step=1, pids=str(tmp_path / "pids"))
    worker, child = pids_in(tmp_path / "pids")
    pids = {"leader": engine.pid, "worker": worker, "child": child}
    os.kill(pids[victim], signal.SIGKILL)
    if victim == "child":  # the engine's own matter
        engine.close()
    else:
        with pytest.raises(EngineError, match="ended on its own"):
            engine.token_logprobs(None, (1, 2))
    wait_until_gone(*pids.values())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["starting", "hanging", "idle"])
def test_when_the_client_is_ended_all_of_it_goes(
    tmp_path: Path, when: str, number: signal.Signals
) -> None:
    behaviour = {"pids": str(tmp_path / "pids")} | {
        "starting": {"start_seconds": 600.0},
        "hanging": {"do": "hang", "at_step": 1},
        "idle": {"do": "idle", "at_step": 1},
    }[when]
    environ = {"FAKE_ENGINE": json.dumps(behaviour), "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(tmp_path / "log")],
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as client:
        pids = pids_in(tmp_path / "pids")
        if when != "starting" and client.stdout is not None:
            client.stdout.readline()
        client.send_signal(number)
        client.wait(20)
    wait_until_gone(*pids)


def test_a_client_that_never_reads_loses_nothing(start_fake: Start) -> None:
    engine = start_fake()
    answers = engine.generate(requests(200))
    first = next(answers)
    time.sleep(0.5)
    assert len([first, *answers]) == 200


def test_what_it_leaves_among_temporary_files_is_removed(
    start_fake: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    engine = start_fake()
    [own] = (tmp_path / "scratch").iterdir()
    (own / "left").write_text("by a library")
    engine.close()
    assert not own.exists()


def test_a_log_is_continued(start_fake: Start, tmp_path: Path) -> None:
    for _ in range(2):
        engine = start_fake(do="print", at_step=1)
        list(engine.generate(requests(1)))
        engine.close()
    assert (tmp_path / "logs" / "engine.log").read_text().count("a library says something") == 2


def test_only_what_this_process_said_is_told_of_its_end(start_fake: Start, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="it crashes"):
        list(start_fake(do="crash", at_step=1).generate(requests(1)))
    with pytest.raises(EngineError, match="the engine's process ended with code 3"):
        list(start_fake(do="exit", at_step=1).generate(requests(1)))


def test_the_command_is_run_in_a_group_of_its_own(start_fake: Start) -> None:
    engine = start_fake()
    assert os.getpgid(engine.pid) == engine.pid != os.getpgid(0)


def test_a_worker_that_is_started_by_hand_ends_nobody_elses_group(tmp_path: Path) -> None:
    script = f"{sys.executable} -m support.fake_engine < /dev/null; sleep 1; echo still here"
    result = subprocess.run(
        ["sh", "-c", script],
        env=os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
        capture_output=True,
        text=True,
        timeout=30,
        start_new_session=True,
    )
    assert "still here" in result.stdout
