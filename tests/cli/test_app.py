"""Errors become a sentence and an exit code, here and nowhere else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from rlrun import __version__
from rlrun.cli import app, list_runs
from rlrun.errors import EXIT_CODES, RlrunError

Run = Callable[..., Any]
KINDS = [RlrunError, *RlrunError.__subclasses__()]


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def summarise(run: object) -> None:
        raise error

    monkeypatch.setattr(list_runs.state, "summarise", summarise)


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_has_its_exit_code_and_one_line(
    kind: type[RlrunError], rlrun: Run, make_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("a")
    fail_with(kind("what, where, how"), monkeypatch)
    said = rlrun("list")
    assert said.code == kind.exit_code
    assert said.code in EXIT_CODES
    assert (said.out, said.err) == ("", "error: what, where, how\n")


def test_with_json_an_error_is_json(
    rlrun: Run, make_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("a")
    fail_with(RlrunError("broken"), monkeypatch)
    assert json.loads(rlrun("list", "--json").err) == {"error": "broken", "exit_code": 1}


def test_with_debug_the_traceback_comes_first(
    rlrun: Run, make_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("a")
    fail_with(RlrunError("broken"), monkeypatch)
    said = rlrun("--debug", "list").err
    assert said.startswith("Traceback")
    assert said.endswith("error: broken\n")


def test_a_refusal_of_the_operating_system_names_the_file(
    rlrun: Run, make_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("a")
    fail_with(PermissionError(13, "Permission denied", "/r/x"), monkeypatch)
    said = rlrun("list")
    assert (said.code, said.err) == (
        9,
        "error: cannot read /r/x: Permission denied; check the disk and the permissions\n",
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["lst"], "no such command 'lst'. Did you mean 'list'? (see 'rlrun --help')"),
        (["list", "--foo"], "no such option: --foo"),
        (["train", "--steps", "0"], "invalid value for '--steps'"),
        (["train", "--max-time", "5"], "'5' is not a duration"),
        (["train", "--device", "gpu"], "'gpu' is not a device; use auto, cpu, cuda or cuda:N"),
        (["train", "--name", "../x"], "'../x' cannot name a run"),
        (["resume", "--from", "x"], "--from takes a step's number or 'latest', not 'x'"),
        (["config"], "missing command (see 'rlrun config --help')"),
    ],
)
def test_a_wrong_command_line_is_code_2(line: list[str], sentence: str, rlrun: Run) -> None:
    said = rlrun(*line)
    assert said.code == 2
    assert said.err.startswith(f"error: {sentence}")


def test_a_wrong_option_with_json_is_json(rlrun: Run) -> None:
    assert json.loads(rlrun("list", "--json", "--foo").err)["exit_code"] == 2


def test_a_wrong_setting_is_code_3(rlrun: Run) -> None:
    said = rlrun("train", "--set", "sed=3")
    assert said.code == 3
    assert "did you mean seed?" in said.err


def test_help_shows_the_table_of_exit_codes(rlrun: Run) -> None:
    said = rlrun("--help")
    assert said.code == 0
    for code, meaning in EXIT_CODES.items():
        assert f"{code:>3}  {meaning}" in said.out


def test_without_a_command_the_help_is_shown(rlrun: Run) -> None:
    assert rlrun().out == rlrun("--help").out


@pytest.mark.parametrize("command", ["train", "resume", "list", "status", "logs", "stop", "config"])
def test_every_command_explains_itself(command: str, rlrun: Run) -> None:
    said = rlrun(command, "--help")
    assert said.code == 0
    assert command == "config" or "Exit codes:" in said.out


def test_the_version(rlrun: Run) -> None:
    assert rlrun("--version").out == f"rlrun {__version__}\n"


def test_main_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["rlrun", "lst"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2


@pytest.mark.parametrize("given", [["--root", "/elsewhere"], ["--root=/elsewhere"]])
def test_the_way_out_of_an_error_leads_to_the_same_root(rlrun: Any, given: list[str]) -> None:
    assert "start one with 'rlrun train --root /elsewhere'" in rlrun("status", *given).err


@pytest.mark.parametrize("arguments", [["config", "show"], ["list"], ["config", "check"]])
def test_a_reader_that_left_does_not_change_how_a_command_ends(
    arguments: list[str], make_run: Run
) -> None:
    make_run("a")
    reading, writing = os.pipe()
    os.close(reading)
    said = subprocess.run(
        [sys.executable, "-m", "rlrun", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert said.returncode == 0
    assert "rror" not in said.stderr
