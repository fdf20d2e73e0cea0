"""The smallest thing that a proxy can stand in front of, and its client: no checks, no retries."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "/bucket/some/key"
LISTING = "/bucket?list-type=2&prefix=some"
DATA = bytes(range(256)) * 300  # more than one piece, so that it is passed on in several
_TIMEOUT_SECONDS = 0.3


class TinyStore(ThreadingHTTPServer):
    """Objects by path; every request that was acted on is noted, with the Host that it named."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.acts: list[str] = []
        self.hosts: list[str] = []
        self.num_connections = 0
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def get_request(self) -> Any:
        self.num_connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that a proxy reset is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: TinyStore

    def log_message(self, *_: Any) -> None:
        return

    def _note(self) -> None:
        self.server.acts.append(f"{self.command} {self.path}")
        self.server.hosts.append(self.headers["Host"])

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _answer(self, status: int, body: bytes = b"", *, chunked: bool = False) -> None:
        self._note()
        self.send_response(status)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"its-own"')
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)

    def do_PUT(self) -> None:
        data = self._body()
        if len(data) == int(self.headers.get("Content-Length", len(data))):
            self.server.objects[self.path] = data
            self._answer(200)

    def do_POST(self) -> None:
        self._body()
        self._answer(200, b"<Done/>")

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.path, None)
        self._answer(204)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if "list-type" in parse_qs(parts.query):
            self._answer(200, "\n".join(self.server.objects).encode())
        elif parts.path in self.server.objects:
            self._answer(200, self.server.objects[parts.path], chunked="chunked" in parts.query)
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    do_HEAD = do_GET


@contextmanager
def tiny_store() -> Iterator[TinyStore]:
    """A store that is served while the context lasts."""
    with TinyStore() as store:
        thread = threading.Thread(target=store.serve_forever, args=[0.01], daemon=True)
        thread.start()
        yield store
        store.shutdown()
        thread.join()


class TinyClient:
    """A client that keeps its connection as long as it can."""

    def __init__(self, endpoint: str) -> None:
        port = urlsplit(endpoint).port
        self.connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
        self.etag: str | None = None

    def ask(self, verb: str, target: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        try:
            self.connection.request(verb, target, body, headers)  # type: ignore[arg-type]
            with self.connection.getresponse() as answer:
                self.etag = answer.headers["ETag"]
                return answer.status, answer.read()
        except (HTTPException, OSError):
            self.connection.close()
            raise
