"""HTTP/1.1 as bytes: heads, and bodies that are passed on as they are, piece by piece."""

import contextlib
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

PIECE_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 256 * 1024
_NO_BODY_STATUS = (204, 304)
_NO_LINGERING = struct.pack("ii", 1, 0)

Piece = tuple[bytes, bool]
"""Bytes of a body as they are on the wire, and whether they are data, not the framing of chunks."""


class BrokenWireError(Exception):
    """The other side closed in the middle, or does not speak HTTP/1.1."""


@dataclass(frozen=True)
class Head:
    """The first line of a request or an answer, and its headers in their order."""

    first_line: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the head that these lines are."""
        first_line, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(first_line, tuple((name, value.strip()) for name, _, value in pairs))

    def get(self, name: str, default: str = "") -> str:
        """Return a header, whatever the case of its name."""
        wanted = name.lower()
        return next((value for one, value in self.headers if one.lower() == wanted), default)

    def without(self, name: str) -> "Head":
        """Return the head without a header."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return Head(self.first_line, kept)

    def encoded(self) -> bytes:
        """Return the head as it goes over the wire."""
        lines = [self.first_line, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    @property
    def status(self) -> int:
        """An answer's status."""
        return int(self.first_line.split()[1])

    @property
    def is_last(self) -> bool:
        """Whether the connection is closed after this message."""
        asked = self.get("Connection").lower()
        return asked == "close" or (
            self.first_line.startswith("HTTP/1.0") and asked != "keep-alive"
        )

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks of HTTP's own."""
        return "chunked" in self.get("Transfer-Encoding").lower()

    @property
    def length(self) -> int | None:
        """The length of the body that the head declares."""
        declared = self.get("Content-Length")
        return int(declared) if declared and not self.is_chunked else None

    @property
    def request_has_body(self) -> bool:
        """Whether a body follows this head of a request."""
        return self.is_chunked or bool(self.length)

    def answer_has_body(self, verb: str) -> bool:
        """Whether a body follows this head of an answer to such a request."""
        return verb != "HEAD" and self.status not in _NO_BODY_STATUS and self.length != 0


class Wire:
    """A socket with what was read from it and not yet used."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def is_idle(self) -> bool:
        """Return whether nothing came, not even the end: a kept connection can be used again."""
        return not self._left and not select.select([self.socket], [], [], 0)[0]

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for something to read; False if only the end, or nothing, came."""
        if self._left:
            return True
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        return bool(self.socket.recv(1, socket.MSG_PEEK))

    def peek_line(self) -> str:
        """Return as much of the next line as has arrived, without taking it."""
        data = self._left or self.socket.recv(PIECE_BYTES, socket.MSG_PEEK)
        return data.partition(b"\r\n")[0].decode("latin-1")

    def read_head(self) -> Head:
        """Take the next head."""
        return Head.parse(self._take_until(b"\r\n\r\n"))

    def pieces(self, head: Head, *, until_closed: bool = False) -> Iterator[Piece]:
        """Take the body that follows a head, as it comes."""
        if head.is_chunked:
            yield from self._chunks()
        elif (length := head.length) is not None:
            yield from self._data(length)
        elif until_closed:
            while piece := self._some(PIECE_BYTES):
                yield piece, True

    def _chunks(self) -> Iterator[Piece]:
        while True:
            line = self._take_until(b"\r\n")
            yield line, False
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                break
            yield from self._data(size)
            yield self._take_until(b"\r\n"), False
        while (line := self._take_until(b"\r\n")) != b"\r\n":
            yield line, False
        yield line, False

    def _data(self, length: int) -> Iterator[Piece]:
        while length:
            piece = self._some(min(length, PIECE_BYTES))
            if not piece:
                raise BrokenWireError("closed in a body")
            length -= len(piece)
            yield piece, True

    def _take_until(self, end: bytes) -> bytes:
        while (at := self._left.find(end)) < 0:
            piece = self.socket.recv(PIECE_BYTES)
            if not piece or len(self._left) > _MAX_HEAD_BYTES:
                raise BrokenWireError("closed in a head, or no head at all")
            self._left += piece
        taken, self._left = self._left[: at + len(end)], self._left[at + len(end) :]
        return taken

    def _some(self, num_bytes: int) -> bytes:
        if not self._left:
            return self.socket.recv(num_bytes)
        taken, self._left = self._left[:num_bytes], self._left[num_bytes:]
        return taken

    def close(self) -> None:
        """Close in good order: the other side reads an end, after what was sent."""
        self.socket.close()

    def reset(self) -> None:
        """Close with a reset: the other side's next operation fails."""
        with contextlib.suppress(OSError):  # closed already
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        self.socket.close()
