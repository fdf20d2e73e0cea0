"""AWS Signature Version 4 of S3, for a request whose body's hash is known before it is read.

The rules are those of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html;
botocore's signer, which signs all other requests, gives the same signature.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who asks."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Keys(...)"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked; `path` and the names in `query` as they are, without any quoting."""

    method: str
    host: str  # with its port unless that is the scheme's own
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # all are signed
    payload_hash: str  # SHA-256 of the body in hex

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        path, query = quote(self.path, safe="/~"), _query(self.query)
        return f"{path}?{query}" if query else path


def sign(request: Request, keys: Keys, region: str, now: datetime | None = None) -> dict[str, str]:
    """Return the headers to send a request with: its own, and those that prove who asks."""
    stamp = f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    headers = {
        **request.headers,
        "Host": request.host,
        "X-Amz-Content-SHA256": request.payload_hash,
        "X-Amz-Date": stamp,
    }
    if keys.token:
        headers["X-Amz-Security-Token"] = keys.token
    signed = sorted((name.lower(), " ".join(value.split())) for name, value in headers.items())
    names = ";".join(name for name, _ in signed)
    canonical = "\n".join(
        (
            request.method,
            quote(request.path, safe="/~"),
            _query(request.query),
            *(f"{name}:{value}" for name, value in signed),
            "",
            names,
            request.payload_hash,
        )
    )
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    signature = _hmac(_signing_key(keys.secret_key, stamp[:8], region), text).hex()
    headers["Authorization"] = (
        f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return headers


def _query(query: Mapping[str, str]) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~"))
                   for name, value in query.items())  # fmt: skip
    return "&".join(f"{name}={value}" for name, value in pairs)


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, date: str, region: str) -> bytes:
    key = _hmac(f"AWS4{secret_key}".encode(), date)
    for part in (region, "s3", "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
