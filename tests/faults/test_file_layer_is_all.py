"""Nothing reaches a run directory but through the file layer: strace sees what the layer says.

`worker.log` is the process's own output and the one exception.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.runs import make_run

from rlrun.runs.layout import RunDir

CALLS = {
    "write": "write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice",
    "fsync": "fsync,fdatasync",
    "rename": "rename,renameat,renameat2",
    "unlink": "unlink,unlinkat,rmdir",
    "mkdir": "mkdir,mkdirat",
    "symlink": "symlink,symlinkat,link,linkat",
    "truncate": "truncate,ftruncate,fallocate",
}
KIND = {name: kind for kind, names in CALLS.items() for name in names.split(",")}
LINE = re.compile(r"(?:\[pid +)?(?:\d+\]? +)?(\w+)\((.*)\) += (-?\d+)")

SCRIPT = """
import sys
from pathlib import Path
from support.jobs import Job, work
work(Job(Path(sys.argv[1]), trace=Path(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed: the file layer is not cross-checked here")
    return found


def traced_calls(log: Path, run: RunDir) -> Counter[tuple[str, str]]:
    """Return (kind, file name) of each system call that changed something under the run."""
    calls: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        match = LINE.search(line)
        if match is None or match[1] not in KIND or int(match[3]) < 0:
            continue
        paths = [Path(path) for path in re.findall(rf"{re.escape(str(run.path))}[^>\"]*", match[2])]
        if paths:
            kind = KIND[match[1]]
            calls[kind, paths[-1].name] += 1
    return calls


def test_strace_sees_no_write_that_the_file_layer_did_not_make(
    strace: str, tmp_path: Path, micro_model: Path
) -> None:
    run = make_run(tmp_path, "run", micro_model, ["saving.every_steps=2", "train.max_steps=4"])
    log, trace = tmp_path / "strace.log", tmp_path / "trace"
    watched = ",".join(CALLS.values())
    command = [strace, "-f", "-y", "-qq", "-s", "0", "-e", f"trace={watched}", "-o", str(log)]
    result = subprocess.run(
        [*command, sys.executable, "-c", SCRIPT, str(run.path), str(trace)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    layer = Counter(
        (operation.replace("rmdir", "unlink"), name)
        for operation, name in (line.split(" ", 1) for line in trace.read_text().splitlines())
        if operation in {*CALLS, "rmdir"}
    )
    assert traced_calls(log, run) == layer
    assert sum(layer.values()) > 60
