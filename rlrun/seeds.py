"""Randomness without state: every draw is a function of the run's seed and of what it is for.

Nothing here depends on the platform, on numpy or on torch, so a run can move between machines.
"""

import hashlib

_UNIFORM_BITS = 52  # with one bit more, half a step below 1 would round to 1


def _stream(run_seed: int, purpose: str, where: tuple[int | str, ...], num_bytes: int) -> bytes:
    key = repr((run_seed, purpose, *where)).encode()
    return hashlib.shake_128(key).digest(num_bytes)


def derive_seed(run_seed: int, purpose: str, *where: int | str) -> int:
    """Return a 63-bit seed for one use of randomness."""
    return int.from_bytes(_stream(run_seed, purpose, where, 8)) >> 1


def uniforms(run_seed: int, purpose: str, *where: int | str, count: int) -> list[float]:
    """Return `count` numbers in (0, 1); the i-th does not depend on `count`."""
    data = _stream(run_seed, purpose, where, 8 * count)
    return [
        ((int.from_bytes(data[8 * i : 8 * i + 8]) >> (64 - _UNIFORM_BITS)) + 0.5) / 2**_UNIFORM_BITS
        for i in range(count)
    ]


def permutation(run_seed: int, purpose: str, *where: int | str, size: int) -> list[int]:
    """Return a random order of 0..size-1."""
    data = _stream(run_seed, purpose, where, 16 * size)
    return sorted(range(size), key=lambda i: data[16 * i : 16 * i + 16])
