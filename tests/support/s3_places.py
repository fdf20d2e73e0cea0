"""Where a test keeps its objects in a server, and what it looks at there by itself."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from support.s3_servers import Server


@dataclass(frozen=True)
class Place:
    """A bucket and a prefix in it (without a slash at its end; empty for the whole bucket)."""

    server: Server
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """The place as a user writes it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @cached_property
    def client(self) -> Any:
        """A boto3 client at the server itself, past any proxy, that asks once."""
        return self.server.client()

    def full(self, key: str) -> str:
        """Return an object's key in the bucket."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def keys(self) -> list[str]:
        """Return the keys of all objects, relative to the place."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.full("")
        )
        skipped = len(self.full(""))
        return [one["Key"][skipped:] for page in pages for one in page.get("Contents", [])]

    def put(self, key: str, data: bytes, **headers: Any) -> Any:
        """Store bytes with one request."""
        return self.client.put_object(Bucket=self.bucket, Key=self.full(key), Body=data, **headers)

    def read(self, key: str, **headers: Any) -> bytes:
        """Return an object's bytes."""
        answer = self.client.get_object(Bucket=self.bucket, Key=self.full(key), **headers)
        data: bytes = answer["Body"].read()
        return data

    def uploads(self) -> list[tuple[str, str]]:
        """Return key and id of each upload that was begun and not completed."""
        answer = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=self.full(""))
        skipped = len(self.full(""))
        return [(one["Key"][skipped:], one["UploadId"]) for one in answer.get("Uploads", [])]

    def spoil(self, key: str, at: int = 0) -> None:
        """Flip a bit of an object in the store, so that the store believes what it now has."""
        data = bytearray(self.read(key))
        data[at] ^= 1
        self.put(key, bytes(data))

    def remove_bucket(self) -> None:
        """Remove the bucket with all that is in it."""
        for key in self.keys():
            self.client.delete_object(Bucket=self.bucket, Key=self.full(key))
        for key, upload in self.uploads():
            self.client.abort_multipart_upload(
                Bucket=self.bucket, Key=self.full(key), UploadId=upload
            )
        self.client.delete_bucket(Bucket=self.bucket)
