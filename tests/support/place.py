"""A run that sessions work on one after the other, and what each of them said of itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrun.config.load import apply_overrides, config_to_dict, load_config
from rlrun.runs import checkpoints, jsonl, ledger, store
from rlrun.runs.layout import RunDir
from rlrun.runs.ledger import Session, SessionEnd, SessionStart
from rlrun.runs.request import SessionRequest
from support import jobs
from support.jobs import Job

LAST_STEP = 4  # of the runs that are made to be worked on here


@dataclass(frozen=True)
class Place:
    """A run, its sessions, and the file that they print to."""

    run: RunDir
    output: Path

    def work(self, *, mishap: Any = None, signals: Any = (), trace: Path | None = None,
             **request: Any) -> int:  # fmt: skip
        orders = SessionRequest(**{"device": "cpu", **request})
        job = Job(self.run.path, orders, mishap=mishap, signals=signals, trace=trace,
                  output=self.output)  # fmt: skip
        return jobs.run_worker(job)

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def last(self) -> Session:
        return ledger.read(self.run)[-1]

    @property
    def start(self) -> SessionStart:
        assert self.last.start is not None
        return self.last.start

    @property
    def end(self) -> SessionEnd:
        assert self.last.end is not None, self.said
        return self.last.end

    @property
    def saved_steps(self) -> list[int]:
        run_id = store.read_identity(self.run).id
        steps = checkpoints.list_steps(self.run)
        for step in steps:
            assert checkpoints.inspect(self.run, step, run_id=run_id, with_hashes=True).is_valid
        return steps

    def groups(self) -> list[str]:
        """Return the ids of all journaled groups, in the journal's order."""
        files = [*sorted(self.run.segments.iterdir()), self.run.journal]
        records = [record for path in files for record in jsonl.read(path, checked=True)]
        return [record["id"] for record in records if record["kind"] == "group"]

    def changed(self, *settings: str) -> dict[str, Any]:
        """Return the fields of a request that changes settings."""
        config = apply_overrides(load_config(str(self.run.config), []).config, settings)
        sentences = tuple(f"changed {setting}" for setting in settings)
        return {"config": config_to_dict(config), "changes": sentences}
