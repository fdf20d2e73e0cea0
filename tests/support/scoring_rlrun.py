"""`rlrun` whose engines are the fake scorer: `python -m support.scoring_rlrun eval ...`."""

from functools import partial

from rlrun.cli import app, evaluate
from rlrun.engines.client import EngineProcess
from support.scoring import SCORER


def use_the_scorer() -> None:
    """Let `rlrun eval` start the fake scorer in place of an engine, from here on."""
    evaluate.EngineProcess = partial(EngineProcess, command=SCORER)  # type: ignore[assignment, misc]


if __name__ == "__main__":
    use_the_scorer()
    app.main()
