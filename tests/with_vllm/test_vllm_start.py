"""vLLM's start and end: what is refused, what it starts with, and that nothing is left of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.engines import TESTS, wait_until_gone
from support.policies import make_policy
from support.trained_adapters import write_policy

from rlrun.engines.client import EngineProcess
from rlrun.engines.model_source import find_model
from rlrun.engines.spec import EngineSpec, GenerateRequest
from rlrun.errors import EngineError

SPEC = EngineSpec("vllm", "builtin:tiny", "float32", "cpu", 16, 8, 0, 1, 8, 1, 0.5)
Start = Callable[..., EngineProcess]

CLIENT = """
import sys
from pathlib import Path
from rlrun.engines.client import EngineProcess
from rlrun.engines.model_source import find_model
from rlrun.engines.spec import EngineSpec, GenerateRequest

spec = EngineSpec("vllm", "builtin:tiny", "float32", "cpu", 16, 8, 0, 1, 8, 1, 0.5)
engine = EngineProcess(spec, python=sys.argv[1], log=Path(sys.argv[2]), timeout_seconds=600)
print(engine.pid, flush=True)
while True:
    list(engine.generate(GenerateRequest(str(i), None, (20,), i, 1.0, 8) for i in range(1000)))
"""


@pytest.fixture
def start(vllm_python: str, tmp_path: Path) -> Start:
    def start_vllm(spec: EngineSpec) -> EngineProcess:
        log = tmp_path / "engine.log"
        return EngineProcess(spec, python=vllm_python, log=log, timeout_seconds=120)

    return start_vllm


def has_gpu_build(python: str) -> bool:
    program = "import torch; print(torch.cuda.is_available())"
    result = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    return result.stdout.strip() == "True"


def test_a_device_that_it_is_not_built_for_is_refused(start: Start, vllm_python: str) -> None:
    device = "cpu" if has_gpu_build(vllm_python) else "cuda"
    with pytest.raises(EngineError, match=f"--device {device}: this vLLM is"):
        start(replace(SPEC, device=device))


def test_a_model_that_it_does_not_know_is_refused(start: Start, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Unheard"]}))
    with pytest.raises(EngineError, match="the vllm engine refused: vLLM does not take the model"):
        start(replace(SPEC, model_path=str(tmp_path)))


def test_a_model_of_its_own_is_served_with_the_packages_of_its_environment(
    start: Start, vllm_python: str, tmp_path: Path
) -> None:
    policy = make_policy(find_model("builtin:tiny").folder, lora=None)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter *= 1.1
    write_policy(policy, tmp_path / "model")
    spec = replace(SPEC, model_path=str(tmp_path / "model"))
    asked = [GenerateRequest(str(i), None, (20 + i, 21), i, 0.0, 8) for i in range(8)]
    with start(spec) as engine:
        found = dict(engine.generate(asked))
        program = "import transformers; print(transformers.__version__)"
        theirs = subprocess.run([vllm_python, "-c", program], capture_output=True, text=True)
        assert engine.info.versions["transformers"] == theirs.stdout.strip()
    torch_spec = replace(spec, engine="torch")
    log = tmp_path / "torch.log"
    with EngineProcess(torch_spec, python=None, log=log, timeout_seconds=120) as engine:
        expected = dict(engine.generate(asked))
    assert {name: one.token_ids for name, one in found.items()} == {
        name: one.token_ids for name, one in expected.items()
    }


@pytest.mark.parametrize("victim", ["client", "worker"])
def test_nothing_is_left_when_one_of_it_is_killed(
    vllm_python: str, tmp_path: Path, victim: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, vllm_python, str(tmp_path / "engine.log")],
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout is not None
        leader = int(client.stdout.readline())
        group = members(leader)
        assert len(group) >= 2  # the guard, and vLLM
        worker = max(group, key=memory_of)
        os.kill(client.pid if victim == "client" else worker, signal.SIGKILL)
        _, said = client.communicate(timeout=60)
        wait_until_gone(*group)
    if victim == "worker":
        assert "EngineError: the vllm engine ended on its own: the engine's process ended" in said


def members(group: int) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if group_of(pid) == group]


def group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def memory_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
