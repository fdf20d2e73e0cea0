"""What numeric libraries read from the environment, once, when they start.

Knows no torch, so that it can be set before torch is imported.
"""

from pathlib import Path

_CPU = Path("/proc/cpuinfo")
_ALWAYS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
# Without it MKL computes some rows of a thin product (one with two or three columns, as an adapter
# of rank two has) by other instructions than their neighbours.  It costs nothing there; on other
# makers' processors the same words select kernels that are many times slower.
_ON_INTEL = {"MKL_CBWR": "AUTO,STRICT"}


def environment(cpu: Path = _CPU) -> dict[str, str]:
    """Return what makes the libraries compute a number the same way each time, on this machine."""
    return {**_ALWAYS, **(_ON_INTEL if _is_intel(cpu) else {})}


def _is_intel(cpu: Path) -> bool:
    return cpu.is_file() and "GenuineIntel" in cpu.read_text()
