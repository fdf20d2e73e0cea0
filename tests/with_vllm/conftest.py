"""Fixtures of this room: real vLLM, in the environment that RLRUN_VLLM_PYTHON names."""

import os
from pathlib import Path

import pytest
from support.torch_settings import one_thread

from rlrun.engines.interpreters import PYTHON_VARIABLE

__all__ = ["one_thread"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.vllm)


@pytest.fixture(scope="session")
def vllm_python() -> str:
    python = os.environ.get(PYTHON_VARIABLE)
    if not python:
        pytest.skip(f"no vLLM: name its interpreter with {PYTHON_VARIABLE}, or run make test-vllm")
    return python
