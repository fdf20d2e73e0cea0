"""Which device a `--device` value means on this machine."""

import torch

from rlrun.errors import UsageError


def find_device(wanted: str) -> torch.device:
    """Return the device of a `--device` value; UsageError if this machine has none such."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(
            f"--device {wanted}: no such device; give auto, cpu, cuda or cuda:N"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {wanted}: torch sees no NVIDIA GPU here; give cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UsageError(f"--device {wanted}: the last NVIDIA GPU here is cuda:{last}; give that")
    return device
