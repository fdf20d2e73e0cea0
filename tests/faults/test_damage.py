"""A checkpoint that was damaged is never taken for a whole one, whatever befell it."""

import io
import os
import pickle
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import damage, jobs, oracle
from support.damage import DAMAGES, Damage
from support.jobs import Job
from support.place import Place
from support.runs import empty_run, make_run

from rlrun.errors import DamagedError, StorageError
from rlrun.runs import checkpoints, jsonl, manifest, verification
from rlrun.runs.layout import RunDir

SEED = 20260131
SECONDS = 20  # for one look at a checkpoint; it takes a millisecond
RUN_ID = "0123456789abcdef"
CONTENTS = {
    "model/adapter_config.json": b'{"r": 2}\n',
    "model/adapter_model.safetensors": bytes(range(256)) * 8,
    "optimizer.pt": bytes(reversed(range(256))) * 16,
    "scheduler.pt": b"schedule" * 40,
}
INFO: dict[str, Any] = {
    "run_id": RUN_ID,
    "session": 1,
    "parent_step": 0,
    "world_size": 1,
    "rank": 0,
    "batches": 4,
    "data_position": 12,
    "window": {"first_step": 4, "last_step": 4},
    "config": {"grpo": {"learning_rate": 1e-05}},
    "config_hash": "0" * 64,
    "fingerprint": {"torch": "2.13"},
    "totals": {"completion_tokens": 640, "seconds": 1.5},
}


@pytest.fixture
def run(memory_folder: Path) -> RunDir:
    """A run with checkpoints at the steps 2 and 4."""
    run = empty_run(memory_folder)
    for step in (2, 4):
        checkpoints.publish(run, step, CONTENTS, {**INFO, "step": step})
    return run


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are opened, where they really are."""
    whole, paths = io.open, []

    def note(path: Any, *rest: Any, **named: Any) -> Any:
        paths.append(Path(path).resolve())
        return whole(path, *rest, **named)

    monkeypatch.setattr(io, "open", note)
    return paths


@pytest.fixture
def alarm() -> Iterator[None]:
    """Let a look that hangs be a failure."""

    def fail(*_: object) -> None:
        raise TimeoutError("a look at a checkpoint hung")

    before = signal.signal(signal.SIGALRM, fail)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("spoil", DAMAGES, ids=lambda spoil: spoil.__name__)
def test_damage_is_seen_and_said_in_a_line_and_nothing_outside_is_read(
    spoil: Damage, run: RunDir, opened: list[Path], memory_folder: Path, counted: Any
) -> None:
    whole = memory_folder / "whole"
    run.training_state.rename(whole)
    for number in range(DAMAGES[spoil]):
        where = f"{spoil.__name__}, case {number} of seed {SEED}"
        shutil.copytree(whole, run.training_state, symlinks=True)
        spoil(run.step(4), random.Random(f"{SEED}/{spoil.__name__}/{number}"))
        opened.clear()
        signal.alarm(SECONDS)
        found = checkpoints.inspect(run, 4, run_id=RUN_ID, with_hashes=True)
        signal.alarm(0)
        assert found.problem, where
        assert found.problem.isprintable(), (where, found.problem)
        assert len(found.problem) < 300, where
        assert all(path.is_relative_to(run.step(4)) for path in opened), (where, opened)
        newest, _ = checkpoints.newest_valid(run, run_id=RUN_ID, with_hashes=True)
        assert newest is not None, where
        assert newest.step == 2, where
        shutil.rmtree(run.training_state)
    counted(f"damaged checkpoints (seed {SEED})", DAMAGES[spoil])


@pytest.mark.parametrize("spoil", DAMAGES, ids=lambda spoil: spoil.__name__)
def test_a_damaged_step_makes_way_when_its_step_is_saved_again(spoil: Damage, run: RunDir) -> None:
    spoil(run.step(4), random.Random(SEED))
    if not checkpoints.inspect(run, 4, run_id=RUN_ID, with_hashes=True).is_foreign:
        checkpoints.publish(run, 4, CONTENTS, {**INFO, "step": 4})
        assert checkpoints.inspect(run, 4, run_id=RUN_ID, with_hashes=True).is_valid
        aside = run.quarantine / "step_4.0"
        assert aside.is_symlink() or aside.is_dir()


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_never_makes_a_step_somebody_elses(bit: int, run: RunDir) -> None:
    """Somebody else's step is never touched, so it would stand in the way for ever."""
    path = run.step(4) / manifest.FILE_NAME
    data = path.read_bytes()
    start = data.index(b'"format_version": 1')
    for place in range(start, start + len(b'"format_version": 1')):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        found = checkpoints.inspect(run, 4, run_id=RUN_ID, with_hashes=True)
        assert (found.is_valid, found.is_foreign) == (False, False), (place, found)


