"""Stands for the network below boto3 and below what goes the short way: keeps all, answers all."""

import io
from dataclasses import dataclass, field
from typing import Any

import pytest
import urllib3


@dataclass
class Sent:
    """A request that would have been sent."""

    method: str
    url: str
    headers: Any
    body: Any

    def text(self, name: str) -> str | None:
        """Return a header as text."""
        value = self.headers.get(name)
        return value.decode() if isinstance(value, bytes) else value

    @property
    def content(self) -> bytes:
        """The whole body."""
        if hasattr(self.body, "read"):
            return bytes(self.body.read())
        return self.body if isinstance(self.body, bytes) else b"".join(self.body or ())


@dataclass
class Answer:
    """What is answered."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"x"'})
    body: bytes = b""


class FakeNetwork:
    """Keeps the requests; each is answered with success, PUTs with what is in `answers` first."""

    def __init__(self) -> None:
        self.requests: list[Sent] = []
        self.answers: list[Answer] = []

    def answer(self, sent: Sent) -> Answer:
        self.requests.append(sent)
        return self.answers.pop(0) if sent.method == "PUT" and self.answers else Answer()

    @property
    def others(self) -> list[Sent]:
        """All requests that list nothing."""
        return [one for one in self.requests if "list-type=2" not in one.url]

    @property
    def puts(self) -> list[Sent]:
        return [one for one in self.requests if one.method == "PUT"]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from botocore.awsrequest import AWSResponse, HeadersDict
        from botocore.httpsession import URLLib3Session

        class Raw(io.BytesIO):
            def stream(self, **_: Any) -> Any:
                return iter([self.read()])

        def send(_self: Any, request: Any) -> Any:
            sent = Sent(request.method, request.url, request.headers, request.body)
            found = self.answer(sent)
            return AWSResponse(sent.url, found.status, HeadersDict(found.headers), Raw(found.body))

        def urlopen(
            pool: Any, method: str, target: str, *, headers: Any, body: Any, **_: Any
        ) -> Any:
            url = f"{pool.scheme}://{headers['Host']}{target}"
            found = self.answer(Sent(method, url, urllib3.HTTPHeaderDict(headers), body))
            return urllib3.HTTPResponse(found.body, found.headers, found.status)

        monkeypatch.setattr(URLLib3Session, "send", send)
        monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", urlopen)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    found = FakeNetwork()
    found.install(monkeypatch)
    return found
