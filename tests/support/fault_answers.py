"""Answers in the words of S3 that a proxy gives by itself."""

from dataclasses import dataclass
from xml.sax.saxutils import escape

from support.fault_plan import Kind, Request

_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True)
class Refusal:
    """An error as S3 says it."""

    status: int
    reason: str
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> bytes:
        """The error's XML."""
        return (
            f"{_XML}<Error><Code>{self.code}</Code><Message>{self.message}</Message>"
            "<RequestId>0123456789ABCDEF</RequestId></Error>"
        ).encode()


REFUSALS = {
    Kind.ERROR_500: Refusal(
        500, "Internal Server Error", "InternalError", "We encountered an internal error."
    ),
    Kind.SLOW_DOWN_503: Refusal(
        503, "Service Unavailable", "SlowDown", "Please reduce your request rate."
    ),
    Kind.THROTTLED_429: Refusal(
        429, "Too Many Requests", "TooManyRequests", "Slow down.", (("Retry-After", "1"),)
    ),
    Kind.EXPIRED_403: Refusal(403, "Forbidden", "ExpiredToken", "The provided token has expired."),
    Kind.NOT_FOUND: Refusal(404, "Not Found", "NoSuchKey", "The specified key does not exist."),
    Kind.PRECONDITION_412: Refusal(
        412, "Precondition Failed", "PreconditionFailed", "A pre-condition did not hold."
    ),
    Kind.CONFLICT_409: Refusal(
        409, "Conflict", "OperationAborted", "A conflicting operation is in progress."
    ),
}


def empty_listing(request: Request) -> bytes:
    """Return the answer to a listing of which nothing is known yet."""
    bucket = escape(request.path.split("/")[1])
    prefix = escape(request.arguments.get("prefix", ""))
    if request.operation == "list uploads":
        return (
            f"{_XML}<ListMultipartUploadsResult><Bucket>{bucket}</Bucket><Prefix>{prefix}</Prefix>"
            "<MaxUploads>1000</MaxUploads><IsTruncated>false</IsTruncated>"
            "</ListMultipartUploadsResult>"
        ).encode()
    if request.operation == "list parts":
        key = escape(request.path.split("/", 2)[2])
        upload = escape(request.arguments["uploadId"])
        return (
            f"{_XML}<ListPartsResult><Bucket>{bucket}</Bucket><Key>{key}</Key>"
            f"<UploadId>{upload}</UploadId><MaxParts>1000</MaxParts>"
            "<IsTruncated>false</IsTruncated></ListPartsResult>"
        ).encode()
    return (
        f"{_XML}<ListBucketResult><Name>{bucket}</Name><Prefix>{prefix}</Prefix>"
        "<KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
        "</ListBucketResult>"
    ).encode()
