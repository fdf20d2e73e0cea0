"""A small HTTP/1.1 proxy on loopback that spoils requests, or their answers, as it was planned.

It passes heads (with the client's Host, so that signatures hold) and bodies on as they are, piece
by piece, keeps connections on both sides, and numbers requests as their first bytes arrive.
"""

import socket
import threading
from typing import Self
from urllib.parse import urlsplit

from support.fault_exchange import Exchange
from support.fault_kinds import Faults, finish, finish_and_remember, is_listing
from support.fault_plan import Kind, Plan, Request
from support.http_wire import BrokenWireError, Wire

_LOOPBACK = "127.0.0.1"
_BACKLOG = 256
_CONNECT_SECONDS = 10
_SIGNATURE = "X-Amz-"  # arguments of a signed address: other ones each time


class FaultProxy:
    """A proxy in front of one server; a context manager that stops it."""

    def __init__(self, endpoint: str, plan: Plan | None = None, *, stall_seconds: float = 30):
        self._server_address = (urlsplit(endpoint).hostname, urlsplit(endpoint).port)
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._is_stopped = False
        self.restart(plan or Plan())
        self._listener = socket.create_server((_LOOPBACK, 0), backlog=_BACKLOG)
        self.endpoint = f"http://{_LOOPBACK}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, name="fault-proxy", daemon=True)
        self._thread.start()

    def restart(self, plan: Plan) -> None:
        """Begin a new run: requests count from 0 again, nothing is remembered."""
        with self._lock:
            self._run = _Run(plan)

    @property
    def requests(self) -> list[Request]:
        """All requests of this run, in the order in which they arrived."""
        return list(self._run.requests)

    @property
    def num_applied(self) -> int:
        """How many requests of this run a fault did something to."""
        return sum(request.applied for request in self.requests)

    def count(self, *operations: str) -> int:
        """Return how many requests of this run were of one of these operations."""
        return sum(request.operation in operations for request in self.requests)

    def stop(self) -> None:
        """Close every connection, and the port."""
        with self._lock:
            self._is_stopped = True
            sockets = list(self._sockets)
        for one in (self._listener, *sockets):
            _shut(one)
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        while not self._is_stopped:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                continue  # stopped, or the client is gone already
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _hold(self, connection: socket.socket) -> Wire:
        """Remember a socket, to shut it when the proxy is stopped."""
        with self._lock:
            self._sockets.add(connection)
            if self._is_stopped:
                _shut(connection)
        return Wire(connection)

    def _release(self, wire: Wire) -> None:
        with self._lock:
            self._sockets.discard(wire.socket)
        wire.close()

    def _serve(self, connection: socket.socket) -> None:
        client = self._hold(connection)
        server = _Upstream(self)
        try:
            while client.wait() and self._serve_one(client, server):
                pass
        except (OSError, BrokenWireError, ValueError):
            client.reset()  # one of the two is gone: so is the other
        finally:
            server.close()
            self._release(client)

    def _serve_one(self, client: Wire, server: "_Upstream") -> bool:
        """Serve a request; False if the client's connection is over."""
        run = self._run
        request = run.begin(self._lock)
        if request.fault == Kind.REFUSE:
            verb, _, rest = client.peek_line().partition(" ")
            request.describe(rest.partition(" ")[0], verb)
            request.applied = True
            client.reset()
            return False
        head = client.read_head()
        verb, target, _ = head.first_line.split(" ")
        request.describe(target, verb)
        exchange = Exchange(client, head, request, server.open)
        if request.fault is not None:
            Faults(run, self._wait_for_end).apply(request.fault, exchange)
        elif run.plan.remembers_listings and is_listing(exchange):
            finish_and_remember(exchange, run)
        else:
            finish(exchange)
        return exchange.is_open

    def _wait_for_end(self, exchange: Exchange) -> None:
        """Say nothing until the client gives up, or for as long as a stall lasts."""
        exchange.client.wait(self._stall_seconds)

    def connect(self) -> Wire:
        """Open a connection to the server."""
        connection = socket.create_connection(self._server_address, timeout=_CONNECT_SECONDS)
        connection.settimeout(None)
        return self._hold(connection)

    def release(self, wire: Wire) -> None:
        """Close a connection to the server."""
        self._release(wire)


class _Upstream:
    """The connection to the server that goes with a client's."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._wire: Wire | None = None

    def open(self) -> Wire:
        """Return the connection, a new one if the server has closed the last."""
        if self._wire is not None and (self._wire.socket.fileno() < 0 or not self._wire.is_idle()):
            self.close()
        if self._wire is None:
            self._wire = self._proxy.connect()
        return self._wire

    def close(self) -> None:
        if self._wire is not None:
            self._proxy.release(self._wire)
            self._wire = None


class _Run:
    """A plan, the requests that came since it holds, and the listings that went by."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.requests: list[Request] = []
        self._listings: dict[tuple[str, frozenset[tuple[str, str]]], bytes] = {}

    def begin(self, lock: threading.Lock) -> Request:
        """Number the next request."""
        with lock:
            index = len(self.requests)
            request = Request(index, fault=self.plan.at(index))
            self.requests.append(request)
            return request

    def get(self, request: Request) -> bytes | None:
        """Return what was last answered to the same question."""
        return self._listings.get(_question(request))

    def keep(self, request: Request, answer: bytes) -> None:
        """Remember an answer."""
        self._listings[_question(request)] = answer


def _question(request: Request) -> tuple[str, frozenset[tuple[str, str]]]:
    asked = request.arguments.items()
    return request.path, frozenset(pair for pair in asked if not pair[0].startswith(_SIGNATURE))


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already, or never connected
