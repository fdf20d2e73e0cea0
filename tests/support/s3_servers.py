"""Real S3 servers on loopback, each started from an environment of its own (make test-s3)."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from support import swift_files
from support.server_processes import LOOPBACK, Group, free_ports

TOOLS_VARIABLE = "RLRUN_S3_TOOLS"
REGION = "us-east-1"
START_SECONDS = 90  # on a machine with nothing else to do it takes a tenth
_PROBE_BUCKET = "start-probe"


class ServerFailedError(Exception):
    """A server that was to be tested against does not answer; said with its name and last words."""


@dataclass(frozen=True)
class Server:
    """A running server, and what a client needs to talk to it."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    folder: Path
    group: Group
    start_seconds: float

    def client(self, *, endpoint: str | None = None, secret_key: str | None = None,
               **settings: Any) -> Any:  # fmt: skip
        """Return a boto3 client that asks once; at another endpoint, say a proxy's, if wanted."""
        return raw_client(
            endpoint or self.endpoint, self.access_key, secret_key or self.secret_key, **settings
        )

    @property
    def environment(self) -> dict[str, str]:
        """What boto3, s5cmd and rclone (env_auth) read their credentials from."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def stop(self) -> None:
        """Kill the server's processes; what it stored stays in its folder."""
        self.group.stop()


def raw_client(endpoint: str, access_key: str, secret_key: str, **settings: Any) -> Any:
    """Return a boto3 client for assertions, which asks once unless it is told otherwise."""
    defaults: dict[str, Any] = {
        "connect_timeout": 5,
        "read_timeout": 60,
        "retries": {"total_max_attempts": 1},
        "s3": {"addressing_style": "path"},
    }
    with _making_clients:
        return _session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(**{**defaults, **settings}),
        )


_making_clients = Lock()  # clients are safe to share among threads, sessions are not


@cache
def _session() -> boto3.session.Session:
    """Return the session of all clients: it reads the description of S3 once."""
    return boto3.session.Session()


def tools_folder() -> Path:
    """Return the folder with weed, swift, moto_server, s5cmd and rclone."""
    named = os.environ.get(TOOLS_VARIABLE)
    if not named:
        raise ServerFailedError(f"no S3 servers: run make test-s3, or name their environment's "
                                f"bin folder with {TOOLS_VARIABLE}")  # fmt: skip
    return Path(named)


def start_seaweedfs(folder: Path) -> Server:
    """Start SeaweedFS: all its roles in one process, one identity; with what the folder holds."""
    keys = ("seaweed-access", "seaweed-secret")
    identity = {
        "name": "tester",
        "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    data, config = folder / "data", folder / "s3.json"
    data.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps({"identities": [identity]}))
    roles = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(roles) + 2)
    s3_port = ports[2 * roles.index("s3")]
    command = [
        str(tools_folder() / "weed"),
        "server",
        f"-dir={data}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-filer",
        "-s3",
        f"-s3.config={config}",
        f"-s3.port.iceberg={ports[-1]}",
        f"-s3.port.lance={ports[-2]}",
        "-s3.iam=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=200",
        "-volume.minFreeSpace=1",
        *(f"-{role}.port={ports[2 * n]}" for n, role in enumerate(roles)),
        *(f"-{role}.port.grpc={ports[2 * n + 1]}" for n, role in enumerate(roles)),
    ]

    def start(group: Group) -> None:
        group.start(command)

    return _started("SeaweedFS", folder, s3_port, keys, start)


def start_swift(folder: Path) -> Server:
    """Start OpenStack Swift, four servers, one replica; with what the folder holds."""
    ports = free_ports(4)
    folder.mkdir(parents=True, exist_ok=True)
    tools = tools_folder()

    def start(group: Group) -> None:
        for command in swift_files.prepare(folder, ports, tools):
            group.start(command)

    return _started("Swift", folder, ports[0], swift_files.KEYS, start)


def start_moto(folder: Path) -> Server:
    """Start moto: everything in memory, and it believes any signature and checksum."""
    folder.mkdir(parents=True, exist_ok=True)
    [port] = free_ports(1)
    command = [str(tools_folder() / "moto_server"), "-H", LOOPBACK, "-p", str(port)]

    def start(group: Group) -> None:
        group.start(command)

    return _started("moto", folder, port, ("moto-access", "moto-secret"), start)


STARTS: dict[str, Callable[[Path], Server]] = {
    "seaweedfs": start_seaweedfs,
    "swift": start_swift,
    "moto": start_moto,
}


def _started(name: str, folder: Path, port: int, keys: tuple[str, str],
             start: Callable[[Group], None]) -> Server:  # fmt: skip
    """Return a server that has stored, listed and removed an object."""
    group = Group(folder / "output.log")
    endpoint = f"http://{LOOPBACK}:{port}"
    client = raw_client(endpoint, *keys, read_timeout=10)
    began = time.monotonic()
    try:
        start(group)
        _wait_until_it_stores(client, group, name)
    except BaseException as error:
        group.stop()
        if isinstance(error, OSError | subprocess.SubprocessError):
            raise ServerFailedError(f"{name} cannot be started: {error}") from error
        raise
    return Server(name, endpoint, *keys, folder, group, time.monotonic() - began)


def _wait_until_it_stores(client: Any, group: Group, name: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            _store_one(client)
        except (BotoCoreError, ClientError) as error:
            said = f"{name} does not answer: {error}; its output ends in\n{group.tail()}"
            if codes := group.ended():
                raise ServerFailedError(f"{name} ended with {codes}; {said}") from error
            if time.monotonic() > give_up:
                raise ServerFailedError(said) from error
            time.sleep(0.1)
        else:
            return


def _store_one(client: Any) -> None:
    have = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    if _PROBE_BUCKET not in have:
        client.create_bucket(Bucket=_PROBE_BUCKET)
    client.put_object(Bucket=_PROBE_BUCKET, Key="probe", Body=b"probe")
    client.delete_object(Bucket=_PROBE_BUCKET, Key="probe")
    client.delete_bucket(Bucket=_PROBE_BUCKET)
