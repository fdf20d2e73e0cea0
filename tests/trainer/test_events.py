"""TensorBoard reads every step once, however often sessions began again."""

from support import oracle

from rlrun.runs.layout import RunDir
from rlrun.trainer.events import EventFile


def write(run: RunDir, session: int, steps: dict[int, float], *, first_step: int) -> None:
    events = EventFile(run, session, first_step=first_step, wall_time=1000.0 * session)
    for step, value in steps.items():
        events.add(step, {"train/loss": value}, wall_time=1000.0 * session + step)
    events.sync()
    events.close()


def losses(run: RunDir) -> list[tuple[int, float]]:
    return oracle.events_of(run)["train/loss"]


def test_scalars_read_back_by_step_and_tag(run: RunDir) -> None:
    events = EventFile(run, 1, first_step=1, wall_time=5.0)
    events.add(1, {"train/loss": 0.5, "reward/exact": 1.0}, wall_time=6.0)
    events.add(2, {"train/loss": 0.25}, wall_time=7.0)
    events.close()
    assert oracle.events_of(run) == {
        "train/loss": [(1, 0.5), (2, 0.25)],
        "reward/exact": [(1, 1.0)],
    }


def test_a_later_session_replaces_the_steps_that_it_takes_again(run: RunDir) -> None:
    write(run, 1, {1: 0.5, 2: 0.25, 3: 0.125}, first_step=1)
    write(run, 2, {3: 8.0, 4: 16.0}, first_step=3)
    assert losses(run) == [(1, 0.5), (2, 0.25), (3, 8.0), (4, 16.0)]


def test_steps_that_a_killed_session_took_and_nobody_again_are_forgotten(run: RunDir) -> None:
    write(run, 1, {1: 0.5, 2: 0.25, 3: 0.125}, first_step=1)
    write(run, 2, {}, first_step=2)
    assert losses(run) == [(1, 0.5)]


def test_three_sessions_read_as_one(run: RunDir) -> None:
    write(run, 1, {1: 0.5, 2: 0.25}, first_step=1)
    write(run, 2, {1: 1.0, 2: 2.0, 3: 4.0}, first_step=1)
    write(run, 3, {3: 8.0, 4: 16.0}, first_step=3)
    assert losses(run) == [(1, 1.0), (2, 2.0), (3, 8.0), (4, 16.0)]


def test_a_session_of_the_same_number_begins_its_file_anew(run: RunDir) -> None:
    write(run, 1, {1: 0.5}, first_step=1)
    write(run, 1, {1: 2.0}, first_step=1)
    assert losses(run) == [(1, 2.0)]
    assert len(list(run.tensorboard.iterdir())) == 1


def test_files_stand_in_the_order_of_their_sessions(run: RunDir) -> None:
    for session in (9, 10, 11):
        write(run, session, {session: 1.0}, first_step=session)
    assert losses(run) == [(9, 1.0), (10, 1.0), (11, 1.0)]


def test_the_folder_is_made_if_it_is_not_there(run: RunDir) -> None:
    run.tensorboard.rmdir()
    write(run, 1, {1: 0.5}, first_step=1)
    assert losses(run) == [(1, 0.5)]
