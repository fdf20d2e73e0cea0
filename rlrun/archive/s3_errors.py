"""What goes wrong between here and an S3 store: its kind, and one sentence with the way out.

The kinds are told by names and codes, so that nothing of boto3 is imported to tell them.  What a
server writes in its own words is left out: it may repeat what it was sent.
"""

import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from rlrun.errors import ArchiveError, MissingObjectError


class Kind(Enum):
    """What can be done about an error."""

    TRANSIENT = auto()  # try again
    UNREACHABLE = auto()  # try again, but not for long: the address may be wrong
    CONFLICT = auto()  # look what is there, then try again
    DAMAGED = auto()  # the bytes arrived otherwise than they were sent
    EXPIRED = auto()  # renew the credentials, once
    DENIED = auto()
    NO_BUCKET = auto()
    ABSENT = auto()
    LOST_UPLOAD = auto()
    REFUSED = auto()  # for a reason that stays


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, told apart."""

    kind: Kind
    code: str
    status: int | None = None
    retry_after: float | None = None  # seconds


_BY_CODE = {
    Kind.TRANSIENT: "InternalError ServiceUnavailable SlowDown Throttling ThrottlingException "
    "RequestThrottled RequestThrottledException TooManyRequests TooManyRequestsException "
    "BandwidthLimitExceeded RequestLimitExceeded RequestTimeout RequestTimeoutException "
    "IncompleteBody Busy PriorRequestNotComplete EC2ThrottledException "
    "XMinioServerNotInitialized",
    Kind.CONFLICT: "OperationAborted ConditionalRequestConflict PreconditionFailed Conflict "
    "409 412",
    Kind.DAMAGED: "BadDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch",
    Kind.EXPIRED: "ExpiredToken ExpiredTokenException RequestExpired TokenRefreshRequired",
    Kind.DENIED: "AccessDenied AccountProblem AllAccessDisabled InvalidAccessKeyId InvalidToken "
    "SignatureDoesNotMatch RequestTimeTooSkewed Forbidden Unauthorized NotSignedUp "
    "AuthorizationHeaderMalformed 401 403",
    Kind.NO_BUCKET: "NoSuchBucket",
    Kind.ABSENT: "NoSuchKey NotFound NoSuchVersion 404",
    Kind.LOST_UPLOAD: "NoSuchUpload InvalidPart InvalidPartOrder",
}
_BY_NAME = {
    Kind.UNREACHABLE: "EndpointConnectionError ProxyConnectionError ConnectTimeoutError",
    Kind.DAMAGED: "FlexibleChecksumError",
    Kind.DENIED: "NoCredentialsError PartialCredentialsError CredentialRetrievalError "
    "TokenRetrievalError UnauthorizedSSOTokenError SSOError ProfileNotFound RefreshWithMFA"
    "UnsupportedError",
    # what has no other name and came from the network, or is no whole answer
    Kind.TRANSIENT: "HTTPClientError IncompleteReadError ResponseStreamingError "
    "ResponseParserError ProtocolError TimeoutError ConnectionError IncompleteRead HTTPException "
    "SSLError",
}
_BY_STATUS = {
    400: Kind.EXPIRED,  # a HEAD's refusal has no words: most often the token is too old
    401: Kind.DENIED, 403: Kind.DENIED, 404: Kind.ABSENT, 408: Kind.TRANSIENT, 409: Kind.CONFLICT,
    412: Kind.CONFLICT, 425: Kind.TRANSIENT, 429: Kind.TRANSIENT,
}  # fmt: skip
_KIND_OF_CODE = {code: kind for kind, codes in _BY_CODE.items() for code in codes.split()}
_KIND_OF_NAME = {name: kind for kind, names in _BY_NAME.items() for name in names.split()}
_SAFE_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,60}")
_PARSERS = "botocore.parsers"
_UNPROVED_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"
UNTOUCHED = "nothing local was changed"


def classify(error: Exception) -> Problem | None:
    """Return what an error from a client's call is; None for what has nothing to do with S3."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and "Error" in response:
        return _refusal(response)
    name = type(error).__name__
    if name == "SSLError" and _UNPROVED_CERTIFICATE in str(error):
        return Problem(Kind.REFUSED, _UNPROVED_CERTIFICATE)
    for kind in (_KIND_OF_NAME.get(one.__name__) for one in type(error).__mro__):
        if kind is not None:
            return Problem(kind, name)
    if type(error).__module__.partition(".")[0] in ("botocore", "boto3", "urllib3"):
        return Problem(Kind.REFUSED, name)
    if isinstance(error, ValueError) and _comes_from_parsing(error):
        return Problem(Kind.TRANSIENT, "an answer that does not read")
    return None


