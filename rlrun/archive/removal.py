"""Objects of a bucket removed, hundreds a request, or one by one where a store wants that."""

from collections.abc import Sequence

from rlrun.archive import s3_errors
from rlrun.archive.bucket import Bucket, CallError
from rlrun.archive.s3_errors import Kind, Problem
from rlrun.errors import ArchiveError, first_few

_BATCH = 250  # S3 takes 1,000; a slow store would not answer that in the time a read has
_MOST_SHOWN = 3
_GONE = (Kind.ABSENT,)
_LATER = (Kind.TRANSIENT, Kind.CONFLICT)


def delete(bucket: Bucket, keys: Sequence[str]) -> None:
    """Remove objects; those that are absent are no error.  ArchiveError names those that stay."""
    full = [bucket.full(key) for key in keys]
    for start in range(0, len(full), _BATCH):
        _delete_batch(bucket, full[start : start + _BATCH])


def _delete_batch(bucket: Bucket, full: list[str]) -> None:
    left = full

    def attempt() -> None:
        nonlocal left
        failed = _delete_once(bucket, left)
        left = [key for key, problem in failed.items() if problem.kind in _LATER]
        stay = {key: problem for key, problem in failed.items() if problem.kind not in _LATER}
        if stay:
            raise _error(bucket, stay)
        if left:
            raise CallError(failed[left[0]])

    with bucket.explained(f"remove {len(full)} objects of {bucket.place}"):
        try:
            bucket.persist(attempt)
        except CallError as error:
            if error.problem.kind is not Kind.REFUSED:
                raise
            for key in left:  # a store that removes no more than one at a time
                bucket.persist(lambda one=key: _delete_one(bucket, one))  # type: ignore[misc]


def _delete_once(bucket: Bucket, full: list[str]) -> dict[str, Problem]:
    """Return the objects that could not be removed, with the reason."""
    request = {"Objects": [{"Key": key} for key in full], "Quiet": True}
    answer = bucket.try_once("delete_objects", Delete=request)
    problems = {
        error["Key"]: s3_errors.of_code(error.get("Code", "")) for error in answer.get("Errors", ())
    }
    return {key: problem for key, problem in problems.items() if problem.kind not in _GONE}


def _delete_one(bucket: Bucket, full: str) -> None:
    try:
        bucket.try_once("delete_object", Key=full)
    except CallError as error:
        if error.problem.kind not in _GONE:
            raise


def _error(bucket: Bucket, problems: dict[str, Problem]) -> ArchiveError:
    shown = [f"{bucket.short(key)} ({problem.code})" for key, problem in sorted(problems.items())]
    names = ", ".join(first_few(shown, _MOST_SHOWN))
    return ArchiveError(
        f"{len(problems)} objects of {bucket.place} cannot be removed: {names}; check what these "
        "credentials may do"
    )
