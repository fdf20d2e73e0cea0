"""When a checkpoint is due."""

from rlrun.config.schema import SavingConfig


class SaveSchedule:
    """Remembers the last save, and says whether the next is due."""

    def __init__(self, *, step: int, epoch: float, now: float) -> None:
        self.step = step  # of the last checkpoint
        self._epoch = epoch
        self._time = now

    def is_due(self, saving: SavingConfig, *, step: int, epoch: float, now: float) -> bool:
        """Return whether a checkpoint should be written after `step`."""
        if step == self.step:
            return False
        if saving.every_steps is not None and step % saving.every_steps == 0:
            return True
        if saving.every_seconds is not None and now - self._time >= saving.every_seconds:
            return True
        every = saving.every_epochs
        return every is not None and _whole(epoch / every) > _whole(self._epoch / every)

    def note(self, *, step: int, epoch: float, now: float) -> None:
        """Remember that a checkpoint is being written."""
        self.step, self._epoch, self._time = step, epoch, now


def _whole(periods: float) -> int:
    """Return how many periods are over; a quotient that should be whole may fall just short."""
    return int(periods + 1e-9)
