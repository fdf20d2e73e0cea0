"""What OpenStack Swift needs on disk to run with one replica: rings, and a file for each server."""

import errno
import getpass
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

KEYS = ("test:tester", "testing")
SERVERS = ("account", "container", "object")
PIPELINE = (
    "catch_errors proxy-logging listing_formats bulk s3api tempauth slo versioned_writes symlink "
    "copy proxy-server"
)

_RINGS = """\
import sys
from swift.common.ring import RingBuilder

folder, *names_and_ports = sys.argv[1:]
for name, port in zip(names_and_ports[::2], names_and_ports[1::2]):
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1",
                     "port": int(port), "device": "d1", "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{name}.ring.gz")
"""

_COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
log_address = {folder}/no-syslog
log_level = WARNING
log_statsd_host =
"""

_STORAGE = """\
[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}
replication_server = false
"""

_PROXY = """\
[pipeline:main]
pipeline = {pipeline}

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true

[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
allow_multipart_uploads = true
min_segment_size = 5242880
check_bucket_owner = false

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
"""

_PLAIN_FILTERS = {
    "catch_errors": "catch_errors",
    "proxy-logging": "proxy_logging",
    "listing_formats": "listing_formats",
    "bulk": "bulk",
    "slo": "slo",
    "versioned_writes": "versioned_writes",
    "symlink": "symlink",
    "copy": "copy",
}


def prepare(folder: Path, ports: Sequence[int], tools: Path) -> list[list[str]]:
    """Write everything, and return the commands of the four servers; the first port is the proxy's.

    Raises OSError where the folder takes no user attributes: Swift keeps its metadata in them.
    """
    device = folder / "devices" / "d1"
    device.mkdir(parents=True, exist_ok=True)
    _check_attributes(device)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = rlrun\nswift_hash_path_suffix = tests\n"
        "\n[storage-policy:0]\nname = only\ndefault = yes\n"
    )
    named = dict(zip(SERVERS, ports[1:], strict=True))
    arguments = [part for name, port in named.items() for part in (name, str(port))]
    subprocess.run([tools / "python", "-c", _RINGS, folder, *arguments], check=True)
    common = {"folder": folder, "user": getpass.getuser()}
    for name, port in named.items():
        text = _COMMON.format(port=port, **common) + _STORAGE.format(name=name)
        _config(folder, name).write_text(text)
    filters = "".join(
        f"\n[filter:{name}]\nuse = egg:swift#{entry}\n" for name, entry in _PLAIN_FILTERS.items()
    )
    text = _COMMON.format(port=ports[0], **common) + _PROXY.format(pipeline=PIPELINE) + filters
    _config(folder, "proxy").write_text(text)
    return [
        [str(tools / f"swift-{name}-server"), str(_config(folder, name)), "-v"]
        for name in ("proxy", *SERVERS)
    ]


def _config(folder: Path, name: str) -> Path:
    return folder / f"{name}-server.conf"


def _check_attributes(folder: Path) -> None:
    try:
        os.setxattr(folder, "user.rlrun", b"1")
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        raise OSError(f"{folder} takes no user attributes; set TMPDIR to a folder on ext4, xfs or "
                      "btrfs") from error  # fmt: skip
