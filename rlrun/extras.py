"""The optional parts of the installation, and the command that adds one."""

import shlex
import sys
from pathlib import Path

import rlrun


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this rlrun: a checkout is its own source."""
    return f"{sys.executable} -m pip install {shlex.quote(_source(extra))}"


def _source(extra: str) -> str:
    checkout = Path(rlrun.__file__).parents[1]
    source = str(checkout) if (checkout / "pyproject.toml").is_file() else "rlrun"
    return f"{source}[{extra}]"
