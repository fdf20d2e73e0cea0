"""What is said while an evaluation works: plan, engine, checkpoints, and how far it is."""

import time
from collections.abc import Mapping

from rlrun.cli import text
from rlrun.cli.show import Meter
from rlrun.engines.spec import EngineInfo
from rlrun.evaluation.records import Key, Record
from rlrun.evaluation.request import Prepared
from rlrun.evaluation.targets import Target

_LINE_SECONDS = 30.0  # between lines where there is no live display


class EvalView:
    """Tells a meter what the work tells it."""

    def __init__(self, meter: Meter, name: str) -> None:
        self._meter = meter
        self._name = name
        self._num_done = 0  # completions that were made, not those that the engine failed at
        self._num_wanted = 0
        self._num_tokens = 0
        self._seconds = 0.0  # of the engine's time
        self._said_at = time.monotonic()
        self._said_now = ""

    def say(self, line: str) -> None:
        """Say a line that stays."""
        self._meter.say(line)

    def plan(self, prepared: Prepared, lines: list[str]) -> None:
        """Say what will be asked, and what that can tell."""
        for line in lines:
            self._meter.say(line)
        for one in prepared.unusable:
            self.gives_up(one.label, one.reason)

    def waits(self) -> None:
        """Say that there is nothing to score until the run saves a checkpoint."""
        self._say_now(f"{self._name}: waiting for a checkpoint (Ctrl-C stops following)")

    def engine_starts(self) -> None:
        """Say that an engine is being started."""
        self._say_now(f"{self._name}: starting the engine, which may take minutes")

    def _say_now(self, line: str) -> None:
        """Say what is going on, where there is no live line only once."""
        self._meter.update(line, 0, 0, "")
        if not self._meter.is_live and line != self._said_now:
            self._meter.say(line)
        self._said_now = line

    def engine_ready(self, info: EngineInfo, seconds: float) -> None:
        """Say that it is up."""
        self._meter.say(
            f"engine: {info.engine} {info.version} on {info.device}, up in {text.duration(seconds)}"
        )

    def engine_failed(self, reason: str) -> None:
        """Say that it died, and that this is not the end."""
        self._meter.warn(f"{reason}; what it has completed is kept")
        self._said_now = ""

    def begins(self, target: Target, num_missing: int, num_kept: int) -> None:
        """Count what is to come."""
        self._num_wanted += num_missing
        if num_kept and num_missing:
            kept = text.count(num_kept, "completion")
            self._meter.say(f"{target.label}: {kept} there already, {num_missing:,} to come")

    def completed(self, target: Target, record: Record) -> None:
        """Move on by one."""
        self._num_done += record.text is not None
        self._num_tokens += record.num_tokens
        self._seconds += record.seconds
        num_left = self._num_wanted - self._num_done
        pace = max(self._num_done, 1) / max(self._seconds, 1e-9)
        facts = (
            f"{self._num_tokens / max(self._seconds, 1e-9):,.0f} tokens/s",
            f"{text.duration(num_left / pace)} left",
        )
        self._meter.update(target.label, self._num_done, self._num_wanted, " | ".join(facts))
        self._said_now = ""
        now = time.monotonic()
        if not self._meter.is_live and now - self._said_at > _LINE_SECONDS:
            self._said_at = now
            done = text.fraction(self._num_done, self._num_wanted)
            self._meter.say(f"{target.label}: {done} completions, {', '.join(facts)}")

    def ends(self, target: Target, found: Mapping[Key, Record]) -> None:
        """Say how a checkpoint did."""
        final = [one for one in found.values() if one.is_final]
        correct = sum(one.verdict == "correct" for one in final)
        share = f"{correct / len(final):.1%}" if final else "none counted"
        self._meter.say(f"{target.label}: {correct:,} of {len(final):,} correct ({share})")

    def gives_up(self, label: str, reason: str) -> None:
        """Say that a checkpoint cannot be scored."""
        self._meter.warn(f"{label} cannot be scored: {reason}")

    def stopped(self) -> None:
        """Say what is kept when the user stops it."""
        made = text.count(self._num_done, "completion")
        self._meter.say(f"stopped: {made} made by this command kept; the same command goes on")
