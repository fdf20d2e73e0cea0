"""Whatever stops an evaluation, the same command goes on, and ends as if nothing had happened.

The command and its engine are killed by the clock; the command in front of each of its calls of
the file layer; the disk is full at each system call; what an evaluation reads is broken.  A failure
of a random kill prints the line that draws the same moments again.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import command, jobs, scoring, scoring_jobs, system_calls
from support.refusals import Refusal, Refusing, applies
from support.scoring import Bench
from support.scoring_jobs import Command, is_gone
from support.system_calls import SystemCall

from rlrun.errors import EXIT_DONE, StorageError
from rlrun.evaluation.folder import EvalFolder
from rlrun.tasks.arithmetic import Arithmetic

SEED = os.environ.get("KILL_SEED", "20260131")
EVAL = ("eval", "a", "--all-steps")
SLOW = {"step_seconds": 0.005}
NUM_WARM, NUM_COLD, IN_A_ROW = 40, 10, 5
NUM_ENGINES = 50
SMALL = ("eval", "a", "--steps", "1,2", "--no-baseline", "--max-samples", "2")


@pytest.fixture
def where(request: pytest.FixtureRequest) -> str:
    """The line that repeats a test, which is shown when it fails."""
    test = f"tests/faults/test_evaluation.py::{request.node.name}"
    line = f"KILL_SEED={SEED} python -m pytest '{test}'"
    request.node.add_report_section("call", "to draw the same moments again", line)
    return line


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Bench]:
    """Make a root with a run to evaluate."""
    for name in ("PYTHONPATH", "FAKE_ENGINE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(Arithmetic, "prompts", scoring.remembered_sums)
    (tmp_path / "template").mkdir()
    template = Bench(tmp_path / "template")
    return lambda name: template.copy(tmp_path / name)


def amount(root: Path) -> dict[str, Any]:
    """Return what the only evaluation of a run amounts to, and that nothing lies beside it."""
    found = scoring.digest(scoring.folder_of(root))
    return found | {"beside": sorted(path.name for path in (root / "eval_runs").iterdir())}


def kept(root: Path) -> set[tuple[str, str, str]]:
    """Return what must not be asked again: (label@model, question, seed)."""
    folder = EvalFolder(root / "eval_runs" / "a_arithmetic", "arithmetic")
    if not folder.path.exists():
        return set()
    return {
        (
            "None" if label == "step_0" else f"{label}@{model[:12]}",
            question.removeprefix("arithmetic/eval/") + "=",
            str(record.seed),
        )
        for (label, model, question, _), record in scoring.stored(folder).items()
        if record.text is not None
    }


def processes(bench: Bench) -> list[int]:
    """Return the processes of every engine that was started since this was called last."""
    lines = bench.starts.read_text().splitlines() if bench.starts.exists() else []
    bench.starts.unlink(missing_ok=True)
    return [int(pid) for line in lines for pid in line.split()[1:]]


class Killer:
    """Kills commands in a row on one evaluation, and judges what they leave."""

    def __init__(self, bench: Bench, start: Callable[[Bench], Any], where: str) -> None:
        self._bench = bench
        self._start = start
        self._where = where
        self.num_kills = 0
        bench.behave(**SLOW)

    def kill(self, seconds: float) -> None:
        """Kill a command after so long."""
        safe = kept(self._bench.root)
        process = self._start(self._bench)
        time.sleep(seconds)
        self.num_kills += process.is_alive()
        process.kill()
        process.join(60)
        self._judge(safe)

    def finish(self) -> None:
        """Let a command end by itself."""
        safe = kept(self._bench.root)
        process = self._start(self._bench)
        process.join(60)
        assert process.exitcode == EXIT_DONE, self._where
        self._judge(safe)

    def _judge(self, safe: set[tuple[str, str, str]]) -> None:
        pids = processes(self._bench)
        command.wait_for(lambda: all(map(is_gone, pids)), timeout_seconds=30)
        asked = self._bench.asked()
        assert len(asked) == len(set(asked)), self._where
        assert not safe & set(asked), self._where
        assert safe <= kept(self._bench.root), self._where


def warm(bench: Bench) -> Any:
    orders = Command(bench.root, EVAL, {"FAKE_ENGINE": os.environ["FAKE_ENGINE"]})
    return jobs.start(scoring_jobs.work, orders)


class Cold:
    """The real command in a process of its own."""

    def __init__(self, bench: Bench) -> None:
        words = [sys.executable, "-m", "support.scoring_rlrun", *EVAL, "--root", str(bench.root)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdout=quiet, stderr=quiet)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def join(self, seconds: float) -> None:
        self._process.wait(seconds)

    @property
    def exitcode(self) -> int | None:
        return self._process.returncode


def undisturbed(bench: Bench, start: Callable[[Bench], Any]) -> tuple[dict[str, Any], float]:
    """Return what an evaluation amounts to, and how long it takes."""
    bench.behave(**SLOW)
    warm_up = start(bench)
    warm_up.join(60)
    shutil.rmtree(bench.root / "eval_runs")
    started = time.monotonic()
    process = start(bench)
    process.join(60)
    assert process.exitcode == EXIT_DONE
    return amount(bench.root), time.monotonic() - started


@pytest.mark.parametrize(("start", "num_kills"), [(warm, NUM_WARM), (Cold, NUM_COLD)])
def test_a_command_killed_by_the_clock_is_finished_by_the_same_one(
    start: Callable[[Bench], Any],
    num_kills: int,
    make_bench: Callable[[str], Bench],
    counted: Callable[[str, int], None],
    where: str,
) -> None:
    expected, seconds = undisturbed(make_bench("undisturbed"), start)
    draw = random.Random(f"{SEED}/{start.__name__}")
    total = number = 0
    while total < num_kills:
        bench, number = make_bench(f"killed{number}"), number + 1
        killer = Killer(bench, start, where)
        for _ in range(min(IN_A_ROW, num_kills - total)):
            killer.kill(draw.uniform(0, seconds))
        killer.finish()
        assert amount(bench.root) == expected, where
        total += killer.num_kills
    counted(f"kills of 'rlrun eval' by the clock (seed {SEED})", total)


def engine_processes() -> list[int]:
    """Return the engine's guard and worker that this process has, if it has one."""
    guards = [pid for path in Path("/proc/self/task").iterdir() for pid in children(path)]
    workers = [pid for guard in guards for pid in children(Path(f"/proc/{guard}/task/{guard}"))]
    return [pid for pid in guards + workers if is_scorer(pid)]


