"""Interpreters: which one has vLLM, asked of it without importing anything."""

import sys
from pathlib import Path

import pytest

from rlrun.engines.interpreters import (
    can_start_vllm,
    require_engine,
    vllm_python,
    worker_environ,
)
from rlrun.errors import MissingExtraError


def make_python(folder: Path, answer: str) -> str:
    """Make something that answers as an interpreter would, whatever it is asked."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\necho {answer}\n")
    script.chmod(0o755)
    return str(script)


def test_the_setting_is_before_the_environment_and_that_before_this_interpreter() -> None:
    environ = {"RLRUN_VLLM_PYTHON": "/theirs"}
    assert vllm_python("/mine", environ) == "/mine"
    assert vllm_python(None, environ) == "/theirs"
    assert vllm_python(None, {}) == sys.executable


def test_an_interpreter_that_has_it_can(tmp_path: Path) -> None:
    assert can_start_vllm(make_python(tmp_path, "True True"), {}) == (True, "")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("True False", "{} has no vllm"),
        ("False True", "{} is older than Python 3.11"),
        ("hello", "{} is no Python that answers"),
    ],
)
def test_one_that_cannot_says_why(tmp_path: Path, answer: str, reason: str) -> None:
    python = make_python(tmp_path, answer)
    assert can_start_vllm(python, {}) == (False, reason.format(python))


def test_one_that_is_not_there_says_so(tmp_path: Path) -> None:
    python = str(tmp_path / "nothing")
    expected = f"{python} cannot be started (No such file or directory)"
    assert can_start_vllm(python, {}) == (False, expected)


def test_what_is_missing_is_said_with_the_way_out(tmp_path: Path) -> None:
    python = make_python(tmp_path, "True False")
    with pytest.raises(MissingExtraError) as error:
        require_engine("vllm", python, {})
    assert str(error.value) == (
        f"{python} has no vllm; install vllm in an environment of its own and name its python with "
        "eval.python or RLRUN_VLLM_PYTHON, or take the torch engine"
    )


def test_another_interpreter_inherits_nothing_of_this_one() -> None:
    assert worker_environ({"PYTHONPATH": "here", "HOME": "/home"}) == {"HOME": "/home"}
