"""What a session is asked to do: the words that the control plane gives to the worker."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlrun.runs import canonical


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """One session's orders."""

    steps: int | None = None  # new steps to take; None: to the run's end
    max_seconds: float | None = None  # of this session, from the worker's start
    from_step: int | None = None  # the checkpoint to go on from, 0 for none; None: the newest valid
    is_rewind: bool = False  # whether what is behind `from_step` is to be abandoned
    device: str = "auto"  # auto, cpu, cuda, cuda:N
    allow_inexact: bool = False
    config: Mapping[str, Any] | None = None  # the new configuration, if it is to change
    changes: tuple[str, ...] = ()  # the change, as sentences for the ledger

    def to_text(self) -> str:
        """Return the request as the worker's argument."""
        return canonical.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "SessionRequest":
        """Return the request of a worker's argument."""
        fields = json.loads(text)
        return cls(**{**fields, "changes": tuple(fields["changes"])})
