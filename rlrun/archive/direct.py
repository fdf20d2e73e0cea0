"""Requests that carry bytes, sent the short way: what boto3 does around each costs more than it.

boto3 tells by its own requests where a bucket is and how it signs for it, redirects and virtual
hosts included; what is sent here goes to the same place with the same keys, signed and carried by
botocore, and its answer is read by botocore.  Only its models of operations are left out.
"""

import base64
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore import auth, xform_name
from botocore.awsrequest import AWSRequest
from botocore.endpoint import EndpointCreator
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError, create_parser

from rlrun.archive.bodies import PIECE_BYTES, Body

_CHECKSUM = "x-amz-checksum-sha256"
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/s3/aws4_request")
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
]


class SealedAuth(auth.S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signature version 4 of S3 that takes a body's hash from its checksum header."""

    def payload(self, request: Any) -> str:
        """Return the hash of the body in hex: a store refuses a body that has another."""
        return base64.b64decode(request.headers[_CHECKSUM]).hex()


@dataclass(frozen=True, slots=True)
class Address:
    """Where boto3 finds a bucket, and the region that it signs for."""

    url: str  # the keys come behind it
    region: str
    agent: str


class DirectClient:
    """A client of boto3's for one bucket, whose operations that carry bytes are these.

    Safe from any thread.  Parameters are boto3's, of which these take what a push needs.
    """

    def __init__(self, client: Any, http: Any, credentials: Callable[[], Any]) -> None:
        self._client, self._http, self._credentials = client, http, credentials
        self._parser = create_parser(client.meta.service_model.resolved_protocol)
        self._address: Address | None = None
        client.meta.events.register_last("before-send.s3.ListObjectsV2", self._hear)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._client.close()

    def put_object(self, **params: Any) -> Any:
        """Store an object: Bucket, Key, Body, ChecksumSHA256, perhaps ContentMD5."""
        return self._put("PutObject", {}, params)

    def upload_part(self, **params: Any) -> Any:
        """Store a part: UploadId and PartNumber, and what `put_object` takes."""
        query = {"partNumber": str(params["PartNumber"]), "uploadId": params["UploadId"]}
        return self._put("UploadPart", query, params)

    def _hear(self, request: Any, **_: Any) -> None:
        """Note where boto3 finds the bucket, each time anew: it may have been redirected."""
        scope = _SCOPE.search(_text(request.headers.get("Authorization", "")))
        if scope:
            url = request.url.partition("?")[0].rstrip("/")
            self._address = Address(url, scope[1], _text(request.headers["User-Agent"]))

    def _put(self, operation: str, query: dict[str, str], params: Mapping[str, Any]) -> Any:
        if self._address is None:  # a push lists first, so that this is for others
            self._client.list_objects_v2(Bucket=params["Bucket"], Prefix=params["Key"], MaxKeys=1)
        address = self._address
        if address is None:  # a kind of bucket that is signed for otherwise
            return getattr(self._client, xform_name(operation))(**params)
        request = _request(address, query, params)
        found = self._credentials()
        if found is None:
            raise NoCredentialsError
        SealedAuth(found.get_frozen_credentials(), "s3", address.region).add_auth(request)
        return self._answer(operation, self._http.send(request.prepare()))

    def _answer(self, operation: str, response: Any) -> dict[str, str]:
        """Return what an answer says; ClientError if that is an error."""
        if response.status_code >= 300:
            whole = {
                "status_code": response.status_code,
                "headers": response.headers,
                "body": response.content,
            }
            shape = self._client.meta.service_model.operation_model(operation).output_shape
            raise ClientError(self._parser.parse(whole, shape), operation)
        if "ETag" not in response.headers:
            raise ResponseParserError(f"an answer to {operation} without an ETag")
        told = {"ETag": response.headers["ETag"], "ChecksumSHA256": response.headers.get(_CHECKSUM)}
        return {name: value for name, value in told.items() if value is not None}


def http_session(
    client: Any, *, connections: int, timeouts: tuple[float, float], verify: str | None
) -> Any:
    """Return what carries requests to a client's endpoint, by its proxies and certificates."""
    endpoint = EndpointCreator(client.meta.events).create_endpoint(
        client.meta.service_model,
        client.meta.region_name,
        client.meta.endpoint_url,
        verify=verify,
        timeout=timeouts,
        max_pool_connections=connections,
        socket_options=_SOCKET_OPTIONS,
    )
    return endpoint.http_session


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _request(address: Address, query: dict[str, str], params: Mapping[str, Any]) -> AWSRequest:
    body: Body = params["Body"]
    body.seek(0)  # it may have been sent before
    headers = {
        "User-Agent": address.agent,
        "Content-Length": str(len(body)),
        _CHECKSUM: params["ChecksumSHA256"],
    }
    if "ContentMD5" in params:
        headers["Content-MD5"] = params["ContentMD5"]
    return AWSRequest(
        method="PUT",
        url=f"{address.url}/{quote(params['Key'], safe='/~')}",
        params=query,
        data=body.pieces() if len(body) > PIECE_BYTES else body.read(),
        headers=headers,
    )
