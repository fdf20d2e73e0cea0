"""One request and its answer on their way through a proxy, in steps that faults come between."""

import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Protocol

from support.fault_answers import Refusal
from support.fault_plan import Request
from support.http_wire import Head, Piece, Wire

MEMORY_BYTES = 2**20  # a body that must be kept goes to a file beyond that

Change = Callable[[Iterator[Piece]], Iterator[Piece]]


class Listings(Protocol):
    """What servers said of their contents before."""

    def get(self, request: Request) -> bytes | None: ...

    def keep(self, request: Request, answer: bytes) -> None: ...


class Exchange:
    """A request whose head was read; `is_open` tells whether the client's connection goes on."""

    def __init__(
        self, client: Wire, head: Head, request: Request, open_server: Callable[[], Wire]
    ) -> None:
        self.client = client
        self.head = head
        self.request = request
        self.is_open = not head.is_last
        self.is_forwarded = False
        self.is_answered = False
        self._open_server = open_server
        self._server: Wire | None = None

    def hit(self) -> None:
        """Take note that the fault does something to this request."""
        self.request.applied = True

    # the request

    def _body(self) -> Iterator[Piece]:
        """Take the request's body; a client that waits to be told to send it is told."""
        if self.head.get("Expect").lower() == "100-continue":
            self.client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        for data, is_data in self.client.pieces(self.head):
            self.request.num_bytes += len(data) if is_data else 0
            yield data, is_data

    def drain(self) -> None:
        """Read the request's body, and forget it."""
        for _ in self._body():
            pass

    def forward(self, change: Change | None = None) -> None:
        """Send the request to the server."""
        self._forward((change or iter)(self._body()))

    def _forward(self, pieces: Iterator[Piece]) -> None:
        self.is_forwarded = True
        self._server = self._open_server()
        self._server.send(self.head.without("Expect").encoded())
        is_listening = True
        for data, _ in pieces:
            try:
                if is_listening:
                    self._server.send(data)
            except OSError:  # it has answered already, or is gone: its answer tells
                is_listening = False

    def forward_part(self, num_bytes: int) -> None:
        """Send the head and so many bytes of the body, then reset both connections."""
        self.is_forwarded = True
        self._server = self._open_server()
        self._server.send(self.head.without("Expect").encoded())
        self._copy(self._body(), self._server, num_bytes)
        self._server.reset()
        self.abort()

    def forward_twice(self) -> None:
        """Deliver the request two times; the answer that remains to be read is the second."""
        with tempfile.SpooledTemporaryFile(MEMORY_BYTES) as kept:
            for data, _ in self._body():
                kept.write(data)
            self._forward(_pieces_of(kept))
            self.drop_answer(self.answer())
            self._forward(_pieces_of(kept))

    # the answer

    def answer(self) -> Head:
        """Read the head of the server's answer."""
        assert self._server is not None
        head = self._server.read_head()
        while head.status < 200:
            head = self._server.read_head()
        return head

    def drop_answer(self, head: Head) -> None:
        """Read the rest of the server's answer, unless it is long, and forget it."""
        assert self._server is not None
        if head.is_last or (head.length or 0) > MEMORY_BYTES:
            self._server.close()
        elif head.answer_has_body(self.request.verb):
            for _ in self._server.pieces(head, until_closed=True):
                pass

    def pass_on(self, head: Head, change: Change | None = None) -> None:
        """Send the client what the server answers."""
        assert self._server is not None
        self._begin_answer(head)
        if head.answer_has_body(self.request.verb):
            for data, _ in (change or iter)(self._server.pieces(head, until_closed=True)):
                self.client.send(data)
        self.is_open = self.is_open and not self._is_last(head)
        if head.is_last:
            self._server.close()

    def _is_last(self, head: Head) -> bool:
        ends_with_connection = head.length is None and not head.is_chunked
        return head.is_last or (ends_with_connection and head.answer_has_body(self.request.verb))

    def pass_on_part(self, head: Head) -> None:
        """Send the client an answer's head and half of its body; of chunks, the first byte."""
        assert self._server is not None
        self._begin_answer(head)
        num_bytes = 1 if head.length is None else head.length // 2
        self._copy(self._server.pieces(head, until_closed=True), self.client, num_bytes)
        self._server.close()
        self.is_open = False

    def reply(self, refusal: Refusal) -> None:
        """Answer in the server's place."""
        self.reply_xml(refusal.body, f"{refusal.status} {refusal.reason}", refusal.headers)

    def reply_xml(self, body: bytes, status: str = "200 OK",
                  headers: tuple[tuple[str, str], ...] = ()) -> None:  # fmt: skip
        """Answer with a document in the server's place."""
        is_head = self.request.verb == "HEAD"
        own = (("Content-Type", "application/xml"), ("Content-Length", str(len(body))))
        head = Head(f"HTTP/1.1 {status}", (*headers, *own))
        self._begin_answer(head, b"" if is_head else body)

    def _begin_answer(self, head: Head, body: bytes = b"") -> None:
        self.is_answered = True
        self.request.status = head.status
        self.client.send(head.encoded() + body)

    def close(self) -> None:
        """Close the client's connection in good order."""
        self.is_answered, self.is_open = True, False
        self.client.close()

    def abort(self) -> None:
        """Reset the client's connection."""
        self.is_answered, self.is_open = True, False
        self.client.reset()

    @staticmethod
    def _copy(pieces: Iterator[Piece], wire: Wire, num_bytes: int) -> None:
        """Send as many pieces as hold so many bytes of data, the last one cut."""
        for data, is_data in pieces:
            part = data[:num_bytes] if is_data else data
            wire.send(part)
            num_bytes -= len(part) if is_data else 0
            if num_bytes <= 0 and is_data:
                return


def _pieces_of(kept: IO[bytes]) -> Iterator[Piece]:
    kept.seek(0)
    while data := kept.read(MEMORY_BYTES):
        yield data, True
