"""Deterministic settings: made before the backend starts, and checked afterwards."""

import os
from typing import Any

import torch
import torch.utils.deterministic as deterministic_settings

from rlrun.errors import WorkerError
from rlrun.policy import backend

_CUBLAS_KEY = "CUBLAS_WORKSPACE_CONFIG"
_MKL_KEY = "MKL_CBWR"


def prepare_environment(environ: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Set what a backend reads only once, when it starts; WorkerError if it has started."""
    if torch.cuda.is_initialized():
        raise WorkerError("CUDA was started before the deterministic settings; this is a defect")
    environ.update(backend.environment())
    environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def apply(*, deterministic: bool, num_threads: int) -> None:
    """Set torch's switches for this process."""
    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(deterministic)
    # Filling fresh memory finds reads of it in kernels under development; here it only costs time.
    deterministic_settings.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cuda.matmul.allow_tf32 = not deterministic
    torch.backends.cudnn.allow_tf32 = not deterministic


def check(*, deterministic: bool, num_threads: int) -> dict[str, Any]:
    """Return the settings in force, for the fingerprint; WorkerError if they are not as asked."""
    in_force = {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "num_threads": torch.get_num_threads(),
        "cublas_workspace": os.environ.get(_CUBLAS_KEY) if torch.cuda.is_available() else None,
        "mkl_reproducibility": os.environ.get(_MKL_KEY),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }
    if in_force["deterministic"] != deterministic or in_force["num_threads"] != num_threads:
        raise WorkerError(
            f"torch runs with {in_force}, not with deterministic={deterministic} and "
            f"num_threads={num_threads} as asked; something else in this process changed it"
        )
    return in_force
