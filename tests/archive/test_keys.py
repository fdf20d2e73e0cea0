import pytest

from rlrun.archive import keys
from rlrun.archive.keys import RecordsKey, StepKey
from rlrun.errors import DamagedError

STEP = StepKey(50, "0123456789ab", 3, 1048576)
RECORDS = RecordsKey(2, "ba9876543210", 77)


@pytest.mark.parametrize("key", [STEP, RECORDS, StepKey(0, "0" * 12, 0, 0)])
def test_the_name_of_a_manifest_tells_what_it_was_made_of(key: StepKey | RecordsKey) -> None:
    folder, _, name = key.manifest.partition("/")
    assert folder == keys.MANIFESTS
    assert keys.parse_manifest(name) == key


@pytest.mark.parametrize(
    "name",
    [
        "step_50-0123456789ab.json",
        "step_050-0123456789ab.session_3.1.json",
        "step_50-0123456789AB.session_3.1.json",
        "step_50-0123456789ab.session_03.1.json",
        "step_50-0123456789ab.session_3.01.json",
        "step_50-0123456789ab.session_3.1.json.tmp",
        "records_0-0123456789ab.1.json",
        "readme.txt",
    ],
)
def test_another_name_is_no_manifest(name: str) -> None:
    assert keys.parse_manifest(name) is None


def test_the_mark_of_a_prune_is_none_either() -> None:
    mark = keys.prune_mark("sums", "0" * 8, 4121, "0" * 32).removeprefix(keys.manifests("sums"))
    assert keys.parse_prune_mark(mark) == ("0" * 8, 4121)
    assert keys.parse_manifest(mark) is None


def test_only_what_a_push_makes_is_ours() -> None:
    assert keys.is_ours("shared/" + "0" * 64 + "/config.yaml")
    assert keys.is_ours("step_50-0123456789ab/model/adapter_model.safetensors")
    for other in ("notes.txt", "shared/notes.txt", "step_50/model/x", "manifests/x.json"):
        assert not keys.is_ours(other)


@pytest.mark.parametrize("path", ["a", "model/x", "run/logs/rollouts/step_1-2.jsonl", "ä/b c"])
def test_a_path_inside_is_let_through(path: str) -> None:
    assert keys.check_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/.", "a\\..\\b", "a\0b", "a\nb", 7],
)  # fmt: skip
def test_a_path_that_leaves_its_folder_is_refused(path: object) -> None:
    with pytest.raises(DamagedError, match="leaves its folder"):
        keys.check_path(path)


def test_what_is_of_the_records_is_told_from_what_is_of_a_checkpoint() -> None:
    of_records = [RECORDS.manifest, keys.shared("0" * 64, "run/config.yaml")]
    assert all(map(keys.is_of_records, of_records))
    of_a_step = [STEP.manifest, f"{STEP.folder}/model/weights", "manifests/notes.txt"]
    assert not any(map(keys.is_of_records, of_a_step))