def _comes_from_parsing(error: Exception) -> bool:
    """Return whether an error came up while an answer was read: a date spoiled on the way, say."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") == _PARSERS for frame, _ in frames)


def of_code(code: str, status: int | None = None) -> Problem:
    """Return the problem that a store names so."""
    shown = code if _SAFE_CODE.fullmatch(code) else "an unknown error"
    kind = _KIND_OF_CODE.get(code)
    if kind is None and status is not None and (not code or code == str(status)):
        kind = _BY_STATUS.get(status)
    if kind is None and status is not None:
        kind = Kind.TRANSIENT if status >= 500 and status != 501 else None
        kind = kind or (_BY_STATUS.get(status) if status != 400 else None)
    return Problem(kind or Kind.REFUSED, shown, status)


def _refusal(response: Mapping[str, Any]) -> Problem:
    metadata = response.get("ResponseMetadata", {})
    problem = of_code(str(response["Error"].get("Code", "")), metadata.get("HTTPStatusCode"))
    return Problem(
        problem.kind, problem.code, problem.status, _seconds(metadata.get("HTTPHeaders", {}))
    )


def _seconds(headers: Mapping[str, str]) -> float | None:
    text = str(headers.get("retry-after", ""))
    return float(text) if text.isdecimal() and len(text) < 6 else None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a sentence names besides the object; none of it is secret."""

    bucket: str
    endpoint: str
    source: str  # of the credentials


def as_error(problem: Problem, deed: str, around: Circumstances) -> ArchiveError:
    """Return the error of a deed, such as "store s3://bucket/key", that came to nothing."""
    kind = MissingObjectError if problem.kind is Kind.ABSENT else ArchiveError
    return kind(f"cannot {deed}: {_reason(problem, around)}")


def _reason(problem: Problem, around: Circumstances) -> str:
    name = problem.code or f"HTTP {problem.status}"
    if problem.kind is Kind.DENIED:
        return _denial(name, around)
    if problem.code == _UNPROVED_CERTIFICATE:
        return f"the certificate of {around.endpoint} is not trusted; set AWS_CA_BUNDLE"
    again = f"{UNTOUCHED}, run the command again"
    return {
        Kind.TRANSIENT: f"{around.endpoint} gives no good answer ({name}); {again}",
        Kind.UNREACHABLE: f"{around.endpoint} cannot be reached ({name}); check the network and "
        f"AWS_ENDPOINT_URL_S3, then run the command again",
        Kind.CONFLICT: f"the store reports a conflict ({name}); {again}",
        Kind.DAMAGED: f"the bytes do not arrive as they are sent ({name}); check the network and "
        "this machine's memory",
        Kind.EXPIRED: f"the credentials have expired ({name}); renew them in {around.source}",
        Kind.NO_BUCKET: f"there is no bucket {around.bucket!r} at {around.endpoint}; create it, or "
        "correct --to",
        Kind.ABSENT: "it is not there; 'rlrun verify RUN --remote' tells what else is missing",
        Kind.LOST_UPLOAD: f"the store does not know the upload any more; {again}",
        Kind.REFUSED: f"{around.endpoint} refuses it ({name}{_status(problem)}); see whether the "
        "store can do this and the bucket allows it",
    }[problem.kind]


def _status(problem: Problem) -> str:
    return f", HTTP {problem.status}" if problem.status and problem.code else ""


def _denial(name: str, around: Circumstances) -> str:
    if name == "NoCredentialsError":
        return (
            "no credentials were found; put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into "
            "~/.lambda_s3.env, or give --credentials"
        )
    if name == "RequestTimeTooSkewed":
        return "this machine's clock is wrong; set it (timedatectl set-ntp true)"
    return (
        f"{around.endpoint} refuses these credentials ({name}); check the keys in {around.source} "
        f"and what they may do with the bucket {around.bucket!r}"
    )
