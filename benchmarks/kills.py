"""Kill sessions at random moments, by the hundred, and compare what each run ends in.

Each run has 5 sessions killed in a row, by the clock and as a whole process group; then one
finishes it.  The run must then be, bit for bit, what it would be if nobody had been killed.  Ends
at the first that is not, with the line that repeats it.  Writes nothing but what it prints.

usage: PYTHONPATH=tests kills.py [--kills N] [--seed S] [--first-run R] [--max-minutes M]
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

from support import jobs
from support.kills import SETTINGS, Counts, Course

NUM_IN_A_ROW = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", default="20260131")
    parser.add_argument("--first-run", type=int, default=0)
    parser.add_argument("--max-minutes", type=float, default=60.0)
    arguments = parser.parse_args()
    give_up = time.monotonic() + 60 * arguments.max_minutes
    counts = Counts()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = jobs.make_model(folder / "model")
        courses: dict[str, Course] = {}
        number = arguments.first_run
        while counts.num_kills < arguments.kills and time.monotonic() < give_up:
            setting = list(SETTINGS)[number % len(SETTINGS)]
            if setting not in courses:
                courses[setting] = Course(folder / setting, model, setting)
            where = f"kills.py --kills 1 --seed {arguments.seed} --first-run {number}"
            draw = random.Random(f"{arguments.seed}/{number}")
            courses[setting].kill_and_finish(draw, NUM_IN_A_ROW, folder, counts, where)
            number += 1
    print(f"{counts.num_kills} kills of sessions on {counts.num_runs} runs (seed {arguments.seed})")
    print(f"{counts.num_too_late} came when the session had ended by itself")
    for num_steps, times in sorted(counts.steps.items()):
        print(f"{times} sessions began with {num_steps} checkpoints")
    print("0 runs that ended in other bytes, lost a checkpoint or left anything behind")


if __name__ == "__main__":
    main()
