"""One text for one value: canonical JSON and its hash."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]
"""A JSON object; its values are whatever JSON can hold."""


def dumps(value: JsonObject) -> str:
    """Return the canonical JSON of `value`: keys sorted, no spaces, floats that read back bitwise.

    Raises ValueError for NaN and infinities, which no record may hold.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def sha256_of(value: JsonObject) -> str:
    """Return the SHA-256, in hex, of the canonical JSON of `value`."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()


def pretty(value: JsonObject) -> str:
    """Return JSON for files that people read: sorted, indented, ending in a newline."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
