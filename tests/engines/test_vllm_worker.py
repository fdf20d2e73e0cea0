"""vLLM's process without vLLM: what it needs of rlrun, an interpreter that knows neither finds."""

import sys
from pathlib import Path

import pytest
from support.engines import SPEC

from rlrun.engines import client
from rlrun.engines.client import EngineProcess
from rlrun.errors import EngineError

WORKER = Path(client.__file__).with_name("vllm_worker.py")


@pytest.mark.parametrize("options", [[], ["-I"], ["-P"]])
def test_it_starts_by_its_path_and_wants_nothing_but_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    python = getattr(sys, "_base_executable", sys.executable)  # without this environment's packages
    command = [python, *options, "-S", str(WORKER)]
    spec = SPEC.__class__(**{**SPEC.to_json(), "model_path": "builtin:tiny"})
    with pytest.raises(EngineError, match="ModuleNotFoundError: No module named 'vllm'"):
        EngineProcess(spec, python=None, log=tmp_path / "log", timeout_seconds=60, command=command)
