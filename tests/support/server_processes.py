"""The processes of a server under test: on free loopback ports, in groups that are killed whole."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

TIED = Path(__file__).with_name("tied.py")
LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)  # below those that the kernel gives to clients
_TRIES = 200
_STOP_SECONDS = 20
_TAIL_BYTES = 2_000

_draw = random.Random(os.getpid() ^ 0x5EED)  # two test processes must not draw the same


def free_ports(number: int) -> list[int]:
    """Return different ports on which nothing listens."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in _draw.sample(PORTS, _TRIES):
            candidate = held.enter_context(socket.socket())
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((LOOPBACK, port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == number:
                return ports
    raise RuntimeError(f"no {number} free ports among {_TRIES} on {LOOPBACK}")


class Group:
    """Processes that print to one file; each leads a group of its own and dies with this one."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        """Start one more.  Called from the main thread: the kernel ties it to the thread."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-S", "-E", str(TIED), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.log.parent,
                env=None if env is None else dict(env),
                process_group=0,
            )
        self._processes.append(process)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def ended(self) -> list[int]:
        """Return the exit codes of those that are not running any more."""
        return [p.returncode for p in self._processes if p.poll() is not None]

    def peak_mib(self) -> float:
        """Return the memory that they had at most, the sum over all."""
        return sum(_peak_mib(process.pid) for process in self._processes)

    def stop(self) -> None:
        """Kill all of them with whatever they started, and wait until they are gone."""
        for process in self._processes:
            _kill_group(process.pid)
        for process in self._processes:
            process.wait(_STOP_SECONDS)

    def tail(self) -> str:
        """Return the end of what they printed."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended, and nothing is left of its group


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) / 1024 if peaks else 0.0
