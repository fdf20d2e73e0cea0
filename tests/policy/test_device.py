"""Devices: what a `--device` value means here, and what is said of one that is not."""

import pytest
import torch

from rlrun.errors import UsageError
from rlrun.policy.device import find_device


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match="--device abacus: no such device; give auto, cpu"):
        find_device("abacus")
    assert find_device("cpu") == torch.device("cpu")


def test_a_gpu_that_torch_does_not_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="torch sees no NVIDIA GPU here; give cpu or auto"):
        find_device("cuda:0")
    assert find_device("auto") == torch.device("cpu")


def test_a_gpu_behind_the_last_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda:1") == torch.device("cuda:1")
    assert find_device("auto") == torch.device("cuda")
    with pytest.raises(UsageError, match="--device cuda:2: the last NVIDIA GPU here is cuda:1"):
        find_device("cuda:2")