def children(task: Path) -> list[int]:
    return [int(pid) for pid in (task / "children").read_text().split()]


def is_scorer(pid: int) -> bool:
    return scoring.SCORER[-1] in Path(f"/proc/{pid}/cmdline").read_text().split("\0")


class EngineKiller:
    """Starts fake scorers, and kills two of them in each evaluation at random moments."""

    def __init__(self, draw: random.Random, seconds: float) -> None:
        self._draw = draw
        self._seconds = seconds
        self._num_starts = 0
        self.num_kills = 0
        self._timers: list[threading.Timer] = []

    def start(self, *arguments: Any) -> Any:
        self._num_starts += 1
        if self._num_starts == 1:  # at any moment, that of its start included
            self._kill_later()
        engine = scoring.start(*arguments)
        if self._num_starts == 2:
            self._kill_later()
        return engine

    def _kill_later(self) -> None:
        timer = threading.Timer(self._draw.uniform(0, self._seconds), self._kill)
        self._timers.append(timer)
        timer.start()

    def _kill(self) -> None:
        try:
            os.kill(self._draw.choice(engine_processes()), signal.SIGKILL)
        except (IndexError, FileNotFoundError, ProcessLookupError):
            return  # it had ended
        self.num_kills += 1

    def wait(self) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()


