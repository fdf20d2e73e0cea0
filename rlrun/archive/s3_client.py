"""The client of an S3 store: boto3's, told to leave retries and checksums to us, and made lean.

What is changed is changed through botocore's events, for this client only: the hash of a body that
is known already is not computed again to sign it, small bodies go out at once, and the debug log,
which holds session tokens, is off.  Whoever imports this module has boto3.
"""

import base64
import hashlib
import logging
from typing import Any

import botocore.session
from botocore import auth
from botocore.config import Config

from rlrun.archive.bodies import PIECE_BYTES, Body
from rlrun.archive.credentials import Credentials

CONNECT_SECONDS = 20.0  # also what each piece of a body may take
READ_SECONDS = 20.0
_CHECKSUM = "x-amz-checksum-sha256"
_SIGNATURE = "rlrun-s3v4"
_SENDING = ("PutObject", "UploadPart")
_LOGGERS = ("boto3", "botocore", "urllib3", "s3transfer")


class SealedAuth(auth.S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signature version 4 of S3 that takes a body's hash from its checksum header."""

    def payload(self, request: Any) -> str:
        """Return the hash of the body in hex: a store refuses a body that has another."""
        value = request.headers.get(_CHECKSUM)
        if value is None:
            return str(super().payload(request))
        return base64.b64decode(value).hex()


auth.AUTH_TYPE_MAPS[_SIGNATURE] = SealedAuth


def connect(
    boto3: Any,
    credentials: Credentials,
    *,
    connections: int,
    timeouts: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    is_plain: bool = False,
) -> Any:
    """Return a client for that many calls at once; a plain one signs each body as it is."""
    silence()
    session = botocore.session.Session(profile=credentials.profile)
    endpoint = credentials.endpoint or session.get_scoped_config().get("endpoint_url")
    region = credentials.region or session.get_config_variable("region")
    client = boto3.Session(botocore_session=session).client(
        "s3",
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
        endpoint_url=credentials.endpoint,
        region_name=region or ("us-east-1" if endpoint else None),
        config=Config(
            signature_version="s3v4",
            retries={"total_max_attempts": 1},
            max_pool_connections=connections,
            connect_timeout=timeouts[0],
            read_timeout=timeouts[1],
            tcp_keepalive=True,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if endpoint else None,
        ),
    )
    if not is_plain:
        _make_lean(client.meta.events)
    client.meta.events.register_last("before-call.s3.DeleteObjects", _add_md5)
    return client


def silence() -> None:
    """Keep the loggers of boto3 and what it uses from writing more than warnings."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _make_lean(events: Any) -> None:
    for operation in _SENDING:
        events.register(f"choose-signer.s3.{operation}", _choose_signature)
        events.register_last(f"before-send.s3.{operation}", _send_in_pieces)
    events.register_last("before-call.s3", _do_not_ask_first)  # behind who adds the question


def _choose_signature(**_: Any) -> str:
    return _SIGNATURE


def _do_not_ask_first(model: Any, params: Any, **_: Any) -> None:
    """Send bytes without asking whether they are wanted: asking takes a round trip, or a second."""
    if model.name in _SENDING:
        params["headers"].pop("Expect", None)


def _send_in_pieces(request: Any, **_: Any) -> None:
    body = request.body
    if isinstance(body, Body):
        body.seek(0)  # it may have been sent before
        request.body = body.pieces() if len(body) > PIECE_BYTES else body.read()


def _add_md5(params: Any, **_: Any) -> None:
    """Add what older stores want of a request that deletes several objects."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
