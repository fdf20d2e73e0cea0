"""`rlrun doctor`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlrun.cli import doctor
from rlrun.sessions.doctor import Check

Run = Callable[..., Any]
OK = Check("ok", "root", "fine")
NOTE = Check("note", "device", "no GPU; that is slow")
NO_TORCH = Check("problem", "extra train", "torch not installed; install it", 11)
NO_SPACE = Check("problem", "space", "the disk is full; free some", 9)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """What the examination finds."""
    checks: list[Check] = []

    def examine(*_: object) -> Iterator[Check]:
        yield from checks

    monkeypatch.setattr(doctor.sessions_doctor, "examine", examine)
    return checks


def test_each_check_is_a_line_and_training_comes_next(rlrun: Run, found: list[Check]) -> None:
    found += [OK, NOTE]
    said = rlrun("doctor")
    assert said.code == 0
    assert said.out == "ok       root: fine\nnote     device: no GPU; that is slow\n"
    assert said.err == "next: rlrun train\n"
    assert rlrun("doctor", "--config", "tiny").err == "next: rlrun train --config tiny\n"


def test_the_first_problem_decides_the_exit_code_and_nothing_comes_next(
    rlrun: Run, found: list[Check]
) -> None:
    found += [OK, NO_TORCH, NO_SPACE]
    said = rlrun("doctor")
    assert (said.code, said.err) == (11, "")
    found.reverse()
    assert rlrun("doctor").code == 9


def test_json_has_every_check(rlrun: Run, found: list[Check], root: Path) -> None:
    found += [NOTE, NO_SPACE]
    said = rlrun("doctor", "--json")
    data = json.loads(said.out)
    assert (said.code, data["root"]) == (9, str(root))
    assert [check["level"] for check in data["checks"]] == ["note", "problem"]


def test_on_this_machine_it_comes_to_an_end(rlrun: Run) -> None:
    said = rlrun("doctor", "--config", "tiny")
    assert said.code in (0, 11)
    assert "recipe: tiny reads" in said.out
