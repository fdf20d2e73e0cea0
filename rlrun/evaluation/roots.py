"""Where a falling function crosses zero, by bisection."""

from collections.abc import Callable

_NUM_HALVINGS = 60  # of an interval no longer than 2: what is left is below a double's last bit


def crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where `falling` crosses zero in [low, high], or the end next to the crossing."""
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return low