def test_a_file_that_the_system_does_not_read_is_a_problem_of_its_step(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(io, "open", refuse)
    found = checkpoints.inspect(run, 4, run_id=RUN_ID, with_hashes=True)
    assert found.problem == "it cannot be read: Input/output error"


# ---- whole sessions


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> tuple[RunDir, Any]:
    """A run that was killed behind its third step, and what it ends in."""
    folder = tmp_path_factory.mktemp("killed")
    settings = ["train.max_steps=4", "saving.every_steps=1", "grpo.prompts_per_step=1"]
    run = make_run(folder, "killed", micro_model, settings)
    straight = RunDir(shutil.copytree(run.path, folder / "straight", symlinks=True))
    assert jobs.run(Job(straight.path)) == 0
    assert jobs.run(Job(run.path, kill_after_steps=3)) == -9
    assert checkpoints.list_steps(run) == [1, 2, 3]
    return run, oracle.digest(straight.path)


@pytest.fixture
def place(killed: tuple[RunDir, Any], tmp_path: Path) -> Place:
    run = RunDir(shutil.copytree(killed[0].path, tmp_path / "run", symlinks=True))
    return Place(run, tmp_path / "output")


SPOILED_FOR_GOOD = [spoil for spoil in DAMAGES if spoil is not damage.list_other_paths]


@pytest.mark.parametrize("spoil", SPOILED_FOR_GOOD, ids=lambda spoil: spoil.__name__)
def test_a_session_goes_on_from_the_step_before_the_damaged_one_to_the_same_end(
    spoil: Damage, place: Place, killed: tuple[RunDir, Any]
) -> None:
    spoil(place.run.step(3), random.Random(SEED))
    assert place.work() == 0, place.said
    assert place.start.from_step == 2
    assert "step 3 does not verify" in place.start.notes[0]
    assert oracle.differences(killed[1], oracle.digest(place.run.path)) == []
    assert not oracle.litter(place.run.path)


def test_a_step_without_its_manifest_is_left_alone_until_somebody_moves_it(
    place: Place, killed: tuple[RunDir, Any], tmp_path: Path
) -> None:
    (place.run.step(3) / manifest.FILE_NAME).unlink()
    assert place.work() == StorageError.exit_code
    assert "move it elsewhere, then 'rlrun resume run' goes on" in place.end.message
    place.run.step(3).rename(tmp_path / "elsewhere")
    assert place.work() == 0, place.said
    assert oracle.differences(killed[1], oracle.digest(place.run.path)) == []


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt"])
def test_a_state_that_would_run_code_is_refused_and_runs_none(
    name: str, place: Place, tmp_path: Path
) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "marker"))
    change_part(place.run.step(3), name, bomb)
    assert place.work() == DamagedError.exit_code
    assert f"step_3/{name} does not read as a training state" in place.end.message
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("data", [b"", b"no tensors", bytes(64)], ids=len)
def test_weights_that_are_none_are_refused(data: bytes, place: Place) -> None:
    change_part(place.run.step(3), "model/adapter_model.safetensors", data)
    assert place.work() == DamagedError.exit_code
    assert "adapter_model.safetensors does not read as a training state" in place.end.message


def change_part(step: Path, name: str, data: bytes) -> None:
    """Change a file and the manifest with it, so that all hashes are right."""
    (step / name).write_bytes(data)
    files = manifest.read(step)["files"]
    damage.rewrite(step, files={**files, name: manifest.describe_bytes(data)})


