"""Deterministic settings: what is set, and that a setting which was lost is noticed."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from rlrun.errors import WorkerError
from rlrun.policy import backend, determinism

SWITCHES: list[tuple[Any, str]] = [
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.utils.deterministic, "fill_uninitialized_memory"),
]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put torch's switches back."""
    switches = [(owner, name, getattr(owner, name)) for owner, name in SWITCHES]
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)
    for owner, name, value in switches:
        setattr(owner, name, value)


def test_the_environment_is_what_backends_read_at_their_start() -> None:
    environ: dict[str, str] = {}
    determinism.prepare_environment(environ)
    assert environ == {**backend.environment(), "TOKENIZERS_PARALLELISM": "false"}


def test_the_workspace_is_set_whatever_it_was_and_the_tokenizers_are_left_alone() -> None:
    environ = {"CUBLAS_WORKSPACE_CONFIG": ":0:0", "TOKENIZERS_PARALLELISM": "true"}
    determinism.prepare_environment(environ)
    assert environ == {**backend.environment(), "TOKENIZERS_PARALLELISM": "true"}


def test_too_late_for_the_environment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    environ: dict[str, str] = {}
    with pytest.raises(WorkerError, match="CUDA was started before"):
        determinism.prepare_environment(environ)
    assert environ == {}


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_what_was_applied_is_in_force(deterministic: bool, num_threads: int) -> None:
    determinism.apply(deterministic=deterministic, num_threads=num_threads)
    in_force = determinism.check(deterministic=deterministic, num_threads=num_threads)
    assert in_force["deterministic"] is deterministic
    assert in_force["num_threads"] == num_threads
    assert in_force["tf32"] is not deterministic
    assert torch.backends.cudnn.deterministic is deterministic
    assert torch.backends.cudnn.benchmark is not deterministic
    assert torch.backends.cudnn.allow_tf32 is not deterministic


def test_another_number_of_threads_is_noticed() -> None:
    determinism.apply(deterministic=True, num_threads=1)
    torch.set_num_threads(2)
    with pytest.raises(WorkerError, match="num_threads=1 as asked"):
        determinism.check(deterministic=True, num_threads=1)


def test_a_lost_switch_is_noticed() -> None:
    determinism.apply(deterministic=True, num_threads=1)
    torch.use_deterministic_algorithms(False)
    with pytest.raises(WorkerError, match="deterministic=True"):
        determinism.check(deterministic=True, num_threads=1)
