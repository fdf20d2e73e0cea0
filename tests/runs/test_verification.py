"""What `verify` finds, on a run that sessions made, after one thing at a time was spoiled."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import jobs
from support.calls import recorded
from support.jobs import Job
from support.runs import make_run

from rlrun.runs import checkpoints, lock, pins, rewind, verification
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest
from rlrun.runs.verification import verify

SETTINGS = ["train.max_steps=6", "saving.every_steps=2", "grpo.prompts_per_step=2"]
Spoil = Callable[[RunDir], object]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> RunDir:
    """A run with the steps 2, 4 and 5, two sealed segments and an active one."""
    run = make_run(tmp_path_factory.mktemp("trained"), "run", micro_model, SETTINGS)
    assert jobs.run(Job(run.path, SessionRequest(device="cpu", steps=5))) == 0
    assert checkpoints.list_steps(run) == [2, 4, 5]
    assert jobs.run(Job(run.path, kill_after_steps=0)) == -9
    return run


@pytest.fixture
def spoiled(trained: RunDir, tmp_path: Path) -> RunDir:
    copy = RunDir(shutil.copytree(trained.path, tmp_path / "run", symlinks=True))
    copy.lock.unlink()
    return copy


def found(run: RunDir) -> list[tuple[str, str, str]]:
    return [(one.severity, one.path, one.what) for one in verify(run).findings]


def flip(path: Path, at: int = -2) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def drop_line(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number]
    path.write_bytes(b"".join(lines))


def append(path: Path, data: bytes) -> None:
    path.write_bytes(path.read_bytes() + data)


def repeat_line(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[: number + 1], *lines[number:]]))


def test_a_run_that_a_session_left_is_whole_and_nothing_is_written(spoiled: RunDir) -> None:
    with recorded() as calls:
        report = verify(spoiled)
    assert report.findings == ()
    assert [(one.step, one.verdict) for one in report.steps] == [
        (2, "valid"), (4, "valid"), (5, "valid")
    ]  # fmt: skip
    assert report.num_records > 20
    assert calls == []


def test_every_file_of_a_checkpoint_is_read_to_its_last_byte(spoiled: RunDir) -> None:
    for path in sorted(p for p in spoiled.step(4).rglob("*") if p.is_file()):
        whole = path.read_bytes()
        flip(path)
        (damage,) = verify(spoiled).damage
        assert damage.path == "training_state/step_4"
        assert path.name in damage.what
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("spoil", "path", "what"),
    [
        (lambda run: run.identity.unlink(), "run.json", "cannot be read"),
        (lambda run: flip(run.config, 0), "config.yaml", ""),
        (lambda run: run.config.write_text("train: {}\n"), "config.yaml", "train"),
        (lambda run: flip(run.segment(1, 2), 40), "logs/rollouts/step_1-2.jsonl", "line 1 is"),
        (lambda run: flip(run.segment(1, 2), -1), "logs/rollouts/step_1-2.jsonl", "torn"),
        (lambda run: drop_line(run.segment(3, 4), 0), "logs/rollouts/step_3-4.jsonl", "group 3.0."),
        (
            lambda run: drop_line(run.segment(1, 2), -1),
            "logs/rollouts/step_3-4.jsonl",
            "the batches of step 2 are missing",
        ),
        (
            lambda run: run.segment(1, 2).unlink(),
            "logs/rollouts/step_3-4.jsonl",
            "the batches of steps 1 to 2 are missing",
        ),
        (
            lambda run: run.segment(3, 4).rename(run.segment(3, 5)),
            "logs/rollouts/step_3-5.jsonl",
            "it holds the steps 3 to 4, not 3 to 5",
        ),
        (
            lambda run: run.segment(5, 5).unlink(),
            "logs/rollouts.jsonl",
            "the batches of step 5 are missing",
        ),
        (
            lambda run: repeat_line(run.segment(3, 4), 0),
            "logs/rollouts/step_3-4.jsonl",
            "is journaled again",
        ),
        (lambda run: drop_line(run.train_log, 2), "logs/train_log.jsonl", "line 3 has step 4"),
        (lambda run: repeat_line(run.ratios, 2), "logs/ratios.jsonl", "line 4 has step 3"),
        (lambda run: run.ratios.unlink(), "logs/ratios.jsonl", "it ends at step 0"),
        (lambda run: run.sessions.write_text("x\ny\n"), "logs/sessions.jsonl", "line 1 is damaged"),
        (
            lambda run: run.sessions.write_text('{"event":"nap","session":1}\n'),
            "logs/sessions.jsonl",
            "a record that this rlrun does not know",
        ),
        (lambda run: run.removals.write_text("x\ny\n"), "logs/removals.jsonl", "line 1 is damaged"),
        (lambda run: run.rewind.write_text("{}"), "rewind.json", "cannot be read"),
    ],
)
def test_what_no_session_mends_is_damage(
    spoil: Spoil, path: str, what: str, spoiled: RunDir
) -> None:
    spoil(spoiled)
    report = verify(spoiled)
    told = [(one.path, one.what) for one in report.damage]
    assert any(place == path and what in words for place, words in told), told
    assert all(one.remedy for one in report.findings)


@pytest.mark.parametrize(
    ("spoil", "path", "what"),
    [
        (lambda run: run.latest_link.unlink(), "training_state/step_latest", "is missing"),
        (
            lambda run: checkpoints.repair_link(run, 2, session=1),
            "training_state/step_latest",
            "names step 2, and the newest that verifies is 5",
        ),
        (
            lambda run: run.unfinished_step(6).mkdir(),
            "training_state/.step_6.tmp",
            "a killed session left it",
        ),
        (
            lambda run: append(run.journal, b'{"kind":'),
            "logs/rollouts.jsonl",
            "its last record is torn: 8 bytes behind the last whole one",
        ),
        (
            lambda run: append(run.train_log, b'{"st'),
            "logs/train_log.jsonl",
            "its last record is torn: 4 bytes behind the last whole one",
        ),
        (lambda run: pins.write_pin(run, 9), "pins/step_9", "its step is not there"),
        (lambda run: run.step(40).mkdir(), "training_state/step_40", "another tool's: "),
        (
            lambda run: (run.quarantine / "step_3.0").mkdir(parents=True),
            "quarantine/step_3.0",
            "it did not verify and was set aside",
        ),
        (
            lambda run: rewind.begin(run, 4),
            "rewind.json",
            "going back to step 4 was broken off",
        ),
        (
            lambda run: run.lock.write_text('{"host":"gone","pid":1}'),
            "lock.json",
            "its owner is gone",
        ),
    ],
)
def test_what_the_next_session_mends_is_a_note(
    spoil: Spoil, path: str, what: str, spoiled: RunDir
) -> None:
    spoil(spoiled)
    report = verify(spoiled)
    assert report.damage == ()
    ((place, words),) = [(one.path, one.what) for one in report.findings]
    assert (place, words[: len(what)]) == (path, what)


def test_a_run_that_was_killed_has_notes_only_and_none_after_it_went_on(
    trained: RunDir, tmp_path: Path
) -> None:
    run = RunDir(shutil.copytree(trained.path, tmp_path / "run", symlinks=True))
    assert found(run) == [("note", "lock.json", "its owner is gone")]
    assert jobs.run(Job(run.path)) == 0
    assert found(run) == []


def test_without_its_identity_the_checkpoints_are_judged_by_their_own_word(
    spoiled: RunDir,
) -> None:
    spoiled.identity.unlink()
    assert [one.verdict for one in verify(spoiled).steps] == ["valid"] * 3


def test_what_the_disk_does_not_give_back_is_damage(
    spoiled: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error", str(spoiled.step(4) / "optimizer.pt"))

    monkeypatch.setattr(verification.checkpoints, "inspect", fail)
    told = verify(spoiled).findings
    assert any("optimizer.pt: Input/output error" in one.what for one in told)


def test_what_a_session_has_in_hand_is_no_leftover(spoiled: RunDir) -> None:
    held = lock.Lock(spoiled, lambda: 2, heartbeat_seconds=None)
    spoiled.unfinished_step(6).mkdir()
    checkpoints.repair_link(spoiled, 2, session=1)
    assert found(spoiled) == []
    held.release()


def test_records_that_were_moved_between_two_reads_are_read_again(spoiled: RunDir) -> None:
    held = lock.Lock(spoiled, lambda: 2, heartbeat_seconds=None)
    aside = spoiled.path / "elsewhere"
    spoiled.segment(1, 2).rename(aside)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if aside.exists():
            aside.rename(spoiled.segment(1, 2))

    assert verify(spoiled, sleep=sleep).findings == ()
    assert len(waits) == 1
    held.release()


def test_a_step_that_is_removed_while_others_are_read_is_left_out(
    spoiled: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(run: RunDir) -> list[int]:
        return [2, 3, 4, 5]

    monkeypatch.setattr(verification.checkpoints, "list_steps", vanished)
    assert [one.step for one in verify(spoiled).steps] == [2, 4, 5]
