import json
from dataclasses import replace
from typing import Any

import pytest

from rlrun.archive import blobs, manifests
from rlrun.archive.manifests import Archived, Entry
from rlrun.errors import DamagedError
from rlrun.runs import canonical

SEAL = blobs.of_bytes(b"12345").seal
HASH = "0123456789ab" + "0" * 52
STEP = Archived("sums", "id", (Entry("model/w", "step_5-0123456789ab/model/w", SEAL),), 5, HASH, 2)
RECORDS = Archived("sums", "id", (Entry("run/run.json", f"shared/{SEAL.sha256}/run.json", SEAL),))


def test_a_checkpoints_manifest_reads_back() -> None:
    assert manifests.parse(STEP.to_bytes(), STEP.step_key(), where="there") == STEP


def test_a_manifest_of_records_reads_back() -> None:
    key = RECORDS.records_key(3)
    assert manifests.parse(RECORDS.to_bytes(), key, where="there") == RECORDS


def test_equal_contents_give_equal_bytes_and_names() -> None:
    again = replace(STEP, entries=(*STEP.entries,))
    assert again.to_bytes() == STEP.to_bytes()
    assert again.step_key() == STEP.step_key()


def test_every_flipped_bit_is_noticed() -> None:
    data = STEP.to_bytes()
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(DamagedError):
                manifests.parse(bytes(changed), STEP.step_key(), where="there")


def test_every_prefix_is_noticed() -> None:
    data = STEP.to_bytes()
    for size in range(len(data)):
        with pytest.raises(DamagedError):
            manifests.parse(data[:size], STEP.step_key(), where="there")


def test_a_manifest_under_the_name_of_another_is_refused() -> None:
    other = replace(STEP, step=6)
    with pytest.raises(DamagedError, match="not what its name says"):
        manifests.parse(STEP.to_bytes(), other.step_key(), where="there")
    with pytest.raises(DamagedError, match="not what its name says"):
        manifests.parse(STEP.to_bytes(), RECORDS.records_key(1), where="there")


def forged(**changes: Any) -> bytes:
    """Return a manifest that somebody wrote who knows how to seal one."""
    body = json.loads(STEP.to_bytes())
    del body["archive_hash"]
    body |= changes
    return canonical.pretty({**body, "archive_hash": canonical.sha256_of(body)}).encode()


def entry(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "key": "step_5-0123456789ab/model/w",
        "size": 5,
        "sha256": SEAL.sha256,
        "part_sha256s": [SEAL.sha256],
    }
    return plain | changes


@pytest.mark.parametrize(
    "files",
    [
        {"../../.bashrc": entry()},
        {"/etc/cron.d/x": entry()},
        {"model/w": entry(key="../other/manifests/x")},
        {"model/w": entry(key="manifests/records_1.json")},
        {"model/w": entry(size=-1)},
        {"model/w": entry(size="5")},
        {"model/w": entry(sha256="../..")},
        {"model/w": entry(part_sha256s=[])},
        {"model/w": {}},
        {"model/w": 7},
        [],
    ],
)
def test_a_forged_manifest_is_refused(files: object) -> None:
    with pytest.raises(DamagedError):
        manifests.parse(forged(files=files), STEP.step_key(), where="there")


def test_a_later_format_says_to_update() -> None:
    with pytest.raises(DamagedError, match="update rlrun"):
        manifests.parse(forged(format_version=2), STEP.step_key(), where="there")


def test_some_of_the_files_can_be_taken() -> None:
    assert STEP.only("model/").entries == STEP.entries
    assert STEP.only("optimizer").entries == ()


def test_damage_of_records_does_not_send_to_another_step_which_needs_them_too() -> None:
    key = RECORDS.records_key(1)
    with pytest.raises(DamagedError, match=r"--repair' .*, or restore a model alone") as caught:
        manifests.parse(b"{}", key, where=f"there/sums/{key.manifest}")
    assert "another step" not in str(caught.value)
    with pytest.raises(DamagedError, match=r"--repair' .*, or restore another step"):
        manifests.parse(b"{}", STEP.step_key(), where=f"there/sums/{STEP.step_key().manifest}")
    assert "another step" not in manifests.way_out(RECORDS.entries[0].key)
    assert "another step" in manifests.way_out(STEP.entries[0].key)
