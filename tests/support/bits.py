"""Floats as the bits they are: equality of numbers is not enough, -0.0 equals 0.0."""

import struct
from collections.abc import Iterable


def of_double(value: float) -> bytes:
    return struct.pack("<d", value)


def of_singles(values: Iterable[float]) -> bytes:
    """Return float32 bits; a value that is none would be rounded, so it must be one."""
    listed = list(values)
    packed = struct.pack(f"<{len(listed)}f", *listed)
    assert list(struct.unpack(f"<{len(listed)}f", packed)) == listed
    return packed
