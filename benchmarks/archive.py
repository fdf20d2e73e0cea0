"""What archiving a run costs, in one run: time and memory of s5cmd, of rclone, of `rlrun archive`.

Two runs: one whose checkpoint is one large file, and one with many checkpoints of small files.  The
tools take turns, each into an empty place of the same SeaweedFS on loopback; the median of the
rounds counts.  All copy the same run directory; ours also proves what it sends and writes its
manifests.

usage: archive.py [--rounds N] [--large-mib N] [--num-small N], with PYTHONPATH=tests and
RLRUN_S3_TOOLS=<the servers' bin folder>, as `make bench-archive` sets them
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from support import s3_servers
from support.run_maker import RunMaker
from support.s3_servers import Server

from rlrun.runs import checkpoints

MIB = 2**20
SMALL_BYTES = 16 * 1024
FILES_PER_STEP = 8
BUCKET = "bench"
OURS = "rlrun archive"
RUN = "bench-run"
CONFIG = "train:\n  max_steps: 1000\n"

# A process's peak counts from its parent's memory at the fork: so its parent must be small.
MEASURE = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - began
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
sys.exit(code)
"""

Commands = list[list[str]]
Tool = Callable[[Path, str], Commands]
"""Tells what to run one after the other to copy a folder to a prefix of the bucket."""


@dataclass(frozen=True)
class Reading:
    """One copy by one tool."""

    seconds: float
    peak_mib: float  # of the largest of its processes


def make_large(root: Path, num_mib: int) -> Path:
    """Make a run with one checkpoint of one large file that no tool can compress."""
    draw = random.Random(0)
    made = RunMaker(root, RUN, CONFIG)
    data = b"".join(draw.randbytes(MIB) for _ in range(num_mib))
    publish(made, 1, {"optimizer.pt": data})
    return made.run.path


def make_small(root: Path, num_files: int) -> Path:
    """Make a run with checkpoints of a few small files each."""
    draw = random.Random(1)
    made = RunMaker(root, RUN, CONFIG)
    for step in range(1, num_files // FILES_PER_STEP + 1):
        names = (f"model/part_{number}" for number in range(FILES_PER_STEP))
        publish(made, step, {name: draw.randbytes(SMALL_BYTES) for name in names})
    return made.run.path


def publish(made: RunMaker, step: int, contents: dict[str, bytes]) -> None:
    info = {"run_id": made.id, "step": step, "session": 1}
    checkpoints.publish(made.run, step, contents, info)


def tools() -> dict[str, Tool]:
    """Return all tools that are there, by the name of what they do."""
    folder = s3_servers.tools_folder()
    rclone = str(folder / "rclone")
    # the executable itself: what lies in bin is a script that starts an interpreter first
    [s5cmd] = map(str, folder.parent.glob("lib/python*/site-packages/s5cmd/bin/s5cmd"))

    def copy(source: Path, prefix: str) -> list[str]:
        return [rclone, "copy", str(source), f"store:{BUCKET}/{prefix}"]

    def check(source: Path, prefix: str) -> list[str]:
        return [rclone, "check", str(source), f"store:{BUCKET}/{prefix}"]

    def archive(source: Path, prefix: str) -> list[str]:
        root, place = source.parents[1], f"s3://{BUCKET}/{prefix}"
        words = ["-m", "rlrun", "archive", RUN, "--to", place, "--root", str(root)]
        return [sys.executable, *words]

    return {
        OURS: lambda source, prefix: [archive(source, prefix)],
        "s5cmd cp": lambda source, prefix: [
            [s5cmd, "cp", "--no-follow-symlinks", f"{source}/", f"s3://{BUCKET}/{prefix}/"]
        ],
        "rclone copy": lambda source, prefix: [copy(source, prefix)],
        "rclone copy + check": lambda source, prefix: [
            copy(source, prefix),
            check(source, prefix),
        ],
    }


def environment(server: Server) -> dict[str, str]:
    """Return what the tools find their way to the server by, and nothing of the user's own."""
    rclone = {
        "TYPE": "s3",
        "PROVIDER": "SeaweedFS",
        "ENV_AUTH": "true",
        "ENDPOINT": server.endpoint,
        "REGION": s3_servers.REGION,
    }
    return {
        **os.environ,
        **server.environment,
        "S3_ENDPOINT_URL": server.endpoint,
        "RCLONE_CONFIG": "",
        **{f"RCLONE_CONFIG_STORE_{name}": value for name, value in rclone.items()},
    }


def run(commands: Commands, env: Mapping[str, str]) -> Reading:
    """Run commands one after the other."""
    readings = []
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-S", "-E", "-c", MEASURE, *command],
            env=env,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr}")
        readings.append(Reading(*json.loads(done.stdout.splitlines()[-1])))
    return Reading(sum(r.seconds for r in readings), max(r.peak_mib for r in readings))


def check_copy(server: Server, folder: Path, prefix: str) -> None:
    """Fail unless as many files and bytes are there as there should be."""
    pages = (
        server.client()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    )
    sizes = [one["Size"] for page in pages for one in page.get("Contents", [])]
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    if (len(sizes), sum(sizes)) != (len(files), sum(files)):
        sys.exit(f"{prefix} holds {len(sizes)} objects of {sum(sizes)} bytes, not all")


def remove(server: Server, prefix: str) -> None:
    """Make room: what was copied is not needed any more."""
    client = server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    for page in pages:
        keys = [{"Key": one["Key"]} for one in page.get("Contents", [])]
        if keys:
            client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})


def measure(
    server: Server, folders: Mapping[str, Path], num_rounds: int
) -> list[dict[str, object]]:
    """Return the readings of each tool on each data, in turns."""
    env, all_tools = environment(server), tools()
    readings: dict[tuple[str, str], list[Reading]] = {}
    for number in range(num_rounds):
        for data, folder in folders.items():
            for name, tool in all_tools.items():
                prefix = f"{number}/{data}/{name.replace(' ', '-')}"
                reading = run(tool(folder, prefix), env)
                readings.setdefault((data, name), []).append(reading)
                if name != OURS:  # which has proved it
                    check_copy(server, folder, prefix)
                remove(server, prefix)
    return [
        {
            "data": data,
            "tool": name,
            "median_seconds": statistics.median(one.seconds for one in all_rounds),
            "median_peak_mib": statistics.median(one.peak_mib for one in all_rounds),
            "rounds": [asdict(one) for one in all_rounds],
        }
        for (data, name), all_rounds in readings.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large-mib", type=int, default=512)
    parser.add_argument("--num-small", type=int, default=2_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        large = make_large(Path(name) / "large", arguments.large_mib)
        small = make_small(Path(name) / "small", arguments.num_small)
        server = s3_servers.start_seaweedfs(Path(name) / "server")
        try:
            server.client().create_bucket(Bucket=BUCKET)
            rows = measure(server, {"large": large, "small": small}, arguments.rounds)
            server_mib = server.group.peak_mib()
        finally:
            server.stop()
    num_mib = {"large": arguments.large_mib, "small": arguments.num_small * SMALL_BYTES / MIB}
    for row in rows:
        seconds, peak = row["median_seconds"], row["median_peak_mib"]
        rate = num_mib[str(row["data"])] / float(str(seconds))
        print(
            f"{row['data']:6} {row['tool']:20} {seconds:6.2f} s {rate:6.1f} MiB/s {peak:5.0f} MiB"
        )
    print(f"SeaweedFS: {server.start_seconds:.1f} s until it stored, {server_mib:.0f} MiB at most")
    print(json.dumps({"num_mib": num_mib, "rows": rows}))


if __name__ == "__main__":
    main()