def test_an_engine_killed_by_the_clock_costs_nothing_but_its_start(
    make_bench: Callable[[str], Bench], counted: Callable[[str, int], None], where: str
) -> None:
    bench = make_bench("run")
    bench.behave(**SLOW)
    started = time.monotonic()
    bench.evaluate()
    seconds = time.monotonic() - started
    expected = amount(bench.root)
    draw = random.Random(f"{SEED}/engines")
    num_kills = 0
    while num_kills < NUM_ENGINES:
        shutil.rmtree(bench.root / "eval_runs")
        killer = EngineKiller(draw, seconds)
        done = bench.evaluate(starter=killer.start)
        killer.wait()
        num_kills += killer.num_kills
        assert done.given_up == {}, where
        assert done.num_starts <= 1 + killer.num_kills, where
        assert amount(bench.root) == expected, where
    pids = processes(bench)
    command.wait_for(lambda: all(map(is_gone, pids)), timeout_seconds=30)
    counted(f"kills of an engine by the clock (seed {SEED})", num_kills)


def test_a_command_killed_in_front_of_any_file_call_is_finished_by_the_same_one(
    make_bench: Callable[[str], Bench], tmp_path: Path, counted: Callable[[str, int], None]
) -> None:
    trace = tmp_path / "trace"
    bench = make_bench("whole")
    environ = {"FAKE_ENGINE": os.environ["FAKE_ENGINE"]}
    orders = Command(bench.root, SMALL, environ, trace=trace, has_process=False)
    assert jobs.in_fork(scoring_jobs.work, orders) == EXIT_DONE
    expected = scoring.digest(scoring.folder_of(bench.root))
    calls = trace.read_text().splitlines()
    assert {call.split()[0] for call in calls} >= {"mkdir", "open", "write", "fsync", "rename"}
    for place, call in enumerate(calls):
        bench = make_bench(f"killed{place}")
        orders = Command(bench.root, SMALL, environ, kill_at_call=place, has_process=False)
        assert jobs.in_fork(scoring_jobs.work, orders) == -signal.SIGKILL, call
        bench.behave()
        code, said = scoring_jobs.run(bench.root, *SMALL)
        assert code == EXIT_DONE, (place, call, said)
        assert scoring.digest(scoring.folder_of(bench.root)) == expected, (place, call)
        shutil.rmtree(bench.root)
    counted("kills of 'rlrun eval' in front of a file operation", len(calls))


