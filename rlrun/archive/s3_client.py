"""The client of an S3 store: boto3's, told to leave retries and checksums to us.

What carries bytes goes the short way of `direct`; a plain client sends them as boto3 does.  The
debug log, which holds session tokens, is off.  Whoever imports this module has boto3.
"""

import base64
import hashlib
import logging
import os
from collections.abc import Callable
from typing import Any

import botocore.credentials
import botocore.session
from botocore.config import Config
from botocore.utils import get_environ_proxies

from rlrun.archive import direct
from rlrun.archive.credentials import Credentials

CONNECT_SECONDS = 20.0  # also what each piece of a body may take
READ_SECONDS = 20.0
_LOGGERS = ("boto3", "botocore", "urllib3", "s3transfer")


def connect(
    boto3: Any,
    credentials: Credentials,
    *,
    connections: int,
    timeouts: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    is_plain: bool = False,
) -> Any:
    """Return a client for that many calls at once, on one bucket.

    A store at an endpoint of its own is addressed by paths: boto3 does so by itself, unless
    `~/.aws/config` says `addressing_style = virtual`.
    """
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
        ),
    )
    client.meta.events.register_last("before-call.s3.DeleteObjects", _add_md5)
    if is_plain or get_environ_proxies(client.meta.endpoint_url):
        return client
    pools = direct.pools(
        connections=connections,
        timeouts=timeouts,
        verify=session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE"),
    )
    return direct.DirectClient(client, pools, _keys_of(credentials, session))


def _keys_of(credentials: Credentials, session: Any) -> Callable[[], Any]:
    """Return what tells the keys: those that were given, else what the session finds or renews."""
    if credentials.access_key is None:
        return session.get_credentials  # type: ignore[no-any-return]
    given = botocore.credentials.Credentials(
        credentials.access_key, credentials.secret_key, credentials.session_token
    )
    return lambda: given


def silence() -> None:
    """Keep the loggers of boto3 and what it uses from writing more than warnings."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _add_md5(params: Any, **_: Any) -> None:
    """Add what older stores want of a request that deletes several objects."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
