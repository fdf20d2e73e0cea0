"""The command that adds an extra."""

import sys
from pathlib import Path

import pytest

import rlrun
from rlrun.extras import install_command


def test_a_checkout_is_installed_from_itself() -> None:
    checkout = Path(rlrun.__file__).parents[1]
    assert install_command("math") == f"{sys.executable} -m pip install '{checkout}[math]'"


def test_an_installed_package_is_installed_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rlrun, "__file__", str(tmp_path / "rlrun" / "__init__.py"))
    assert install_command("math") == f"{sys.executable} -m pip install 'rlrun[math]'"
