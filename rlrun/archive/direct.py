"""Requests that carry bytes, sent the short way: what boto3 does around each costs more than it.

boto3 tells by its own requests where a bucket is and how it signs for it, redirects and virtual
hosts included; what is sent here goes to the same place with the same keys, by urllib3 as with
boto3, and an answer that is an error is read by botocore.  Where a proxy is in between, and for
buckets that are signed for otherwise, boto3 does it all.
"""

import base64
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from botocore import xform_name
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.httpsession import get_cert_path
from botocore.parsers import ResponseParserError, create_parser

from rlrun.archive import signing
from rlrun.archive.bodies import PIECE_BYTES, Body
from rlrun.archive.signing import Keys, Request

_CHECKSUM = "x-amz-checksum-sha256"
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/s3/aws4_request")
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
]
_OWN_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where boto3 finds a bucket, and the region that it signs for."""

    pool: urllib3.HTTPConnectionPool
    host: str  # with its port unless that is the scheme's own
    path: str  # of the bucket; a key comes behind it
    region: str
    agent: str


class DirectClient:
    """A client of boto3's for one bucket, whose operations that carry bytes are these.

    Safe from any thread.  Parameters are boto3's, of which these take what a push needs.
    """

    def __init__(self, client: Any, pools: urllib3.PoolManager, credentials: Callable[[], Any]):
        self._client, self._pools, self._credentials = client, pools, credentials
        self._parser = create_parser(client.meta.service_model.resolved_protocol)
        self._address: Address | None = None
        self._has_listed = False  # so that the address, or that there is none to go to, is known
        self._asking = threading.Lock()
        self._heard = threading.local()
        client.meta.events.register_last("before-send.s3.ListObjectsV2", self._hear)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def close(self) -> None:
        """Close the connections."""
        self._pools.clear()
        self._client.close()

    def list_objects_v2(self, **params: Any) -> Any:
        """List objects as boto3 does, and note where it found the bucket, each time anew.

        Only an answer proves that: what was sent to another region first is redirected.
        """
        self._heard.address = None
        answer = self._client.list_objects_v2(**params)
        self._address = self._heard.address or self._address
        self._has_listed = True
        return answer

    def put_object(self, **params: Any) -> Any:
        """Store an object: Bucket, Key, Body, ChecksumSHA256, perhaps ContentMD5."""
        return self._put("PutObject", {}, params)

    def upload_part(self, **params: Any) -> Any:
        """Store a part: UploadId and PartNumber, and what `put_object` takes."""
        query = {"partNumber": str(params["PartNumber"]), "uploadId": params["UploadId"]}
        return self._put("UploadPart", query, params)

    def _hear(self, request: Any, **_: Any) -> None:
        """Note where boto3 looks for the bucket; this thread waits for the answer."""
        self._heard.address = None
        scope = _SCOPE.search(_text(request.headers.get("Authorization", "")))
        if scope:
            agent = _text(request.headers["User-Agent"])
            pool = self._pools.connection_from_url(request.url)
            self._heard.address = _address(pool, request.url, scope[1], agent)

    def _put(self, operation: str, query: Mapping[str, str], params: Mapping[str, Any]) -> Any:
        address = self._found_address(params)
        if address is None:
            return getattr(self._client, xform_name(operation))(**params)
        body: Body = params["Body"]
        request = Request(
            "PUT",
            address.host,
            f"{address.path}/{params['Key']}",
            query,
            _headers(address, params),
            base64.b64decode(params["ChecksumSHA256"]).hex(),
        )
        body.seek(0)  # it may have been sent before
        response = address.pool.urlopen(
            "PUT",
            request.target,
            body=body.pieces() if len(body) > PIECE_BYTES else body.read(),
            headers=signing.sign(request, self._keys(), address.region),
            retries=False,
            redirect=False,
            decode_content=False,
        )
        return self._answer(operation, response)

    def _found_address(self, params: Mapping[str, Any]) -> Address | None:
        """Return where the bucket is, None if boto3 is to do it; one thread asks for all of them.

        A push lists first, so that this asks for others, and where keys were renewed meanwhile.
        """
        with self._asking:
            if not self._has_listed:
                self.list_objects_v2(Bucket=params["Bucket"], Prefix=params["Key"], MaxKeys=1)
            return self._address

    def _keys(self) -> Keys:
        """Return the keys as they are now: botocore renews what runs out."""
        found = self._credentials()
        if found is None:
            raise NoCredentialsError
        now = found.get_frozen_credentials()
        return Keys(now.access_key, now.secret_key, now.token)

    def _answer(self, operation: str, response: urllib3.BaseHTTPResponse) -> dict[str, str]:
        """Return what an answer says; ClientError if that is an error."""
        if response.status >= 300:
            whole = {
                "status_code": response.status,
                "headers": response.headers,
                "body": response.data,
            }
            shape = self._client.meta.service_model.operation_model(operation).output_shape
            raise ClientError(self._parser.parse(whole, shape), operation)
        if "ETag" not in response.headers:
            raise ResponseParserError(f"an answer to {operation} without an ETag")
        told = {"ETag": response.headers["ETag"], "ChecksumSHA256": response.headers.get(_CHECKSUM)}
        return {name: value for name, value in told.items() if value is not None}


def pools(
    *, connections: int, timeouts: tuple[float, float], verify: str | None
) -> urllib3.PoolManager:
    """Return what keeps connections, as many as that, and trusts the certificates boto3 trusts."""
    return urllib3.PoolManager(
        maxsize=connections,
        timeout=urllib3.Timeout(connect=timeouts[0], read=timeouts[1]),
        cert_reqs="CERT_REQUIRED",
        ca_certs=get_cert_path(verify or True),
        socket_options=_SOCKET_OPTIONS,
    )


def _address(pool: urllib3.HTTPConnectionPool, url: str, region: str, agent: str) -> Address:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].removesuffix(_OWN_PORTS.get(parts.scheme, ""))
    path = unquote(parts.path.rstrip("/"))
    return Address(pool, host, path, region, agent)


def _headers(address: Address, params: Mapping[str, Any]) -> dict[str, str]:
    headers = {
        "User-Agent": address.agent,
        "Content-Length": str(len(params["Body"])),
        _CHECKSUM: params["ChecksumSHA256"],
    }
    if "ContentMD5" in params:
        headers["Content-MD5"] = params["ContentMD5"]
    return headers


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
