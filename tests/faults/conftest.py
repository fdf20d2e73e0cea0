"""How many faults were injected: tests count them, the end of a test run tells the sums."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_PREFIX = "number of "


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """Take note that so many of something were tried."""

    def note(what: str, number: int) -> None:
        request.node.user_properties.append((f"{_PREFIX}{what}", number))

    return note


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of directories come and go in it."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, number in report.user_properties:
            if name.startswith(_PREFIX):
                counts[name.removeprefix(_PREFIX)] += number
    for what, number in sorted(counts.items()):
        terminalreporter.write_line(f"{number} {what}")
