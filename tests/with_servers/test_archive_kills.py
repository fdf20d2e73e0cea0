"""SIGKILL in front of every request, behind every answer and in front of every file operation."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from support import archive_forks
from support.archive_forks import Job, When
from support.archiving import COMMANDS, Access, Models, destination_of
from support.s3_servers import Server

KILLED = -9


CASES = [
    (name, when)
    for name in COMMANDS
    for when in get_args(When)
    if when != "file operation"
    or name in ("push", "push of a large file", "cleanup")  # of the others: tests/archive
]


@pytest.mark.parametrize(("name", "when"), CASES)
def test_killed_at_any_call_nothing_is_lost_and_the_same_command_goes_on(
    name: str, when: When, seaweedfs: Server, memory: Path, counted: Callable[[str, int], None]
) -> None:
    command = COMMANDS[name](Models(memory / "models", COMMANDS[name]), seaweedfs, memory)
    access = Access.to(seaweedfs)
    learn(command, access)
    num_calls = count_calls(command, access, when, memory / "counts")
    assert num_calls > 3
    for number in range(num_calls):
        root, place = command.world(number)
        code = archive_forks.run(Job(name, root, destination_of(place), access, when, number))
        assert code == KILLED, number
        command.judge(root, place)
        command.act(root, access.storage(destination_of(place), root))
        command.judge_end(root, place)
        shutil.rmtree(root)
    command.close()
    counted("kills of archive commands", num_calls)


def learn(command: Any, access: Access) -> None:
    """Find out once what the store can do."""
    root = command.folder / "learning"
    access.storage(destination_of(command.full_place), root).has_checksums()
    shutil.copytree(root / "archive" / "stores", command.folder / "stores")


def count_calls(command: Any, access: Access, when: When, counts: Path) -> int:
    root, place = command.world(10**6)
    job = Job(command.name, root, destination_of(place), access, counts=counts)
    assert archive_forks.run(job) == 0
    command.judge_end(root, place)
    return counts.read_text().splitlines().count(when)
