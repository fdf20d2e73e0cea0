"""How a store is reached: keys and endpoint from an env file, else from the standard AWS chain."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from rlrun.errors import ArchiveError, UsageError

DEFAULT_FILE = Path("~/.lambda_s3.env")
CHAIN = "the environment, ~/.aws or the machine's role"
_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT_URL")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_OTHERS_MAY_READ = 0o077


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a connection needs; a value that is None is left to the standard AWS chain.

    The secret values are never part of its text.
    """

    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    profile: str | None = None
    region: str | None = None
    endpoint: str | None = None
    file: Path | None = None

    @property
    def source(self) -> str:
        """Where the keys come from, for sentences."""
        return str(self.file) if self.file and self.access_key else CHAIN

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that no text may show."""
        return tuple(filter(None, (self.secret_key, self.session_token)))

    def reloaded(self) -> "Credentials":
        """Return what the file says by now: someone may have renewed what has expired."""
        return self if self.file is None else _of_file(self.file, self)


def load(file: Path | None, environment: Mapping[str, str]) -> Credentials:
    """Return what an env file says, by default ~/.lambda_s3.env if there is one.

    What the file leaves open is taken from the environment, or left to the AWS chain.  UsageError
    if the file that was asked for is not there, or makes no sense.
    """
    chain = Credentials(
        region=_first(environment, _REGIONS), endpoint=_endpoint(environment, "the environment")
    )
    if file is not None:
        return _of_file(file.expanduser(), chain)
    default = DEFAULT_FILE.expanduser()
    return _of_file(default, chain) if default.is_file() else chain


def warning(credentials: Credentials) -> str | None:
    """Return what the user should know about the file of secrets, None if all is well."""
    file = credentials.file
    if file is None or not file.stat().st_mode & _OTHERS_MAY_READ:
        return None
    return f"{file} holds secrets and others can read it; run 'chmod 600 {shlex.quote(str(file))}'"


def _of_file(file: Path, chain: Credentials) -> Credentials:
    values = _read(file)
    access_key, secret_key = values.get("AWS_ACCESS_KEY_ID"), values.get("AWS_SECRET_ACCESS_KEY")
    if bool(access_key) != bool(secret_key):
        missing = "AWS_SECRET_ACCESS_KEY" if access_key else "AWS_ACCESS_KEY_ID"
        raise UsageError(f"credentials file {file} has no {missing}; add a line {missing}=...")
    return replace(
        chain,
        access_key=access_key,
        secret_key=secret_key,
        session_token=values.get("AWS_SESSION_TOKEN") if access_key else None,
        profile=None if access_key else values.get("AWS_PROFILE"),
        region=_first(values, _REGIONS) or chain.region,
        endpoint=_endpoint(values, str(file)) or chain.endpoint,
        file=file,
    )


def _read(file: Path) -> dict[str, str]:
    """Return the file's values that are not empty."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"credentials file {file} is not there; correct --credentials") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ArchiveError(f"credentials file {file} cannot be read: {reason}; check it") from None
    values = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError(f"line {number} of credentials file {file} is not NAME=VALUE")
        values[match["name"]] = _unquoted(match["value"], number, file)
    return {name: value for name, value in values.items() if value}


def _unquoted(text: str, number: int, file: Path) -> str:
    """Return a value as a shell would read it: quotes removed, a comment behind it too."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        words = [text, ""]  # a quote without its other half
    if len(words) > 1:
        raise UsageError(
            f"line {number} of credentials file {file} has more than one value, or a quote that "
            "is not closed; write NAME='VALUE'"
        )
    return words[0] if words else ""


def _first(values: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((values[name] for name in names if values.get(name)), None)


def _endpoint(values: Mapping[str, str], where: str) -> str | None:
    text = _first(values, _ENDPOINTS)
    if text is None:
        return None
    try:
        split = urlsplit(text)
        is_address = split.scheme in ("http", "https") and bool(split.hostname)
        is_address = is_address and split.port != 0  # a port that is no number raises
    except ValueError:
        is_address = False
    if not is_address or "@" in text:
        raise UsageError(
            f"the S3 endpoint that {where} names is not http://host or https://host, without a "
            "user name and password; correct AWS_ENDPOINT_URL_S3"
        )
    return text.rstrip("/")
