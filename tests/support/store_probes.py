"""Questions to a store of which docs/archive_stores.md holds the answers; each is one word or two.

Each takes an empty place, behaves as a client could, and returns what was seen.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from support.fault_plan import Fault, Kind, Plan
from support.fault_proxy import FaultProxy
from support.s3_places import Place

PART_BYTES = 5 * 2**20
DATA = b"0123456789" * 100
OTHER = b"something else"

PROBES: dict[str, Callable[[Place], str]] = {}


def _probe(question: str) -> Callable[[Callable[[Place], str]], Callable[[Place], str]]:
    def register(function: Callable[[Place], str]) -> Callable[[Place], str]:
        PROBES[question] = function
        return function

    return register


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _verdict(call: Callable[[], Any]) -> str:
    """Return whether a store does as it is asked, or with what it refuses."""
    try:
        call()
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return f"refused ({status} {error.response['Error']['Code']})"
    return "accepted"


def _begin(place: Place, key: str, **settings: Any) -> dict[str, Any]:
    """Begin an upload, and return the arguments that all calls about it take."""
    where = {"Bucket": place.bucket, "Key": place.full(key)}
    upload = place.client.create_multipart_upload(**where, **settings)["UploadId"]
    return {**where, "UploadId": upload}


def _send_parts(place: Place, upload: dict[str, Any], *parts: bytes) -> dict[str, Any]:
    """Send parts with their SHA-256, and return what completing the upload takes."""
    listed = []
    for number, data in enumerate(parts, 1):
        checksum = {"ChecksumSHA256": _sha256(data)}
        etag = place.client.upload_part(**upload, PartNumber=number, Body=data, **checksum)["ETag"]
        listed.append({"PartNumber": number, "ETag": etag, **checksum})
    return {"MultipartUpload": {"Parts": listed}}


@_probe("a wrong signature")
def wrong_signature(place: Place) -> str:
    stranger = place.server.client(secret_key="another")
    return _verdict(lambda: stranger.list_objects_v2(Bucket=place.bucket))


@_probe("a bit that flips on its way up, body signed")
def flipped_on_its_way(place: Place) -> str:
    with FaultProxy(place.server.endpoint, Plan([Fault(Kind.FLIP_UP, 0)])) as proxy:
        client = place.server.client(endpoint=proxy.endpoint)
        where = {"Bucket": place.bucket, "Key": place.full("k")}
        verdict = _verdict(lambda: client.put_object(**where, Body=DATA))
        assert proxy.num_applied == 1
    return verdict


@_probe("a put with a wrong SHA-256 (`x-amz-checksum-sha256`)")
def wrong_sha256(place: Place) -> str:
    verdict = _verdict(lambda: place.put("k", DATA, ChecksumSHA256=_sha256(OTHER)))
    assert place.keys() == (["k"] if verdict == "accepted" else [])
    return verdict


@_probe("a part with a wrong SHA-256")
def wrong_sha256_of_part(place: Place) -> str:
    upload = _begin(place, "k", ChecksumAlgorithm="SHA256")
    checksum = _sha256(OTHER)
    return _verdict(
        lambda: place.client.upload_part(**upload, PartNumber=1, Body=DATA, ChecksumSHA256=checksum)
    )


@_probe("a put with a wrong `Content-MD5`")
def wrong_md5(place: Place) -> str:
    md5 = base64.b64encode(hashlib.md5(OTHER, usedforsecurity=False).digest()).decode()
    return _verdict(lambda: place.put("k", DATA, ContentMD5=md5))


def _told_checksum(place: Place) -> str | None:
    answer = place.client.head_object(
        Bucket=place.bucket, Key=place.full("k"), ChecksumMode="ENABLED"
    )
    told: str | None = answer.get("ChecksumSHA256")
    return told


@_probe("SHA-256 that HEAD tells of an object put at once")
def told_sha256(place: Place) -> str:
    place.put("k", DATA, ChecksumAlgorithm="SHA256", ChecksumSHA256=_sha256(DATA))
    return {None: "none", _sha256(DATA): "its own"}.get(_told_checksum(place), "a wrong one")


@_probe("where a SHA-256 that HEAD tells comes from")
def origin_of_sha256(place: Place) -> str:
    claim = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _sha256(OTHER)}
    if _verdict(lambda: place.put("k", DATA, **claim)) != "accepted":
        return "a wrong one is never stored"
    known = {_sha256(OTHER): "from the client, unchecked", _sha256(DATA): "computed"}
    return known.get(_told_checksum(place) or "", "none")


@_probe("SHA-256 that HEAD tells of an object of 2 parts")
def told_sha256_of_parts(place: Place) -> str:
    parts = (bytes(PART_BYTES), DATA)
    upload = _begin(place, "k", ChecksumAlgorithm="SHA256")
    place.client.complete_multipart_upload(**upload, **_send_parts(place, upload, *parts))
    assert place.read("k") == b"".join(parts)
    hashes = b"".join(hashlib.sha256(part).digest() for part in parts)
    known = {
        None: "none",
        f"{_sha256(hashes)}-2": "of its parts' hashes",
        _sha256(hashes): "of its parts' hashes, without their number",
        _sha256(b"".join(parts)): "of the whole",
    }
    return known.get(_told_checksum(place), "another")


@_probe("put with `If-None-Match: *` over what is there")
def put_if_absent(place: Place) -> str:
    place.put("k", DATA)
    verdict = _verdict(lambda: place.put("k", OTHER, IfNoneMatch="*"))
    assert place.read("k") == (OTHER if verdict == "accepted" else DATA)
    return verdict


@_probe("put with `If-Match` and an ETag of before")
def put_if_unchanged(place: Place) -> str:
    before = place.put("k", DATA)["ETag"]
    place.put("k", OTHER)
    return _verdict(lambda: place.put("k", DATA, IfMatch=before))


@_probe("a part below 5 MiB that is not the last")
def small_part(place: Place) -> str:
    upload = _begin(place, "k", ChecksumAlgorithm="SHA256")
    parts = _send_parts(place, upload, DATA, DATA)
    return _verdict(lambda: place.client.complete_multipart_upload(**upload, **parts))


@_probe("an upload is found, its parts listed, and completed by another client")
def upload_goes_on(place: Place) -> str:
    first = _begin(place, "k", ChecksumAlgorithm="SHA256")
    _send_parts(place, first, bytes(PART_BYTES))
    other = place.server.client()
    [(key, upload)] = place.uploads()
    where = {"Bucket": place.bucket, "Key": place.full(key), "UploadId": upload}
    [part] = other.list_parts(**where)["Parts"]
    listed = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": _sha256(bytes(PART_BYTES))}
    other.complete_multipart_upload(**where, MultipartUpload={"Parts": [listed]})
    assert place.read("k") == bytes(PART_BYTES)
    assert place.uploads() == []
    return "yes, with their SHA-256" if "ChecksumSHA256" in part else "yes, without SHA-256"


@_probe("an upload with SHA-256 completed without naming those of its parts")
def completed_without_sha256(place: Place) -> str:
    upload = _begin(place, "k", ChecksumAlgorithm="SHA256")
    parts = _send_parts(place, upload, DATA)
    del parts["MultipartUpload"]["Parts"][0]["ChecksumSHA256"]
    return _verdict(lambda: place.client.complete_multipart_upload(**upload, **parts))


@_probe("an upload that is given up is gone, and can be given up again")
def upload_given_up(place: Place) -> str:
    upload = _begin(place, "k")
    _send_parts(place, upload, DATA)
    place.client.abort_multipart_upload(**upload)
    assert place.uploads() == []
    assert place.keys() == []
    verdict = _verdict(lambda: place.client.abort_multipart_upload(**upload))
    return "yes" if verdict == "accepted" else f"yes; again: {verdict}"


@_probe("an upload completed again")
def completed_again(place: Place) -> str:
    upload = _begin(place, "k", ChecksumAlgorithm="SHA256")
    parts = _send_parts(place, upload, DATA)
    place.client.complete_multipart_upload(**upload, **parts)
    return _verdict(lambda: place.client.complete_multipart_upload(**upload, **parts))


@_probe("a list right after a put, an overwrite and a delete")
def list_after_write(place: Place) -> str:
    for number in range(20):
        place.put(f"k{number:02}", DATA)
        assert len(place.keys()) == number + 1
    place.put("k00", OTHER)
    page = place.client.list_objects_v2(Bucket=place.bucket, Prefix=place.full(""))
    assert page["Contents"][0]["Size"] == len(OTHER)
    place.client.delete_object(Bucket=place.bucket, Key=place.full("k00"))
    return "as it is" if len(place.keys()) == 19 else "as it was"


@_probe("a list goes on where a page ends, folders too")
def pages(place: Place) -> str:
    for number in range(7):
        place.put(f"f{number}/k", DATA)
    found = []
    asked = {"Bucket": place.bucket, "Prefix": place.full(""), "MaxKeys": 3, "Delimiter": "/"}
    answer = place.client.list_objects_v2(**asked)
    found += answer.get("CommonPrefixes", [])
    while answer["IsTruncated"]:
        token = answer["NextContinuationToken"]
        answer = place.client.list_objects_v2(**asked, ContinuationToken=token)
        found += answer.get("CommonPrefixes", [])
    wanted = [place.full(f"f{number}/") for number in range(7)]
    return "yes" if [one["Prefix"] for one in found] == wanted else "no"


@_probe("a key, and others below it")
def key_and_children(place: Place) -> str:
    place.put("k", DATA)
    verdict = _verdict(lambda: place.put("k/child", OTHER))
    if verdict != "accepted":
        return verdict
    assert place.read("k") == DATA
    return "both" if sorted(place.keys()) == ["k", "k/child"] else f"lists {place.keys()}"


@_probe("reading from the middle")
def ranged_read(place: Place) -> str:
    place.put("k", DATA)
    return "yes" if place.read("k", Range="bytes=500-") == DATA[500:] else "no"


@_probe("a key that is absent: read, delete")
def absent_key(place: Place) -> str:
    where = {"Bucket": place.bucket, "Key": place.full("absent")}
    read = _verdict(lambda: place.client.get_object(**where))
    deleted = _verdict(lambda: place.client.delete_object(**where))
    return f"{read}, {deleted}"


@_probe("a bucket that is absent")
def absent_bucket(place: Place) -> str:
    return _verdict(lambda: place.client.list_objects_v2(Bucket="no-such-bucket"))


@_probe("many keys deleted with one request, an absent one among them")
def delete_many(place: Place) -> str:
    for key in ("a", "b"):
        place.put(key, DATA)
    keys = [{"Key": place.full(key)} for key in ("a", "absent", "b")]
    answer = place.client.delete_objects(Bucket=place.bucket, Delete={"Objects": keys})
    return "yes" if not answer.get("Errors") and place.keys() == [] else "no"
