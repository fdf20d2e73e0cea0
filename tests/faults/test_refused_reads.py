"""What the system does not let us read is no damage: a sentence, code 9, and nothing is moved."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import jobs, oracle, refused_reads
from support.jobs import Job
from support.refused_reads import RefusedReads
from support.run_maker import RunMaker
from support.runs import make_run

from rlrun.errors import EXIT_DONE, DamagedError, NothingToDoError, StorageError
from rlrun.runs import pins
from rlrun.runs.layout import RunDir

NUM_PARTS = 4
SETTINGS = ["train.max_steps=4", "saving.every_steps=1", "grpo.prompts_per_step=1"]
WAYS = [(errno.EIO, False), (errno.EMFILE, True), (errno.EMFILE, False), (errno.EIO, True)]
SENTENCE = re.compile(r"cannot \w+ \S+( while \w+)?: [A-Z][^;\n]+; check the disk")


class Scenario:
    """A run that was killed in its third step, what a session reads of it, and what it ends in."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.before = make_run(folder, "before", model, SETTINGS)
        assert jobs.run_worker(Job(self.before.path, kill_after_steps=2)) == -9
        noted, straight = folder / "noted", self.copy(folder / "straight")
        job = Job(straight.path, mishap=RefusedReads(straight.path, None, noted=noted))
        assert jobs.run_worker(job) == EXIT_DONE
        self.reads = noted.read_text().splitlines()
        self.digest = oracle.digest(straight.path)

    def copy(self, target: Path) -> RunDir:
        return RunDir(shutil.copytree(self.before.path, target, symlinks=True))


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> Scenario:
    return Scenario(tmp_path_factory.mktemp("reads"), micro_model)


@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_a_session_that_cannot_read_its_run_says_so_and_the_next_one_can(
    part: int, scenario: Scenario, memory_folder: Path, counted: Any
) -> None:
    assert len(scenario.reads) > 20
    mine = range(part, len(scenario.reads), NUM_PARTS)
    for at in mine:
        number, is_lasting = WAYS[at // NUM_PARTS % len(WAYS)]
        where = f"{errno.errorcode[number]} at read {at}, {scenario.reads[at]!r}"
        run, output = scenario.copy(memory_folder / str(at)), memory_folder / f"{at}.output"
        refused = RefusedReads(run.path, at, number, is_lasting)
        code = jobs.run_worker(Job(run.path, mishap=refused, output=output))
        said = output.read_text()
        assert code in (EXIT_DONE, StorageError.exit_code), (where, said)
        assert code == EXIT_DONE or SENTENCE.search(said), (where, said)
        assert "defect" not in said, (where, said)
        assert not run.quarantine.exists(), where
        code = jobs.run_worker(Job(run.path, output=output))
        assert code in (EXIT_DONE, NothingToDoError.exit_code), (where, output.read_text())
        assert oracle.differences(scenario.digest, oracle.digest(run.path)) == [], where
        assert not oracle.litter(run.path), where
        shutil.rmtree(run.path)
    counted("refused reads of sessions", len(mine))


@pytest.fixture
def maker(make_run: Callable[..., RunMaker]) -> RunMaker:
    """A run with everything that a command may read."""
    maker = make_run("a")
    maker.opens()
    maker.starts()
    maker.steps(1, 3)
    maker.run.ratios.write_bytes(maker.run.train_log.read_bytes())
    maker.run.removals.write_text('{"step":1}\n')
    for step in (2, 3):
        maker.saves(step)
    pins.write_pin(maker.run, 3)
    maker.ends(step=3, outcome="stopped")
    maker.was_held_by_the_dead(1)
    return maker


@pytest.mark.parametrize(("number", "is_lasting"), WAYS)
@pytest.mark.parametrize("command", ["status", "list", "verify", "prune"])
def test_a_command_that_cannot_read_a_run_says_so(
    command: str, number: int, is_lasting: bool, maker: RunMaker, rlrun: Any, counted: Any
) -> None:
    """Only `verify` calls it damage that the disk gives no bytes: nothing is done about it."""
    words = {"list": ["list"], "prune": ["prune", "a", "--keep-latest", "1", "--dry-run"]}
    line = words.get(command, [command, "a"])
    none = RefusedReads(maker.run.path, None)
    with refused_reads.refusing(none):
        usual = rlrun(*line).code
    assert len(none.seen) > 2
    for at, name in enumerate(none.seen):
        refused = RefusedReads(maker.run.path, at, number, is_lasting)
        with refused_reads.refusing(refused):
            said = rlrun(*line)
        where = (at, name, said)
        codes = {StorageError.exit_code, usual}
        if command == "verify" and number == errno.EIO:
            codes.add(DamagedError.exit_code)
        assert said.code in codes, where
        assert said.code == usual or os.strerror(number) in said.out + said.err, where
        assert "Traceback" not in said.err, where
        assert not maker.run.quarantine.exists(), where
    counted("refused reads of commands", len(none.seen))