# ---- what sessions write in lines


def spoil_lines(path: Path, kind: str, draw: random.Random) -> None:
    """Spoil a file of records; not its end alone, which a killed session may leave torn."""
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    place = draw.randrange(len(data) - len(lines[-1]))
    number = draw.randrange(len(lines) - 1)
    if kind == "flip a bit":
        flipped = bytes([data[place] ^ 1 << draw.randrange(8)])
        path.write_bytes(data[:place] + flipped + data[place + 1 :])
    elif kind == "put zeros":
        end = min(place + 99, len(data) - 1)
        path.write_bytes(data[:place] + bytes(end - place) + data[end:])
    elif kind == "cut short":
        path.write_bytes(data[:place])
    elif kind == "lose a line":
        path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
    else:
        path.unlink()


KINDS = [*["flip a bit"] * 3, "put zeros", "cut short", "lose a line", "lose the file"]
LOGS = ["sessions.jsonl", "train_log.jsonl", "ratios.jsonl"]
ALWAYS_CHANGED = {*(f"logs/{name}" for name in LOGS), "logs/rollouts.jsonl", "lock.json"}


def contents_of(run: RunDir) -> dict[str, bytes]:
    """Return the files that a session has no business with but to add to them."""
    found = {path.relative_to(run.path).as_posix(): path for path in run.path.rglob("*")}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if path.is_file() and "step_latest" not in name and name not in ALWAYS_CHANGED
    }


@pytest.mark.parametrize("number", range(len(KINDS)))
@pytest.mark.parametrize("name", LOGS)
def test_a_session_goes_on_without_the_records_that_a_log_lost_and_says_which(
    name: str, number: int, place: Place, killed: tuple[RunDir, Any], counted: Any
) -> None:
    run, path = place.run, place.run.logs / name
    spoil_lines(path, KINDS[number], random.Random(f"{SEED}/{name}/{number}"))
    before, others = path.read_bytes() if path.exists() else None, contents_of(run)
    seen = verification.verify(run).damage
    assert all(one.path == f"logs/{name}" for one in seen)
    assert place.work() == 0, place.said
    assert contents_of(run).items() >= others.items()
    differing = oracle.differences(killed[1], oracle.digest(run.path))
    lost = [record for record in jsonl.read(path) if jsonl.KEPT_IN in record]
    found = verification.verify(run)
    assert found.damage == ()
    counted("damaged logs, each gone on from", 1)
    assert bool(lost) == bool(seen)  # a bit in a number, say, is not seen
    if not lost:
        return
    assert any(name in note for note in place.start.notes)
    assert any(one.path == f"logs/{name}" and "is lost" in one.what for one in found.findings)
    if before is not None:
        assert (run.quarantine / f"{name}.0").read_bytes() == before
    assert differing == ([name.removesuffix(".jsonl")] if name != "sessions.jsonl" else [])


@pytest.mark.parametrize("kind", [*dict.fromkeys(KINDS)])
@pytest.mark.parametrize("is_sealed", [False, True], ids=["active", "sealed"])
def test_what_a_damaged_journal_lost_is_made_anew_to_the_same_end(
    kind: str, is_sealed: bool, place: Place, killed: tuple[RunDir, Any], counted: Any
) -> None:
    run = place.run
    last = 1 if is_sealed else 0
    for step in range(last + 1, 4):  # nobody has them any more, so the journal is needed
        shutil.rmtree(run.step(step))
    if not is_sealed:
        segments = [run.segment(step, step) for step in (1, 2, 3)]
        run.journal.write_bytes(b"".join(segment.read_bytes() for segment in segments))
        for segment in segments:
            segment.unlink()
    spoil_lines(run.segment(2, 2) if is_sealed else run.journal, kind, random.Random(SEED))
    assert place.work() == 0, place.said
    assert place.start.from_step == last
    assert oracle.differences(killed[1], oracle.digest(run.path)) == []
    assert verification.verify(run).damage == ()
    assert not oracle.litter(run.path)
    counted("damaged journals, each gone on from", 1)
