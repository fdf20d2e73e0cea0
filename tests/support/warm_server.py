"""One small session in the fork server, so that each fork finds all that a first session makes.

Imported by the server alone, behind everything else that it imports.  A fork of a process in which
torch has computed hangs if a pool of threads was left behind: so it computes on one thread, and it
is made sure that no thread came.  Where there is a GPU torch starts one for each device at the
first backward pass, whatever device that is for; the server stays cold there.

The server's session looks whether its engine treats rows alike; the forks' take its word for that,
a fifth of their time: what they are for, equal bytes in the end, is compared in full.
"""

import gc
import tempfile
from pathlib import Path
from typing import Any

import torch

from rlrun.policy import determinism
from rlrun.rollouts import torch_engine
from rlrun.runs.request import SessionRequest
from rlrun.trainer import workbench, worker
from support import jobs, micro_model
from support.jobs import Job
from support.runs import make_run

SETTINGS = (
    "train.max_steps=2",
    "saving.every_steps=2",
    "grpo.prompts_per_step=1",
    "grpo.updates_per_batch=2",
    "grpo.kl_weight=0.1",
)


def threads() -> set[str]:
    """Return the ids of this process's threads, those of libraries with them."""
    return {path.name for path in Path("/proc/self/task").iterdir()}


def warm_up() -> None:
    """Train a run and throw it away; leave torch's settings as they were."""
    before, num_threads = threads(), torch.get_num_threads()
    torch.set_num_threads(1)
    make_task, look = workbench.make_task, torch_engine.treats_rows_alike
    seen: list[bool] = []

    def look_once(*arguments: Any) -> bool:
        seen.append(look(*arguments))
        return seen[-1]

    torch_engine.treats_rows_alike = look_once
    worker._prepare_libraries()  # without progress bars: a thread watches them
    with tempfile.TemporaryDirectory() as folder_name, torch.random.fork_rng(devices=[]):
        folder = Path(folder_name)
        micro_model.write(folder / "model")
        run = make_run(folder, "run", folder / "model", SETTINGS)
        jobs.prepare(Job(run.path))
        code = worker.run_session(run, SessionRequest(device="cpu"), heartbeat_seconds=None)
    assert code == 0, "the fork server could not train"
    workbench.make_task, torch_engine.treats_rows_alike = make_task, look
    assert seen == [True], "the micro model does not treat rows alike here"
    jobs.is_looked_at = True
    determinism.apply(deterministic=False, num_threads=num_threads)
    assert threads() == before, "a thread came with the server's session: forks would hang"


if torch.cuda.device_count() == 0:
    warm_up()
gc.collect()
gc.freeze()  # or each fork's collector would look at all of this, and copy it by that
