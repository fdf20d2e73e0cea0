"""Which interpreter an engine's process runs in, and whether that can work at all."""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

from rlrun.engines.spec import EngineName
from rlrun.errors import MissingExtraError
from rlrun.extras import install_command

PYTHON_VARIABLE = "RLRUN_VLLM_PYTHON"
_TORCH_PACKAGES = ("torch", "transformers", "peft", "safetensors")
_LOOK_SECONDS = 60
_LOOK = (
    "import sys, importlib.util as u; "
    "print(sys.version_info >= (3, 11), getattr(u.find_spec('vllm'), 'origin', None) is not None)"
)


def vllm_python(python: str | None, environ: Mapping[str, str]) -> str:
    """Return the interpreter for vLLM: the setting, else the environment's, else this one."""
    return python or environ.get(PYTHON_VARIABLE) or sys.executable


def can_start_vllm(python: str | None, environ: Mapping[str, str]) -> tuple[bool, str]:
    """Return whether vLLM is installed for that interpreter, and why not; nothing is imported."""
    reason = _why_no_vllm(vllm_python(python, environ))
    return not reason, reason


@cache
def _why_no_vllm(python: str) -> str:
    if python == sys.executable:
        return "" if _is_package(find_spec("vllm")) else f"{python} has no vllm"
    try:
        result = subprocess.run(
            [python, "-c", _LOOK],
            capture_output=True, text=True, timeout=_LOOK_SECONDS, check=False,
        )  # fmt: skip
    except OSError as error:
        return f"{python} cannot be started ({error.strerror})"
    except subprocess.TimeoutExpired:
        return f"{python} gives no answer within {_LOOK_SECONDS} s"
    match result.stdout.split():
        case ["True", "True"]:
            return ""
        case ["False", _]:
            return f"{python} is older than Python 3.11"
        case [_, "False"]:
            return f"{python} has no vllm"
    return f"{python} is no Python that answers"


def _is_package(spec: ModuleSpec | None) -> bool:
    """Return whether something is installed, and not only a folder of that name found."""
    return spec is not None and spec.origin is not None


def require_engine(engine: EngineName, python: str | None, environ: Mapping[str, str]) -> None:
    """Raise MissingExtraError unless the engine's packages are installed where it is to run."""
    if engine == "torch":
        missing = [package for package in _TORCH_PACKAGES if find_spec(package) is None]
        if missing:
            raise MissingExtraError(
                f"the torch engine needs {', '.join(missing)}, which {sys.executable} does not "
                f"have; install the extra with: {install_command('train')}"
            )
        return
    is_there, reason = can_start_vllm(python, environ)
    if not is_there:
        raise MissingExtraError(
            f"{reason}; install vllm in an environment of its own and name its python with "
            f"eval.python or {PYTHON_VARIABLE}, or take the torch engine"
        )


def worker_environ(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for a worker in another interpreter: nothing that is of this one."""
    mine = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    return {name: value for name, value in environ.items() if name not in mine}


def version_of(engine: EngineName, python: str | None, environ: Mapping[str, str]) -> str:
    """Return the version of the engine's package where it is to run; nothing is imported.

    Raises MissingExtraError if it is not there.
    """
    require_engine(engine, python, environ)
    if engine == "torch":
        return metadata.version("torch")
    return _vllm_version(vllm_python(python, environ))


@cache
def _vllm_version(python: str) -> str:
    program = (
        "from importlib import metadata as m; names = m.packages_distributions()['vllm']; "
        "print(m.version(names[0]))"
    )
    result = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, timeout=_LOOK_SECONDS, check=True
    )
    return result.stdout.strip()
