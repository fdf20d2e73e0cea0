"""One bucket of an S3 store: each call tried again while that helps, each refusal a sentence."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from rlrun.archive import s3_errors
from rlrun.archive.destination import S3Destination
from rlrun.archive.retries import Patience, persist
from rlrun.archive.s3_errors import Circumstances, Kind, Problem
from rlrun.errors import ArchiveError

_Result = TypeVar("_Result")
_MOST_KEY_BYTES = 1024

ClientMaker = Callable[[bool], Any]
"""Returns a new client with the credentials as they are now; told whether it is to be plain."""


class CallError(Exception):
    """A call that came to nothing, told apart; for those who can settle it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


class Bucket:
    """The calls of a client on a bucket, from any thread."""

    def __init__(
        self, destination: S3Destination, source: str, make_client: ClientMaker, patience: Patience
    ) -> None:
        self.place = destination.place
        self.name = destination.bucket
        self._prefix = f"{destination.prefix}/" if destination.prefix else ""
        self._source = source
        self._make_client = make_client
        self._patience = patience
        self._lock = threading.Lock()
        self._clients: dict[bool, Any] = {}
        self._has_answered = False

    def full(self, key: str) -> str:
        """Return the key in the bucket of what has this key in the archive."""
        parts = key.split("/")
        is_good = not {"", ".", ".."} & set(parts) and "\0" not in key
        full = self._prefix + key
        if not is_good or len(full.encode()) > _MOST_KEY_BYTES:
            raise ArchiveError(f"{key!r} cannot be the key of an object in {self.place}")
        return full

    def full_prefix(self, prefix: str) -> str:
        """Return the beginning of the keys in the bucket that begin so in the archive."""
        return self._prefix + prefix

    def short(self, full: str) -> str:
        """Return the key in the archive of what has this key in the bucket."""
        return full.removeprefix(self._prefix)

    @property
    def endpoint(self) -> str:
        """The address of the store."""
        return str(self.client().meta.endpoint_url)

    def client(self, *, is_plain: bool = False) -> Any:
        """Return the client, made when it is first needed."""
        with self._lock:
            if is_plain not in self._clients:
                self._clients[is_plain] = self._made(is_plain)
            return self._clients[is_plain]

    def _made(self, is_plain: bool) -> Any:
        try:
            return self._make_client(is_plain)
        except Exception as error:
            problem = s3_errors.classify(error)
            if problem is None and not isinstance(error, ValueError):
                raise
            problem = problem or Problem(Kind.REFUSED, type(error).__name__)
            around = Circumstances(self.name, "the AWS configuration", self._source)
            raise s3_errors.as_error(problem, f"connect to {self.place}", around) from None

    def call(self, operation: str, deed: str, *, is_plain: bool = False, **params: Any) -> Any:
        """Return the answer to an operation such as "head_object"; ArchiveError if there is none.

        The deed says what for, such as "store s3://bucket/key".
        """
        with self.explained(deed):
            return self.persist(lambda: self.try_once(operation, is_plain=is_plain, **params))

    def try_once(self, operation: str, *, is_plain: bool = False, **params: Any) -> Any:
        """Return the answer to one try; CallError if it fails."""
        client = self.client(is_plain=is_plain)
        try:
            answer = getattr(client, operation)(Bucket=self.name, **params)
        except Exception as error:
            problem = s3_errors.classify(error)
            if problem is None:
                raise
            self._has_answered |= problem.status is not None
            raise CallError(problem) from error
        self._has_answered = True
        return answer

    def persist(self, attempt: Callable[[], _Result]) -> _Result:
        """Return what an attempt returns, made again while that helps; else its last CallError."""
        client = self.client()

        def renew() -> None:
            with self._lock:
                if self._clients.get(False) is client:  # else another thread did it
                    self._clients.clear()

        return persist(
            attempt, _problem, self._patience, renew=renew, has_answered=lambda: self._has_answered
        )

    def explained(self, deed: str) -> "_Explained":
        """Turn the CallError that leaves the block into a sentence about the deed."""
        return _Explained(self, deed)

    def error(self, problem: Problem, deed: str) -> ArchiveError:
        """Return the error of a deed that came to nothing."""
        around = Circumstances(self.name, self.endpoint, self._source)
        return s3_errors.as_error(problem, deed, around)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def _problem(error: Exception) -> Problem | None:
    return error.problem if isinstance(error, CallError) else None


class _Explained:
    def __init__(self, bucket: Bucket, deed: str) -> None:
        self._bucket, self._deed = bucket, deed

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, CallError):
            raise self._bucket.error(error.problem, self._deed) from None
