"""Mistakes that somebody might make in rlrun, each a small edit of its source, in memory only.

`run_test` makes one of them in a fork of the server and runs a test there, whose sessions are forks
of that fork and have the mistake too, so that the test tells whether it would notice.
"""

import inspect
import os
import sys
import textwrap
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from pathlib import Path
from types import FunctionType

from support import jobs

_edited: dict[str, str] = {}  # sources of functions that were edited before, by where they are


@dataclass(frozen=True)
class Edit:
    """A piece of a function's source, and what stands in its place."""

    where: str  # module:function or module:Class.function
    old: str
    new: str

    def __call__(self) -> None:
        module, _, names = self.where.partition(":")
        function = reduce(getattr, names.split("."), import_module(module))
        assert isinstance(function, FunctionType)
        source = _edited.get(self.where) or textwrap.dedent(inspect.getsource(function))
        assert source.count(self.old) == 1, f"{self.where} has changed; so must this mistake"
        _edited[self.where] = source.replace(self.old, self.new)
        namespace = dict(function.__globals__)
        exec(compile(_edited[self.where], self.where, "exec"), namespace)
        function.__code__ = namespace[function.__name__].__code__


NO_PROOF = Edit(
    "rlrun.trainer.checkpoint:_prove",
    "if manifest.describe_bytes(written[name]) == entries[name]:",
    "if True:",
)
LOAD = "rlrun.trainer.checkpoint:load"
MISTAKES: dict[str, tuple[Edit, ...]] = {
    "a file is not synced": (
        Edit(
            "rlrun.runs.files:_write_synced",
            '_call("fsync", path, lambda: os.fsync(descriptor))',
            "pass",
        ),
    ),
    "a folder is not synced": (
        Edit(
            "rlrun.runs.files:sync_dir",
            '_call("fsync", path, lambda: os.fsync(descriptor))',
            "pass",
        ),
    ),
    "a step gets its name before its manifest is written": (
        Edit(
            "rlrun.runs.checkpoints:publish",
            "files.write_new(unfinished / manifest.FILE_NAME, canonical.pretty(body).encode())",
            "",
        ),
        Edit(
            "rlrun.runs.checkpoints:publish",
            "files.sync_dir(run.training_state)",
            "files.write_new(run.step(step) / manifest.FILE_NAME, canonical.pretty(body).encode())"
            "; files.sync_dir(run.training_state)",
        ),
    ),
    "the link is trusted": (
        Edit(
            "rlrun.runs.checkpoints:newest_valid",
            "reversed(list_steps(run))",
            "filter(None, [linked_step(run)])",
        ),
    ),
    "hashes are not compared": (
        Edit(
            "rlrun.runs.checkpoints:inspect",
            "check_files(path, found, with_hashes=with_hashes)",
            "check_files(path, found, with_hashes=False)",
        ),
    ),
    "a moment is rounded when it is loaded": (
        NO_PROOF,
        Edit(
            LOAD,
            "    target.load_state_dict(state)\n",
            "    for entry in state.get('state', {}).values():\n"
            "            entry['exp_avg'] = entry['exp_avg'].bfloat16().float()\n"
            "        target.load_state_dict(state)\n",
        ),
    ),
    "a moment is rounded when it is loaded, and that is proved": (
        Edit(
            LOAD,
            "    target.load_state_dict(state)\n",
            "    for entry in state.get('state', {}).values():\n"
            "            entry['exp_avg'] = entry['exp_avg'].bfloat16().float()\n"
            "        target.load_state_dict(state)\n",
        ),
    ),
    "the optimizer is not loaded": (
        NO_PROOF,
        Edit(LOAD, "(OPTIMIZER_FILE, learner.optimizer), ", ""),
    ),
    "the schedule begins anew in each session": (
        NO_PROOF,
        Edit(LOAD, ", (SCHEDULER_FILE, learner.scheduler)):", ",):"),
    ),
    "dropout is drawn from the global generator": (
        Edit(
            "rlrun.trainer.step:take_step",
            'torch.manual_seed(derive_seed(config.seed, "dropout", step, index))',
            "pass",
        ),
    ),
    "the order of the data is drawn from the global generator": (
        Edit(
            "rlrun.trainer.workbench:Workbench.prompts_at",
            'permutation(self.config.seed, "data", epoch, size=size)',
            "torch.randperm(size).tolist()",
        ),
    ),
    "a batch is journaled behind its first update": (
        Edit(
            "rlrun.trainer.batches:BatchSource.generate", "self._journal.append_batch(record)", ""
        ),
        Edit(
            "rlrun.trainer.session:Session.update",
            "    self._count(batch, step)\n",
            "    if not batch.is_replayed and step == batch.record.first_step:\n"
            "        self._journal.append_batch(batch.record)\n"
            "    self._count(batch, step)\n",
        ),
    ),
    "a group is not synced": (
        Edit(
            "rlrun.runs.rollout_journal:RolloutJournal._append",
            "sync=True",
            'sync=record["kind"] == "batch"',
        ),
    ),
    "a segment is sealed with groups beyond the step": (
        Edit("rlrun.runs.rollout_journal:RolloutJournal.seal", " or self._last_step > step", ""),
    ),
    "the logs are not cut": (
        Edit("rlrun.runs.step_logs:_cut_one", "files.truncate(path, len(whole))", "pass"),
    ),
    "a batch is replayed with the configuration of today": (
        Edit(
            "rlrun.trainer.batches:BatchSource._assemble",
            "_config_of(record)",
            "self._bench.config",
        ),
    ),
    "the log-probabilities of a window are computed again in a replay": (
        Edit(
            "rlrun.trainer.batches:BatchSource.journaled",
            "self._fitting(batch, groups), groups",
            "_with_window(batch, self._assemble(batch, groups, is_replayed=True), "
            "self._bench.learner.policy) if batch.window_logprobs else batch, groups",
        ),
    ),
    "the lock is not asked for": (
        Edit(
            "rlrun.runs.lock:Lock._acquire",
            "is_ours = _can_lock(self._run, descriptor)",
            "is_ours = True",
        ),
    ),
    "a session that was taken over is not told": (
        Edit("rlrun.runs.lock:Lock.require", "if owner != self.owner:", "if False:"),
    ),
    "a torn line is not cut": (
        Edit(
            "rlrun.runs.rollout_journal:RolloutJournal.__post_init__",
            "if whole < path.stat().st_size:",
            "if False:",
        ),
    ),
    "a window's batch is not missed": (
        Edit(
            "rlrun.runs.rollout_journal:lost_window",
            'if window["last_step"] > step and',
            "if 0 and",
        ),
    ),
    "the file beside the state is taken for what made it": (
        Edit(
            "rlrun.trainer.orders:take_orders",
            "made_with = _made_with(start)",
            "made_with = None",
        ),
    ),
    "a run without a checkpoint that verifies is begun anew": (
        Edit(
            "rlrun.trainer.recovery:_refuse_to_begin_anew",
            "if found.problem is None and journaled >= last:",
            "if found.problem is None:",
        ),
    ),
    "a checkpoint goes here without proof of its copy": (
        Edit(
            "rlrun.archive.cleanup:Cleaner._problem_of",
            "problem = proof.doubt(self.storage, key, entry.seal, note=self.progress.heed)",
            "problem = None",
        ),
    ),
    "a checkpoint goes here without a fresh listing": (
        Edit(
            "rlrun.archive.cleanup:Cleaner._proved",
            " or self._unlisted_now(here)",
            "",
        ),
    ),
    "a checkpoint goes here that was changed since it was read": (
        Edit("rlrun.archive.cleanup:Cleaner._remove", ", guard=guard", ""),
    ),
    "a manifest is sent before what it lists": (
        Edit(
            "rlrun.archive.push:Pusher._push_step",
            "self._out.send(found",
            "self._out.put_manifest(found, found.step_key()); self._out.send(found",
        ),
    ),
    "records that would hide newer ones are archived": (
        Edit("rlrun.archive.push:Pusher._sent_records", "self.refuse_stale(", "(lambda *_: 0)("),
    ),
    "records come behind the checkpoints that they cover": (
        Edit(
            "rlrun.archive.push:Pusher.push",
            "if plan.new_steps or not found.newest_records:",
            "if not found.newest_records:",
        ),
    ),
    "records that come while ours are sent are not looked at": (
        Edit(
            "rlrun.archive.push:Pusher._push_records",
            "if now.newest_records == found.newest_records:",
            "if True:",
        ),
    ),
    "what a store echoes counts as proof": (
        Edit(
            "rlrun.archive.probe:_Trial.refuses_wrong_object",
            "return self",
            "return True or self",
        ),
    ),
    "an upload whose end is unclear is begun again, blindly": (
        Edit("rlrun.archive.multipart:Sender.put", "if self._holds(key, blob):", "if False:"),
    ),
    "what was sent counts as proved everywhere": (
        Edit(
            "rlrun.archive.proof:send_proved",
            "if storage.has_checksums():",
            "if True:",
        ),
    ),
    "what was fetched is not compared": (
        Edit(
            "rlrun.archive.fetching:Fetcher._complete",
            "return size == entry.seal.size and digest.hexdigest() == entry.seal.sha256",
            "return True",
        ),
    ),
    "a prune does not look whether a push came meanwhile": (
        Edit(
            "rlrun.archive.remote_prune:RemotePruner._check_still",
            "if catalog.read(self.storage, self.run_name).manifests != names:",
            "if False:",
        ),
    ),
    "a path of a manifest may leave its folder": (
        Edit("rlrun.archive.keys:check_path", "or not is_safe_path(text)", ""),
    ),
}


def make(name: str) -> None:
    """Make a mistake in this process."""
    for edit in MISTAKES[name]:
        edit()


def run_test(node: str, mistake: str | None, folder: Path) -> None:
    """Run a test in this process with a mistake in it, if any; end with pytest's exit code."""
    import pytest

    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if mistake is not None:
        make(mistake)
    jobs.fork_from_here()
    plugins = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:logging")
    # no:logging, -s: what forks log and print goes to the descriptors, not to pytest
    words = ("-q", "-x", "-s", "--assert=plain", "--tb=line", f"--basetemp={folder / 'tmp'}", node)
    code = pytest.main([*plugins, *words])
    sys.stdout.flush()
    os._exit(code)
