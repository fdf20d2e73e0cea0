import threading
from pathlib import Path

from support.runs import empty_run

from rlrun.runs import archived


def test_the_newest_note_of_a_checkpoint_counts(tmp_path: Path) -> None:
    run = empty_run(tmp_path)
    archived.note(run, "pushed", [(10, "a", 5), (20, "b", 6)], "one")
    archived.note(run, "proved", [(10, "a", 5)], "two")
    copies = archived.copies(run)
    assert {key: copy.place for key, copy in copies.items()} == {(10, "a"): "two", (20, "b"): "one"}
    assert copies[20, "b"].num_bytes == 6


def test_a_run_that_was_never_archived_has_none(tmp_path: Path) -> None:
    assert archived.copies(empty_run(tmp_path)) == {}


def test_a_line_that_does_not_read_is_left_out(tmp_path: Path) -> None:
    run = empty_run(tmp_path)
    archived.note(run, "pushed", [(10, "a", 5)], "one")
    with archived.path_of(run).open("ab") as file:
        file.write(b'{"event": "moved", "step": 3}\nnonsense\n{"half')
    assert list(archived.copies(run)) == [(10, "a")]
    archived.note(run, "pushed", [(20, "b", 6)], "one")
    assert list(archived.copies(run)) == [(10, "a"), (20, "b")]


def test_several_commands_may_take_notes_at_once(tmp_path: Path) -> None:
    run = empty_run(tmp_path)

    def note(number: int) -> None:
        for step in range(20):
            archived.note(run, "pushed", [(step, str(number), 5)], "one")

    threads = [threading.Thread(target=note, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(archived.notes(run)) == 80


def test_a_line_with_values_of_other_kinds_is_left_out(tmp_path: Path) -> None:
    run = empty_run(tmp_path)
    archived.note(run, "pushed", [(10, "a", 5)], "one")
    whole = archived.path_of(run).read_text()
    for odd in (whole.replace("10", "[10]"), whole.replace('"pushed"', '["pushed"]'),
                whole.replace('"one"', "null")):  # fmt: skip
        with archived.path_of(run).open("a") as file:
            file.write(odd)
    assert [note.step for note in archived.notes(run)] == [10]
    assert list(archived.copies(run)) == [(10, "a")]
