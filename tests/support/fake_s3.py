"""An S3 store in memory, as a client sees it: strict or credulous, and failing when it is told to.

It stands for what a real server does with the few calls that are made of it; nothing of boto3 is
needed.  What real servers do is tested in `with_servers`.
"""

import base64
import hashlib
import io
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Refusal(Exception):
    """An answer that is an error, in the form of boto3's."""

    def __init__(self, code: str, status: int, **headers: str) -> None:
        super().__init__(code)
        self.response = {
            "Error": {"Code": code, "Message": "words of the server"},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        }


@dataclass
class Fault:
    operation: str
    error: Exception
    acts: bool  # the server acts, and only its answer is lost
    skip: int
    times: int


@dataclass
class Upload:
    key: str
    parts: dict[int, bytes] = field(default_factory=dict)


def b64(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def composite(parts: list[bytes]) -> str:
    return f"{b64(b''.join(hashlib.sha256(part).digest() for part in parts))}-{len(parts)}"


class Broken(io.BytesIO):
    """A body that breaks off."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise ConnectionResetError("broken off")
        return data


class FakeS3:
    """The store.  `strict` checks and tells SHA-256; else it repeats what it was told, or nothing.

    `calls` counts the operations; `broken_reads` bodies break off half-way.
    """

    def __init__(
        self, *, strict: bool = True, echoes: bool = True, tells_parts: bool = False
    ) -> None:
        self.strict, self.echoes, self.tells_parts = strict, echoes, tells_parts
        self.meta = SimpleNamespace(endpoint_url="https://store.example")
        self.objects: dict[str, tuple[bytes, str | None]] = {}
        self.uploads: dict[str, Upload] = {}
        self.calls: Counter[str] = Counter()
        self.broken_reads = 0
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._number = 0

    def fail(self, operation: str, error: Exception, *, acts: bool = False, skip: int = 0,
             times: int = 1) -> None:  # fmt: skip
        """Have an operation fail so many times, after so many that do not."""
        self._faults.append(Fault(operation, error, acts, skip, times))

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        act = object.__getattribute__(self, f"_{name}")

        def call(**params: Any) -> Any:
            assert params.pop("Bucket") == "bucket"
            body = params.get("Body")
            if body is not None and not isinstance(body, bytes):
                params["Body"] = body.read()
            with self._lock:
                self.calls[name] += 1
                fault = self._due(name)
                if fault and not fault.acts:
                    raise fault.error
                answer = act(**params)
                if fault:
                    raise fault.error
                return answer

        return call

    def _due(self, name: str) -> Fault | None:
        for fault in self._faults:
            if fault.operation == name and fault.times > 0:
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                return fault
        return None

    def _checked(self, body: bytes, told: str | None) -> str | None:
        if not self.strict:
            return told if self.echoes else None
        if told not in (None, b64(body)):
            raise Refusal("BadDigest", 400)
        return b64(body)

    def _put_object(self, Key: str, Body: bytes, ChecksumSHA256: str | None = None,
                    ContentMD5: str | None = None) -> Any:  # fmt: skip
        if ContentMD5 not in (None, base64.b64encode(bytes.fromhex(etag(Body)[1:-1])).decode()):
            raise Refusal("BadDigest", 400)
        checksum = self._checked(Body, ChecksumSHA256)
        self.objects[Key] = (Body, checksum)
        return {"ETag": etag(Body)} | _told(checksum)

    def _head_object(self, Key: str, ChecksumMode: str) -> Any:
        if Key not in self.objects:
            raise Refusal("404", 404)
        data, checksum = self.objects[Key]
        return {"ContentLength": len(data), "LastModified": NOW} | _told(checksum)

    def _get_object(self, Key: str, Range: str = "bytes=0-") -> Any:
        if Key not in self.objects:
            raise Refusal("NoSuchKey", 404)
        start, data = int(Range[6:-1]), self.objects[Key][0]
        if start and start >= len(data):
            raise Refusal("InvalidRange", 416)
        rest, body = data[start:], io.BytesIO
        if self.broken_reads:
            self.broken_reads -= 1
            rest, body = rest[: len(rest) // 2], Broken
        return {"Body": body(rest), "ContentRange": f"bytes {start}-{len(data)}/{len(data)}"}

    def _list_objects_v2(self, Prefix: str, MaxKeys: int, Delimiter: str | None = None,
                         ContinuationToken: str = "") -> Any:  # fmt: skip
        after = Prefix + ContinuationToken
        names = sorted(key for key in self.objects if key.startswith(Prefix))
        if Delimiter:
            cut = (name[len(Prefix) :].partition(Delimiter) for name in names)
            names = sorted({Prefix + head + mark for head, mark, _ in cut})
        page = [name for name in names if name > after or not ContinuationToken][:MaxKeys]
        more = bool(page) and page[-1] != names[-1]
        answer: dict[str, Any] = {
            "Contents": [
                {"Key": name, "Size": len(self.objects[name][0]), "LastModified": NOW}
                for name in page
                if name in self.objects
            ],
            "CommonPrefixes": [{"Prefix": name} for name in page if name.endswith("/")],
            "IsTruncated": more,
        }
        return answer | ({"NextContinuationToken": page[-1][len(Prefix) :]} if more else {})

    def _delete_objects(self, Delete: Any) -> Any:
        for one in Delete["Objects"]:
            self.objects.pop(one["Key"], None)
        return {}

    def _delete_object(self, Key: str) -> Any:
        self.objects.pop(Key, None)
        return {}

    def _create_multipart_upload(self, Key: str, ChecksumAlgorithm: str = "") -> Any:
        self._number += 1
        self.uploads[f"upload-{self._number}"] = Upload(Key)
        return {"UploadId": f"upload-{self._number}"}

    def _upload(self, upload: str) -> Upload:
        if upload not in self.uploads:
            raise Refusal("NoSuchUpload", 404)
        return self.uploads[upload]

    def _upload_part(self, Key: str, UploadId: str, PartNumber: int, Body: bytes,
                     ChecksumSHA256: str, ContentMD5: str = "") -> Any:  # fmt: skip
        upload = self._upload(UploadId)
        checksum = self._checked(Body, ChecksumSHA256)
        upload.parts[PartNumber] = Body
        return {"ETag": etag(Body)} | _told(checksum)

    def _list_parts(self, Key: str, UploadId: str, PartNumberMarker: int = 0) -> Any:
        parts = [
            {"PartNumber": number, "ETag": etag(data), "Size": len(data)}
            | _told(b64(data) if self.tells_parts else None)
            for number, data in sorted(self._upload(UploadId).parts.items())
        ]
        later = [part for part in parts if part["PartNumber"] > PartNumberMarker]
        page, more = later[:2], len(later) > 2
        return {"Parts": page, "IsTruncated": more} | (
            {"NextPartNumberMarker": page[-1]["PartNumber"]} if more else {}
        )

    def _complete_multipart_upload(self, Key: str, UploadId: str, MultipartUpload: Any) -> Any:
        upload = self._upload(UploadId)
        numbers = [part["PartNumber"] for part in MultipartUpload["Parts"]]
        if any(etag(upload.parts[part["PartNumber"]]) != part["ETag"]
               for part in MultipartUpload["Parts"]):  # fmt: skip
            raise Refusal("InvalidPart", 400)
        parts = [upload.parts[number] for number in numbers]
        told = composite(parts) if self.strict or self.echoes else None
        self.objects[Key] = (b"".join(parts), told)
        del self.uploads[UploadId]
        return {"ETag": "whole"} | _told(told)

    def _abort_multipart_upload(self, Key: str, UploadId: str) -> Any:
        self._upload(UploadId)
        del self.uploads[UploadId]
        return {}

    def _list_multipart_uploads(self, Prefix: str, KeyMarker: str = "",
                                UploadIdMarker: str = "") -> Any:  # fmt: skip
        found = [
            {"Key": upload.key, "UploadId": name, "Initiated": NOW}
            for name, upload in sorted(self.uploads.items())
            if upload.key.startswith(Prefix) and name > UploadIdMarker
        ]
        page = found[:1]
        answer: dict[str, Any] = {"Uploads": page, "IsTruncated": len(found) > 1}
        if len(found) > 1:
            answer |= {"NextKeyMarker": page[-1]["Key"], "NextUploadIdMarker": page[-1]["UploadId"]}
        return answer


def _told(checksum: str | None) -> dict[str, str]:
    return {} if checksum is None else {"ChecksumSHA256": checksum}
