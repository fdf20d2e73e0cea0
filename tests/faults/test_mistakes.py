"""The tests of the tests: each mistake in rlrun must be noticed by the test that is named for it.

A mistake is a small edit of the source, made in memory (`support.mistakes`); the test is run by a
pytest in a process of its own and must fail.  Where a mistake is caught nowhere, a test is missing.
"""

from pathlib import Path
from typing import Any

import pytest
from support import jobs
from support.mistakes import MISTAKES, run_test

TESTS = Path(__file__).parents[1]
PASSED, FAILED = 0, 1  # pytest's exit codes


CRASH = (
    "faults/test_crash_states.py::test_no_crash_takes_what_was_promised_and_some_states_are_"
    "trained_to_the_same_end"
)
EXACT = "e2e/test_exact_resume.py::test_an_interrupted_run_ends_in_the_same_bytes"
RACE = "faults/test_races.py::test"
CLEANUP = "archive/test_cleanup.py::test"
CAUGHT_BY = {
    "a file is not synced": f"{CRASH}[plain-None]",
    "a folder is not synced": f"{CRASH}[plain-None]",
    "a step gets its name before its manifest is written": f"{CRASH}[plain-None]",
    "the link is trusted": f"{CRASH}[plain-None]",
    "hashes are not compared": (
        "faults/test_damage.py::test_damage_is_seen_and_said_in_a_line_and_nothing_outside_is_read"
        "[flip_a_bit]"
    ),
    "a moment is rounded when it is loaded": f"{EXACT}[config0-stop after 1]",
    "a moment is rounded when it is loaded, and that is proved": f"{EXACT}[config0-stop after 1]",
    "the optimizer is not loaded": f"{EXACT}[config0-stop after 1]",
    "the schedule begins anew in each session": f"{EXACT}[config2-stop after 1]",
    "dropout is drawn from the global generator": f"{EXACT}[config0-stop after 1]",
    "the order of the data is drawn from the global generator": (
        f"{EXACT}[config0-stop after each step]"
    ),
    "a batch is journaled behind its first update": (
        "trainer/test_batches.py::test_groups_are_journaled_one_by_one_and_the_batch_behind_them"
    ),
    "a group is not synced": (
        "runs/test_rollout_journal.py::test_a_record_is_durable_when_its_append_returns"
    ),
    "a segment is sealed with groups beyond the step": (
        "runs/test_rollout_journal.py::"
        "test_a_finished_group_of_the_next_batch_keeps_the_segment_open"
    ),
    "the logs are not cut": f"{EXACT}[config0-killed after 2, never saved]",
    "a batch is replayed with the configuration of today": (
        "trainer/test_batches.py::test_a_replayed_batch_keeps_its_configuration_and_its_runs_end"
    ),
    "the log-probabilities of a window are computed again in a replay": (
        f"{EXACT}[config0-stop after 1]"
    ),
    "the lock is not asked for": (
        "runs/test_lock.py::test_another_process_is_refused_with_pid_host_and_session"
    ),
    "a session that was taken over is not told": (
        f"{RACE}_a_session_whose_run_was_taken_over_while_it_stood_still_writes_nothing_more[copy]"
    ),
    "a torn line is not cut": (
        "runs/test_rollout_journal.py::"
        "test_opening_cuts_a_torn_tail_so_that_the_next_record_is_whole"
    ),
    "a window's batch is not missed": (
        "trainer/test_recovery.py::"
        "test_a_checkpoint_inside_a_window_is_not_gone_on_from_without_the_windows_batch"
    ),
    "the file beside the state is taken for what made it": (
        "trainer/test_orders.py::test_a_file_that_was_edited_is_not_gone_on_with_silently"
    ),
    "a run without a checkpoint that verifies is begun anew": (
        "trainer/test_recovery.py::"
        "test_without_a_valid_checkpoint_a_journal_that_does_not_reach_it_is_not_begun_anew"
    ),
    "a checkpoint goes here without proof of its copy": (
        f"{CLEANUP}_a_step_whose_object_is_damaged_in_the_archive_stays[flipped]"
    ),
    "a checkpoint goes here without a fresh listing": (
        f"{CLEANUP}_a_listing_that_lacks_a_step_is_a_doubt"
    ),
    "a checkpoint goes here that was changed since it was read": (
        f"{CLEANUP}_what_another_program_does_to_a_step_while_its_copy_is_proved_keeps_it[put_in]"
    ),
    "a manifest is sent before what it lists": (
        "archive/test_push.py::test_what_is_listed_is_complete_whatever_ends_the_push"
    ),
    "records that would hide newer ones are archived": (
        "archive/test_push.py::test_a_copy_that_lacks_finished_groups_is_not_archived"
    ),
    "records come behind the checkpoints that they cover": (
        "archive/test_push.py::test_records_are_there_before_the_checkpoints_that_they_cover"
    ),
    "records that come while ours are sent are not looked at": (
        "archive/test_push.py::test_another_course_that_comes_while_ours_is_sent_is_not_hidden"
    ),
    "what a store echoes counts as proof": (
        "archive/test_probe.py::test_what_a_store_does_is_seen[fake1-found1-False-True]"
    ),
    "an upload whose end is unclear is begun again, blindly": (
        "archive/test_multipart.py::"
        "test_an_upload_that_is_refused_after_an_answer_was_lost_is_looked_for"
    ),
    "what was sent counts as proved everywhere": (
        "archive/test_push.py::test_what_arrives_with_other_bytes_is_sent_again"
    ),
    "what was fetched is not compared": (
        "archive/test_restore.py::"
        "test_an_object_that_is_damaged_in_the_archive_restores_nothing[all]"
    ),
    "a prune does not look whether a push came meanwhile": (
        "archive/test_remote_prune.py::test_a_push_that_ends_meanwhile_lets_nothing_go"
    ),
    "a path of a manifest may leave its folder": (
        "archive/test_restore.py::test_a_manifest_whose_paths_leave_the_run_restores_nothing"
    ),
}


def test_every_mistake_is_named_with_a_test() -> None:
    assert list(CAUGHT_BY) == list(MISTAKES)


@pytest.mark.parametrize("mistake", CAUGHT_BY)
def test_a_mistake_is_noticed(mistake: str, memory_folder: Path, counted: Any) -> None:
    code, said = run(CAUGHT_BY[mistake], mistake, memory_folder)
    assert code == FAILED, said
    summary = said.splitlines()[-1]
    assert summary.startswith("1 failed"), said  # it did not stumble over the edit
    counted("deliberate mistakes, each noticed by a test", 1)


@pytest.mark.parametrize("node", sorted(set(CAUGHT_BY.values())))
def test_without_a_mistake_nothing_is_noticed(node: str, memory_folder: Path) -> None:
    code, said = run(node, None, memory_folder)
    assert code == PASSED, said


def run(node: str, mistake: str | None, folder: Path) -> tuple[int, str]:
    """Return how a test's pytest ended, and what it printed."""
    place = str(TESTS / node)
    code = jobs.in_fork(run_test, place, mistake, folder, timeout_seconds=300)
    return code, (folder / "output").read_text()
