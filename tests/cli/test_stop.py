"""`rlrun stop`; that a real session ends is tested with `rlrun train`."""

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]


def test_nobody_works_on_the_run(rlrun: Run, make_run: Run) -> None:
    make_run("a")
    said = rlrun("stop", "a")
    assert said.code == 7
    assert "nobody is working on run 'a'; continue it with 'rlrun resume a'" in said.err


def test_no_run_is_running(rlrun: Run, make_run: Run) -> None:
    make_run("a")
    said = rlrun("stop")
    assert said.code == 7
    assert "'rlrun list' shows what there is" in said.err


def test_without_a_name_the_running_run_is_meant(rlrun: Run, make_run: Run) -> None:
    make_run("a").is_held_elsewhere(host="gpu-2")
    make_run("b")
    said = rlrun("stop")
    assert said.code == 5
    assert "run 'a' is being written by pid 4121 on gpu-2, and this is" in said.err


def test_in_vain_it_is_code_5(start_rlrun: Run, rlrun: Run, root: Any, make_run: Run) -> None:
    process = start_rlrun("train", "--name", "a", max_steps=500, step_seconds=0.05, num_signals=2)
    while rlrun("stop", "a", "--timeout", "0.2").code != 5:
        assert process.poll() is None
    assert rlrun("stop", "a", "--now").out.startswith("run 'a' at step")
    process.communicate(timeout=20)
    assert process.returncode == 130
