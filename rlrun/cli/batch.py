"""Runs that a command works on one after the other: one that fails does not stop the others."""

from collections.abc import Callable
from pathlib import Path

from rlrun import errors
from rlrun.cli import sentences, show, text
from rlrun.errors import RlrunError, UnprovedError


class Batch:
    """What failed, by the run's name; a failure is said as soon as it is known if there are more.

    `root` is what `--root` said.
    """

    def __init__(self, num_runs: int, root: Path | None) -> None:
        self.failures: dict[str, RlrunError] = {}
        self._num_runs = num_runs
        self._root = None if root is None else str(root)

    def attempt(self, name: str, act: Callable[[], None]) -> None:
        """Work on a run; take note if that fails."""
        try:
            act()
        except RlrunError as error:
            self._note(name, error)
        except OSError as error:
            self._note(name, errors.of_system(error))

    def _note(self, name: str, error: RlrunError) -> None:
        self.failures[name] = error
        if self._num_runs > 1:
            sentence = sentences.with_root(str(error), self._root)
            show.error(sentence if f"'{name}'" in sentence else f"run '{name}': {sentence}")

    def conclude(self) -> None:
        """Raise the worst of what failed: of a single run as it is, else with all their names."""
        if not self.failures:
            return
        worst = max(self.failures.values(), key=_gravity)
        if self._num_runs == 1:
            raise worst
        names = ", ".join(f"'{name}'" for name in self.failures)
        raise type(worst)(
            f"{len(self.failures)} of {text.count(self._num_runs, 'run')} did not end well: "
            f"{names}; why is said above, and the others are done"
        ) from worst


def _gravity(error: RlrunError) -> tuple[bool, int]:
    """Return a key: what was merely kept is the least of all."""
    return (not isinstance(error, UnprovedError), error.exit_code)
