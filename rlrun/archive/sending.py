"""One request that carries bytes: sent again while that helps, refused if they are wrong."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rlrun.archive.blobs import Blob, Seal, base64_of
from rlrun.archive.bodies import Body
from rlrun.archive.bucket import Bucket, CallError
from rlrun.archive.probe import Abilities
from rlrun.archive.s3_errors import Kind, Problem, classify
from rlrun.errors import StorageError

_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a blob, and its SHA-256 in hex."""

    blob: Blob
    start: int
    size: int
    sha256: str


def send(
    bucket: Bucket, operation: str, stretch: Stretch, abilities: Abilities, **params: Any
) -> Any:
    """Return the answer to one try of sending a stretch; CallError if it fails.

    StorageError if what is read here is not what was sealed.
    """
    body = Body(stretch.blob, stretch.start, stretch.size)
    expected = base64_of(stretch.sha256)
    if abilities.wants_md5:
        params["ContentMD5"] = _md5(body)
    try:
        answer = bucket.try_once(operation, Body=body, ChecksumSHA256=expected, **params)
    except CallError as error:
        if body.failure:
            raise body.failure from None
        if error.problem.kind is Kind.DAMAGED:
            _check_unchanged(stretch)
        raise
    if answer.get("ChecksumSHA256", expected) != expected:
        _check_unchanged(stretch)
        raise CallError(Problem(Kind.DAMAGED, "another checksum"))
    return answer


def _md5(body: Body) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in body.pieces():
        digest.update(piece)
    body.seek(0)
    return base64.b64encode(digest.digest()).decode()


def _check_unchanged(stretch: Stretch) -> None:
    digest = hashlib.sha256()
    for piece in Body(stretch.blob, stretch.start, stretch.size).pieces():
        digest.update(piece)
    if digest.hexdigest() != stretch.sha256:
        raise StorageError("what is to be archived changed meanwhile; run the command again")


def put_whole(bucket: Bucket, key: str, blob: Blob, abilities: Abilities) -> None:
    """Store a small blob with one request; CallError if it cannot be."""
    seal = blob.seal
    stretch = Stretch(blob, 0, seal.size, seal.sha256)
    is_unclear = False

    def attempt() -> None:
        nonlocal is_unclear
        # without checksums, looking is reading it all: sending again is as good
        if is_unclear and abilities.proves and holds(bucket, key, seal, abilities):
            return
        is_unclear = True
        send(bucket, "put_object", stretch, abilities, Key=bucket.full(key))

    bucket.persist(attempt)


def head(bucket: Bucket, key: str) -> Any | None:
    """Return what the store says of an object in one try, None if it is absent."""
    try:
        return bucket.try_once("head_object", Key=bucket.full(key), ChecksumMode="ENABLED")
    except CallError as error:
        if error.problem.kind is Kind.ABSENT:
            return None
        raise


def holds(bucket: Bucket, key: str, seal: Seal, abilities: Abilities) -> bool:
    """Return whether a key holds the sealed bytes, by its checksum, or read back; one try."""
    answer = head(bucket, key)
    if answer is None or answer["ContentLength"] != seal.size:
        return False
    checksum = answer.get("ChecksumSHA256")
    if abilities.proves and checksum is not None:
        return seal.is_proved_by(checksum)
    digest = hashlib.sha256()
    for chunk in chunks(get(bucket, key, 0), _translated):
        digest.update(chunk)
    return digest.hexdigest() == seal.sha256


def get(bucket: Bucket, key: str, start: int) -> Any:
    """Return the body of an object from a place on, in one try."""
    ranged: dict[str, Any] = {"Range": f"bytes={start}-"} if start else {}
    answer = bucket.try_once("get_object", Key=bucket.full(key), **ranged)
    if start and not str(answer.get("ContentRange", "")).startswith(f"bytes {start}-"):
        answer["Body"].close()
        raise CallError(Problem(Kind.REFUSED, "a range is ignored"))
    return answer["Body"]


def chunks(body: Any, translate: Callable[[Exception], Exception]) -> Iterator[bytes]:
    """Yield a body in chunks; what breaks it off is translated."""
    try:
        while True:
            try:
                chunk = body.read(_READ_BYTES)
            except Exception as error:
                if classify(error) is None:
                    raise
                raise translate(error) from None
            if not chunk:
                return
            yield chunk
    finally:
        body.close()


def _translated(error: Exception) -> Exception:
    return CallError(Problem(Kind.TRANSIENT, type(error).__name__))
