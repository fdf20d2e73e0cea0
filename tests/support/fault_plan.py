"""Which requests of a run through a proxy are spoiled and how, and what came by."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl

_PAST_THE_LAST = 2**63


class Kind(StrEnum):
    """How a request, or its answer, is spoiled."""

    REFUSE = "refuse"  # reset before anything is read
    DROP_BEFORE = "drop_before"  # read, never forwarded, closed
    DROP_AFTER = "drop_after"  # the server acted, its answer is swallowed, closed
    RESET_IN_REQUEST_BODY = "reset_in_request_body"
    RESET_IN_RESPONSE_BODY = "reset_in_response_body"
    STALL_IN_RESPONSE = "stall_in_response"
    TRUNCATED_BODY = "truncated_body"
    ERROR_500 = "error_500"
    SLOW_DOWN_503 = "slow_down_503"
    THROTTLED_429 = "throttled_429"
    EXPIRED_403 = "expired_403"
    NOT_FOUND = "not_found_then_ok"  # though it is there
    PRECONDITION_412 = "precondition_412"  # on a write that the server has done
    CONFLICT_409 = "conflict_409"
    FLIP_UP = "flip_up"
    FLIP_DOWN = "flip_down"
    WRONG_ETAG = "wrong_etag"
    STALE_LISTING = "stale_listing"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Fault:
    """A kind of fault, from the request with number `at` (from 0) on, so many times."""

    kind: Kind
    at: int
    times: int | None = 1  # None: from then on

    def hits(self, index: int) -> bool:
        """Return whether the request with this number is to be spoiled."""
        end = _PAST_THE_LAST if self.times is None else self.at + self.times
        return self.at <= index < end


class Plan:
    """The faults of a run; where two hit the same request the first counts."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(faults)
        self.remembers_listings = any(f.kind == Kind.STALE_LISTING for f in self.faults)

    def at(self, index: int) -> Kind | None:
        """Return how the request with this number is spoiled."""
        return next((fault.kind for fault in self.faults if fault.hits(index)), None)


_OBJECT_OPERATIONS = {
    "GET": "get",
    "HEAD": "head",
    "PUT": "put",
    "POST": "post",
    "DELETE": "delete",
}
_MULTIPART_OPERATIONS = {
    "GET": "list parts",
    "PUT": "put part",
    "POST": "complete upload",
    "DELETE": "abort upload",
}


@dataclass
class Request:
    """A request that came by; what is not known, because it was refused, is empty."""

    index: int
    verb: str = ""
    path: str = ""  # with the bucket, still quoted
    query: str = ""
    num_bytes: int = 0  # of the body, as far as it was read
    status: int | None = None  # of what the client was answered; None for no answer
    fault: Kind | None = None  # what the plan wanted
    applied: bool = False  # whether that had a meaning for this request

    def describe(self, target: str, verb: str) -> None:
        """Take note of the request's first line."""
        self.verb = verb
        self.path, _, self.query = target.partition("?")

    @property
    def arguments(self) -> dict[str, str]:
        """The query, parsed."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def has_key(self) -> bool:
        """Whether it is about an object, not about a bucket or the whole store."""
        return re.match(r"/[^/]+/.", self.path) is not None

    @property
    def operation(self) -> str:
        """What it asks for: put, put part, list, list uploads, ..."""
        arguments = self.arguments
        if not self.has_key:
            return self._bucket_operation(arguments)
        if "uploadId" in arguments:
            return _MULTIPART_OPERATIONS.get(self.verb, self.verb)
        if "uploads" in arguments:
            return "begin upload"
        return _OBJECT_OPERATIONS.get(self.verb, self.verb)

    def _bucket_operation(self, arguments: dict[str, str]) -> str:
        if self.verb == "POST" and "delete" in arguments:
            return "delete many"
        if self.verb == "GET" and self.path.strip("/"):
            if "uploads" in arguments:
                return "list uploads"
            if "list-type" in arguments or "prefix" in arguments or not arguments:
                return "list"
        return f"{self.verb.lower()} bucket"
