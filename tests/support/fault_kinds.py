"""What each kind of fault does to an exchange; nothing, where it has no meaning for the request."""

from collections.abc import Callable, Iterator

from support.fault_answers import REFUSALS, empty_listing
from support.fault_exchange import Change, Exchange, Listings
from support.fault_plan import Kind
from support.http_wire import Head, Piece

_LISTINGS = ("list", "list uploads", "list parts")
_WRITES = ("put", "complete upload")
_OWN_ANSWERS = (Kind.ERROR_500, Kind.SLOW_DOWN_503, Kind.THROTTLED_429, Kind.EXPIRED_403)


class Faults:
    """The faults, for a proxy that remembers listings and stalls so long."""

    def __init__(self, listings: Listings, wait_for_end: Callable[[Exchange], None]) -> None:
        self._listings = listings
        self._wait_for_end = wait_for_end

    def apply(self, kind: Kind, exchange: Exchange) -> None:
        """Let a fault do what it does; what it leaves of the exchange is passed on unspoiled."""
        if kind in _OWN_ANSWERS:
            _refuse(kind, exchange)
        else:
            getattr(self, f"_{kind.value}")(exchange)
        finish(exchange)

    @staticmethod
    def _drop_before(exchange: Exchange) -> None:
        exchange.hit()
        exchange.drain()
        exchange.close()

    @staticmethod
    def _drop_after(exchange: Exchange) -> None:
        exchange.hit()
        exchange.forward()
        exchange.drop_answer(exchange.answer())
        exchange.close()

    @staticmethod
    def _reset_in_request_body(exchange: Exchange) -> None:
        if exchange.head.request_has_body:
            exchange.hit()
            length = exchange.head.length
            exchange.forward_part(1 if length is None else length // 2)

    @staticmethod
    def _reset_in_response_body(exchange: Exchange) -> None:
        _cut(exchange, exchange.abort)

    @staticmethod
    def _truncated_body(exchange: Exchange) -> None:
        _cut(exchange, exchange.close)

    def _stall_in_response(self, exchange: Exchange) -> None:
        exchange.hit()
        exchange.forward()
        head = exchange.answer()
        if head.answer_has_body(exchange.request.verb):
            exchange.pass_on_part(head)
        else:
            exchange.drop_answer(head)
        self._wait_for_end(exchange)
        exchange.abort()

    @staticmethod
    def _not_found_then_ok(exchange: Exchange) -> None:
        if exchange.request.operation in ("get", "head"):
            _replace_success(Kind.NOT_FOUND, exchange)

    @staticmethod
    def _precondition_412(exchange: Exchange) -> None:
        if exchange.request.operation in _WRITES:
            _replace_success(Kind.PRECONDITION_412, exchange)

    @staticmethod
    def _conflict_409(exchange: Exchange) -> None:
        if exchange.request.verb not in ("GET", "HEAD"):
            _refuse(Kind.CONFLICT_409, exchange)

    @staticmethod
    def _flip_up(exchange: Exchange) -> None:
        if exchange.head.request_has_body:
            exchange.hit()
            is_framed = bool(exchange.head.get("x-amz-decoded-content-length"))
            exchange.forward(_flip_after_line if is_framed else _flip(_middle(exchange.head)))

    @staticmethod
    def _flip_down(exchange: Exchange) -> None:
        exchange.forward()
        head = exchange.answer()
        verb = exchange.request.verb
        if verb == "GET" and head.status < 300 and head.answer_has_body(verb):
            exchange.hit()
            exchange.pass_on(head, _flip(_middle(head)))
        else:
            exchange.pass_on(head)

    @staticmethod
    def _wrong_etag(exchange: Exchange) -> None:
        exchange.forward()
        head = exchange.answer()
        if head.get("ETag"):
            exchange.hit()
            other = ("ETag", '"0123456789abcdef0123456789abcdef"')
            head = Head(head.first_line, (*head.without("ETag").headers, other))
        exchange.pass_on(head)

    def _stale_listing(self, exchange: Exchange) -> None:
        if is_listing(exchange):
            exchange.hit()
            exchange.drain()
            known = self._listings.get(exchange.request)
            exchange.reply_xml(empty_listing(exchange.request) if known is None else known)

    @staticmethod
    def _duplicate(exchange: Exchange) -> None:
        exchange.hit()
        exchange.forward_twice()


def finish(exchange: Exchange) -> None:
    """Pass on what nothing has happened to yet."""
    if exchange.is_answered:
        return
    if not exchange.is_forwarded:
        exchange.forward()
    exchange.pass_on(exchange.answer())


def finish_and_remember(exchange: Exchange, listings: Listings) -> None:
    """Pass on a listing, and keep what it says."""
    exchange.forward()
    head = exchange.answer()
    said: list[bytes] = []
    exchange.pass_on(head, _noting(said))
    if head.status == 200:
        listings.keep(exchange.request, b"".join(said))


def is_listing(exchange: Exchange) -> bool:
    """Return whether a request asks for what there is."""
    return exchange.request.operation in _LISTINGS


def _refuse(kind: Kind, exchange: Exchange) -> None:
    exchange.hit()
    exchange.drain()
    exchange.reply(REFUSALS[kind])


def _replace_success(kind: Kind, exchange: Exchange) -> None:
    """Let the server act, and if it did as it was asked, answer otherwise."""
    exchange.forward()
    head = exchange.answer()
    if head.status >= 300:
        exchange.pass_on(head)
        return
    exchange.hit()
    exchange.drop_answer(head)
    exchange.reply(REFUSALS[kind])


def _cut(exchange: Exchange, end: Callable[[], None]) -> None:
    """Pass on half of an answer's body, and end the connection."""
    exchange.forward()
    head = exchange.answer()
    if head.answer_has_body(exchange.request.verb):
        exchange.hit()
        exchange.pass_on_part(head)
        end()
    else:
        exchange.pass_on(head)


def _middle(head: Head) -> int:
    return (head.length or 0) // 2


def _flip(at: int) -> Change:
    """Return what flips the lowest bit of the data byte with this number."""

    def change(pieces: Iterator[Piece]) -> Iterator[Piece]:
        begin = 0
        for data, is_data in pieces:
            here = at - begin
            if is_data and 0 <= here < len(data):
                yield data[:here] + bytes([data[here] ^ 1]) + data[here + 1 :], True
            else:
                yield data, is_data
            begin += len(data) if is_data else 0

    return change


def _flip_after_line(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Flip a bit of the first byte behind the first line end: data, where aws-chunked frames it."""
    is_done = False
    for data, is_data in pieces:
        at = data.find(b"\r\n") + 2
        if is_data and not is_done and 2 <= at < len(data):
            is_done = True
            yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], True
        else:
            yield data, is_data


def _noting(said: list[bytes]) -> Change:
    """Return what notes the data that comes by."""

    def change(pieces: Iterator[Piece]) -> Iterator[Piece]:
        for data, is_data in pieces:
            if is_data:
                said.append(data)
            yield data, is_data

    return change
