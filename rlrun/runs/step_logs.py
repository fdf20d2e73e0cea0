"""The logs that have one record a step: cut behind a step, and what the steps behind it took."""

from pathlib import Path

from rlrun.runs import files, jsonl
from rlrun.runs.layout import RunDir


def cut(run: RunDir, folder: Path, step: int) -> None:
    """Make the logs end at `step`; their tails are kept in `folder` first."""
    for path in (run.train_log, run.ratios):
        _cut_after(path, folder, step)


def _cut_after(path: Path, folder: Path, step: int) -> None:
    """Cut a log behind the last record up to `step`; the tail is durable before that."""
    if not path.exists():
        return
    keep = end_of(path, step)
    size = path.stat().st_size
    if keep == size:
        return
    files.ensure_dir(folder)
    with path.open("rb") as file:
        file.seek(keep)
        files.replace(folder / path.name, file.read())
    files.truncate(path, keep)


def end_of(path: Path, step: int) -> int:
    """Return where the records up to `step` end, in bytes; what follows need not be whole."""
    end = 0
    for line in jsonl.read_lines(path, checked=False) if step else ():
        if line.record["step"] > step:
            break
        end = line.end
        if line.record["step"] == step:
            break
    return end


def seconds_between(run: RunDir, step: int, frontier: int) -> float:
    """Return what the steps after `step`, up to `frontier`, took, as far as the log tells."""
    path = run.train_log
    if frontier <= step or not path.exists():
        return 0.0
    with path.open("rb") as file:
        file.seek(end_of(path, step))
        records = [jsonl.decode(line) for line in file]
    return sum(float(record["clock"]["seconds"]) for record in records if record is not None)