def test_a_full_disk_is_one_sentence_and_the_same_command_finishes_later(
    make_bench: Callable[[str], Bench], counted: Callable[[str, int], None]
) -> None:
    bench = make_bench("whole")
    bench.behave()
    calls: list[SystemCall] = []

    def note(call: SystemCall, act: Callable[[], Any]) -> Any:
        calls.append(call)
        return act()

    with system_calls.handled(bench.root / "eval_runs", note):
        assert scoring_jobs.run(bench.root, *SMALL)[0] == EXIT_DONE
    expected = scoring.digest(scoring.folder_of(bench.root))
    places = [place for place, call in enumerate(calls) if applies("ENOSPC", call)]
    for place in places:
        bench = make_bench(f"full{place}")
        bench.behave()
        folder = bench.root / "eval_runs"
        with system_calls.handled(folder, Refusing(Refusal(folder, place, "ENOSPC", True))):
            code, said = scoring_jobs.run(bench.root, *SMALL)
        assert code == StorageError.exit_code, (place, str(calls[place]), said)
        (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert "No space left on device; free some space" in sentence
        assert said.endswith(f"{sentence}\n")
        safe = kept(bench.root)
        bench.asked()
        assert scoring_jobs.run(bench.root, *SMALL)[0] == EXIT_DONE, (place, str(calls[place]))
        assert not safe & set(bench.asked())
        assert scoring.digest(scoring.folder_of(bench.root)) == expected, str(calls[place])
        shutil.rmtree(bench.root)
    counted("full disks under 'rlrun eval'", len(places))


def evaluate(bench: Bench, *options: str) -> tuple[int, str]:
    """Run the command with an engine in a process, and see that it leaves none."""
    code, said = scoring_jobs.run(bench.root, *EVAL, *options, has_process=True)
    pids = processes(bench)
    command.wait_for(lambda: all(map(is_gone, pids)), timeout_seconds=30)
    return code, said


def error_of(said: str) -> str:
    """Return the sentence that the command ended with."""
    last = said.splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_an_engine_that_hangs_is_ended_and_the_work_goes_on(
    make_bench: Callable[[str], Bench],
) -> None:
    bench = make_bench("run")
    bench.behave(do="hang", at_step=11, once=bench.once())
    code, said = evaluate(bench, "--timeout", "1.5")
    assert code == EXIT_DONE
    assert "warning: the torch engine gave no sign of life in time, and was ended" in said


def test_an_engine_that_always_hangs_costs_two_chances_and_is_an_error_that_names_its_log(
    make_bench: Callable[[str], Bench],
) -> None:
    bench = make_bench("run")
    bench.behave(do="hang", at_step=1)
    code, said = evaluate(bench, "--timeout", "0.5", "--no-baseline", "--max-samples", "1")
    assert code == 12
    assert "gave no sign of life in time" in error_of(said)
    assert str(bench.root / "eval_runs" / "a_arithmetic.engine.log") in error_of(said)


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_corrupt_adapter_is_said_and_the_others_are_scored(
    is_ours: bool, make_bench: Callable[[str], Bench]
) -> None:
    bench = make_bench("run")
    step = bench.maker.run.step(2)
    (step / "model" / "adapter_model.safetensors").write_bytes(b"{")
    if not is_ours:  # so that no manifest tells, but the engine
        (step / "training_info.json").unlink()
        bench.behave(refuse=["step_2"])
    code, said = evaluate(bench)
    assert code == 12
    assert "1 of 4 models could not be scored whole (step_2: " in error_of(said)
    assert {row["label"] for row in amount(bench.root)["table"]} == {"step_0", "step_1", "step_3"}


def test_a_base_model_that_is_missing_is_said_and_what_is_kept_stays(
    make_bench: Callable[[str], Bench],
) -> None:
    bench = make_bench("run")
    bench.behave()
    assert evaluate(bench)[0] == EXIT_DONE
    before = amount(bench.root)
    scoring.publish(bench.maker, 4)
    bench.behave(refuse_start="there is no folder /models/base; give one as model.path")
    code, said = evaluate(bench)
    assert code == 8
    assert "there is no folder /models/base; give one as model.path" in error_of(said)
    assert amount(bench.root) == before


def test_a_question_file_that_cannot_be_read_is_said_before_an_engine_starts(
    make_bench: Callable[[str], Bench],
) -> None:
    bench = make_bench("run")
    bench.behave()
    data = bench.root / "data"
    scoring.write(data, {"train.jsonl": b'{"question": "1+1=", "answer": "#### 2"}\n'})
    (data / "test.jsonl").mkdir()
    config = f"task:\n  name: gsm8k\n  path: {data}\ntrain:\n  max_steps: 1\n"
    bench.maker.run.config.write_text(config)
    code, said = scoring_jobs.run(bench.root, *EVAL, "--engine", "torch", has_process=True)
    assert code == 3
    assert str(data / "test.jsonl") in error_of(said)
    assert processes(bench) == []


@pytest.mark.parametrize("name", ["eval_config.yaml", "questions.jsonl", "step_1_arithmetic"])
def test_what_is_kept_and_damaged_is_refused_with_a_way_out(
    name: str, make_bench: Callable[[str], Bench]
) -> None:
    bench = make_bench("run")
    bench.behave()
    assert evaluate(bench)[0] == EXIT_DONE
    path = bench.root / "eval_runs" / "a_arithmetic" / name
    file = path / "completions.jsonl" if path.is_dir() else path
    file.write_bytes(file.read_bytes().replace(b"57+66", b"57+67", 1))
    words = ("--rescore",) if name == "questions.jsonl" else EVAL[2:]
    code, said = scoring_jobs.run(bench.root, "eval", "a", *words)
    assert code == 6
    assert str(file) in error_of(said)
    assert "evaluate again" in error_of(said)
