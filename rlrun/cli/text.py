"""Numbers as short words, and one word back: the vocabulary of tables and progress lines."""

import re
from collections.abc import Sequence

from rlrun.errors import UsageError

_BARS = "".join(chr(0x2581 + level) for level in range(8))
_ASCII_BARS = "_.-~=+*#"
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def sparkline(values: Sequence[float], *, is_ascii: bool) -> str:
    """Return a curve of one character a value, from the lowest to the highest of them."""
    bars = _ASCII_BARS if is_ascii else _BARS
    if not values:
        return ""
    low, high = min(values), max(values)
    if low == high:
        return bars[3 if low else 0] * len(values)
    top = len(bars) - 1
    return "".join(bars[round((value - low) / (high - low) * top)] for value in values)


def duration(seconds: float) -> str:
    """Return `0.4 s`, `12 s`, `3m 20s` or `2h 05m`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest} s"


def parse_duration(text: str) -> float:
    """Return the seconds of `2h`, `30m`, `90s` or `1h30m`; UsageError for anything else."""
    match = _DURATION.fullmatch(text)
    seconds = 0
    if match:
        hours, minutes, rest = (int(part or 0) for part in match.groups())
        seconds = 3600 * hours + 60 * minutes + rest
    if seconds == 0:
        raise UsageError(f"{text!r} is not a duration; write it as 2h, 30m, 90s or 1h30m")
    return float(seconds)


def age(seconds: float) -> str:
    """Return how long ago something was, in its largest unit: `12s ago`, `5d ago`."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit} ago"
    return f"{int(max(0.0, seconds))}s ago"


def size(num_bytes: int) -> str:
    """Return a size in decimal units: `312 B`, `4.1 MB`."""
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= length:
            return f"{num_bytes / length:.1f} {unit}"
    return f"{num_bytes} B"


def number(value: float | None) -> str:
    """Return a measurement with three decimals, or four significant digits if it is small."""
    if value is None:
        return "-"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"


def moment(iso: str) -> str:
    """Return `2026-01-02 03:04:05 UTC` for an ISO 8601 time in UTC."""
    return iso.replace("T", " ").replace("+00:00", " UTC")


def fraction(step: int, max_steps: int | None) -> str:
    """Return `57/100`, or `57` when the end is not known."""
    return f"{step}" if max_steps is None else f"{step}/{max_steps}"


def count(amount: int, noun: str) -> str:
    """Return `1 step`, `2 steps`, `1,234 steps`."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def visible(line: str) -> str:
    """Return a line that a model wrote with every sign shown that a terminal would obey."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in line
    )
