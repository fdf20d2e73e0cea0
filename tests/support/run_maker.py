"""Runs on disk, written through the runs room as a worker would write them."""

import socket
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlrun.config.yaml_source import read_document
from rlrun.runs import checkpoints, jsonl, ledger, lock, store
from rlrun.runs.ledger import Outcome, SessionEnd, SessionOpening, SessionStart
from rlrun.runs.lock import Owner
from rlrun.runs.store import NewRun

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONFIG = "train:\n  max_steps: 10\n"


class RunMaker:
    """Makes one run and what sessions leave in it."""

    def __init__(self, root: Path, name: str, config: str) -> None:
        self.run = store.create_run(root, NewRun(config, 1), name=name, now=NOW)
        self.id = store.read_identity(self.run).id

    def opens(self, session: int = 1, *, pid: int = 4121, host: str = "gpu-2") -> None:
        opened = NOW.isoformat()
        ledger.append_opening(self.run, SessionOpening(session, opened, host, pid))

    def starts(self, session: int = 1, *, from_step: int = 0, **fields: Any) -> None:
        values: dict[str, Any] = {
            "frontier": from_step, "target_step": 10, "max_steps": 10, "promise": "bitwise"
        } | fields  # fmt: skip
        start = SessionStart(session, NOW.isoformat(), "cpu", from_step=from_step, **values)
        ledger.append_start(self.run, start)

    def ends(self, session: int = 1, *, step: int, outcome: Outcome, **fields: Any) -> None:
        values: dict[str, Any] = {"exit_code": 0, "message": ""} | fields
        end = SessionEnd(session, NOW.isoformat(), step, step, 0, 640, 12.0, outcome, **values)
        ledger.append_end(self.run, end)

    def steps(self, first: int, last: int, *, reward: float = 0.5, replayed: bool = False) -> None:
        with self.run.train_log.open("ab") as file:
            for step in range(first, last + 1):
                record = record_of(step, reward=reward, replayed=replayed)
                file.write(jsonl.encode(record, checked=False))

    def journals(self, *kinds: str) -> None:
        with self.run.journal.open("ab") as file:
            for kind in kinds:
                file.write(jsonl.encode({"kind": kind}, checked=True))

    def saves(self, step: int, *, session: int = 1, weights: bytes = b"12345") -> None:
        config = read_document(self.run.config.read_bytes()).value
        info = {"run_id": self.id, "step": step, "session": session, "config": config}
        checkpoints.publish(self.run, step, {"model/weights": weights}, info)

    def is_held_elsewhere(self, session: int = 1, *, pid: int = 4121, host: str = "gpu-2") -> Owner:
        owner = Owner(host, pid, "another boot", session)
        self.run.lock.write_text(jsonl.encode(asdict(owner), checked=False).decode())
        return owner

    def was_held_by_the_dead(self, session: int) -> Owner:
        owner = Owner(socket.gethostname(), 4121, lock.this_process(session).boot_id, session)
        self.run.lock.write_text(jsonl.encode(asdict(owner), checked=False).decode())
        return owner

    def is_held_here(self, session: int = 1) -> lock.Lock:
        return lock.Lock(self.run, lambda: session, heartbeat_seconds=None)


def stopped_at_30(made: RunMaker) -> RunMaker:
    """Let one session take a run to step 30, with a checkpoint every 10 steps."""
    made.opens(1)
    made.starts(1)
    made.steps(1, 30)
    for step in (10, 20, 30):
        made.saves(step)
    made.ends(1, step=30, outcome="steps_done")
    return made


def record_of(step: int, *, reward: float = 0.5, replayed: bool = False) -> dict[str, Any]:
    return {
        "step": step,
        "reward_mean": reward,
        "reward_std": 0.0,
        "loss": -0.0125,
        "kl": 0.001,
        "clock": {"seconds": 2.0, "tokens_per_second": 1234.0, "replayed": replayed},
    }
