"""A worker without a model: it keeps the contract of a session and takes steps that cost nothing.

FAKE_WORKER in the environment is JSON that says what it does: `step_seconds`, `load_seconds`,
`max_steps`, `rewards`, `die_at` (a step, by SIGKILL), `fail_at` (a step, by an end record),
`refuse` (an exit code, before its start), `num_signals` (how many of them it takes to stop it).
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from rlrun.config.load import config_to_dict, load_config
from rlrun.runs import checkpoints, jsonl, ledger, lock, store
from rlrun.runs.layout import RunDir
from rlrun.runs.request import SessionRequest

NOW = "2026-01-02T03:04:05+00:00"
BEHAVIOUR = {
    "step_seconds": 0.0, "load_seconds": 0.0, "max_steps": 5, "num_groups": 2, "num_signals": 1
} | json.loads(os.environ.get("FAKE_WORKER", "{}"))  # fmt: skip
OUTCOMES: dict[int, ledger.Outcome] = {0: "steps_done", 75: "stopped", 130: "stopped_now"}
signals: list[int] = []


def append(path: Path, record: jsonl.Record) -> None:
    with path.open("ab") as file:
        file.write(jsonl.encode(record, checked=False))


def take_step(run: RunDir, step: int, *, replayed: bool) -> None:
    for slot in range(BEHAVIOUR["num_groups"]):
        append(run.journal, {"kind": "group", "slot": slot})
        time.sleep(BEHAVIOUR["step_seconds"] / BEHAVIOUR["num_groups"])
    append(run.journal, {"kind": "batch", "first_step": step})
    rewards = BEHAVIOUR.get("rewards", [0.5])
    clock = {"seconds": 0.25, "tokens_per_second": 1234.0, "replayed": replayed}
    append(
        run.train_log,
        {
            "step": step,
            "reward_mean": rewards[(step - 1) % len(rewards)],
            "reward_std": 0.0,
            "loss": -0.0125,
            "kl": 0.001,
            "entropy": 1.25,
            "grad_norm": 0.75,
            "completion_tokens_mean": 8.0,
            "clock": clock,
        },
    )


def save(run: RunDir, number: int, step: int) -> None:
    info = {
        "run_id": store.read_identity(run).id,
        "session": number,
        "step": step,
        "config": config_to_dict(load_config(str(run.config), []).config),
    }
    checkpoints.publish(run, step, {"model/weights": b"12345"}, info)


def end(run: RunDir, number: int, step: int, code: int, why: str = "") -> int:
    is_last = code == 0 and step == BEHAVIOUR["max_steps"]
    if is_last:
        save(run, number, step)
    outcome = "finished" if is_last else OUTCOMES.get(code, "failed")
    record = ledger.SessionEnd(
        session=number, ended=NOW, step=step, num_steps=step, num_replayed=0, num_tokens=64 * step,
        seconds=1.5, outcome=outcome, exit_code=code, message=why,
    )  # fmt: skip
    ledger.append_end(run, record)
    return code


def work(run: RunDir, request: SessionRequest, held: lock.Lock) -> int:
    number = held.owner.session
    ledger.append_opening(run, ledger.SessionOpening(number, NOW, held.owner.host, os.getpid()))
    sys.stderr.write(f"session {number} opened\n")
    time.sleep(BEHAVIOUR["load_seconds"])
    if "refuse" in BEHAVIOUR:
        return end(run, number, 0, BEHAVIOUR["refuse"], "it was refused for a reason")
    last = jsonl.read_last(run.train_log)
    first = int(last["step"]) if last else 0
    max_steps = BEHAVIOUR["max_steps"]
    target = min(max_steps, first + request.steps) if request.steps else max_steps
    ledger.append_start(
        run,
        ledger.SessionStart(
            session=number, started=NOW, device="cpu", from_step=first, frontier=first,
            target_step=target, max_steps=max_steps, promise="bitwise", changes=request.changes,
        ),
    )  # fmt: skip
    for step in range(first + 1, target + 1):
        if BEHAVIOUR.get("die_at") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if BEHAVIOUR.get("fail_at") == step:
            return end(run, number, step - 1, 8, "out of memory while updating")
        take_step(run, step, replayed=False)
        if len(signals) >= BEHAVIOUR["num_signals"]:
            return end(run, number, step, 130 if len(signals) > 1 else 75)
    return end(run, number, target, 0)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: signals.append(number))
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--request", type=SessionRequest.from_text, required=True)
    arguments = parser.parse_args()
    run = RunDir(arguments.run_dir)
    held = lock.Lock(run, lambda: ledger.next_session(run), heartbeat_seconds=None)
    try:
        code = work(run, arguments.request, held)
    finally:
        held.release()
    sys.exit(code)


if __name__ == "__main__":
    main()
