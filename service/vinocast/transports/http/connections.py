"""Listening sockets, and uvicorn's HTTP/1.1 connection but for how it reads requests and what it says of bad HTTP."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from vinocast.errors import InvalidRequestError, SetupError
from vinocast.transports.http.bodies import DISCARD_SECONDS, MOST_DISCARDED_BYTES
from vinocast.transports.http.messages import Chunks, Head, MalformedError, end_of_head, parse_head
from vinocast.transports.http.responses import refusal

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

BACKLOG = 2048
CONTINUE = b"HTTP/1.1 100 "
MOST_JOINED_BYTES = 1 << 18
# What a system says of an address whose family is switched off, which may stand in /etc/hosts all the same.
FAMILY_OFF = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
# uvicorn's, for what goes wrong here; of what a client does wrong, it learns itself and the log does not.
log = logging.getLogger("uvicorn.error.connection")
log.setLevel(logging.ERROR)


def listen(host: str, port: int) -> list[socket.socket]:
    """Return a non-blocking listening socket for each address of the host; raises SetupError when none can be had.

    The address ``::`` alone takes IPv4 as well.
    """
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:  # of what can be the name of no host
        raise _cannot_listen(host, port, socket.gaierror(socket.EAI_NONAME, "no name of a host")) from None
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    families = {family for family, *_ in addresses}
    listeners: list[socket.socket] = []
    off: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        try:
            listeners.append(_listener(family, kind, protocol, address, alone=len(families) == 1))
        except OSError as error:
            if error.errno in FAMILY_OFF and len(families) > 1:
                off = error
                continue
            for listener in listeners:
                listener.close()
            raise _cannot_listen(host, port, error) from None
    if not listeners and off:
        raise _cannot_listen(host, port, off)
    return listeners


def _listener(family: int, kind: int, protocol: int, address: tuple[Any, ...], *, alone: bool) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it. With Nagle's algorithm a reply waits up to 40 ms for the client's last ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not alone)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> SetupError:
    reason = error.strerror
    if ":" in host and error.errno in {*FAMILY_OFF, socket.EAI_ADDRFAMILY}:
        reason = f"{reason}: no such address here, or IPv6 is off; 0.0.0.0 is every IPv4 address"
    return SetupError(f"cannot listen on {host}:{port} ({reason}): choose another --port or --host")


def url_of(listener: socket.socket) -> str:
    """Return the address of a listening socket, with the port that was bound: for --port 0 not what was asked for."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Connection(HttpToolsProtocol):
    """A connection that takes in no more than the request at hand and what one read brought with it.

    Only what uvicorn does once a request is read is uvicorn's: it would read requests ahead without a limit, heads of
    any size, and no body behind an offered upgrade.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = log
        # What has come and is not yet read; of the request at hand, what its body still lacks.
        self.unread = b""
        self._missing = 0
        self._chunks: Chunks | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Take the connection over."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take in what has come, as far as the request at hand goes."""
        self.unread += data
        self._read()

    def on_response_complete(self) -> None:
        """Go on with what has come behind the request."""
        self._joining.flush()  # what has no body
        super().on_response_complete()
        if not self.transport.is_closing():
            self._read()

    def _await_head(self) -> None:
        """Close the connection unless the head of a request has come before an idle one is given up."""
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _read(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        try:
            while self.unread:
                if self._missing:
                    self._read_known_length()
                elif self._chunks is not None:
                    self._read_chunks(self._chunks)
                elif cycle is None or cycle.response_complete:
                    end = end_of_head(self.unread)
                    if end is None:
                        return
                    cycle = self._begin(parse_head(self.unread[:end]), end)
                elif cycle.keep_alive:
                    self.flow.pause_reading()
                    return
                else:  # the connection ends with this request, whatever comes
                    self.unread = b""
        except MalformedError as error:
            self._refuse(error)

    def _begin(self, head: Head, end: int) -> RequestResponseCycle:
        """Hand a request to the application, with its body to come."""
        self._unset_keepalive_if_required()
        self.unread = self.unread[end:]
        self._missing = head.length
        self._chunks = Chunks() if head.chunked else None
        raw_path, _, query = head.target.partition(b"?")
        path = raw_path.decode()
        scope: HTTPScope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": head.version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": head.method,
            "root_path": self.root_path,
            "path": self.root_path + (unquote(path) if "%" in path else path),
            "raw_path": self.root_path.encode() + raw_path,
            "query_string": query,
            "headers": list(head.headers),
            "state": self.app_state.copy(),
        }
        self._joining = _Joining(self.transport)
        cycle = RequestResponseCycle(
            scope=scope,
            transport=self._joining,  # type: ignore[arg-type]  # of which it needs no more
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=head.expects_continue,
            keep_alive=head.keep_alive,
            on_response=self.on_response_complete,
        )
        self.cycle = cycle
        if not head.length and not head.chunked:
            self._pass_on(b"", complete=True)
        task = self.loop.create_task(cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        return cycle

    def _read_known_length(self) -> None:
        body, self.unread = self.unread[: self._missing], self.unread[self._missing :]
        self._missing -= len(body)
        self._pass_on(body, complete=not self._missing)

    def _read_chunks(self, chunks: Chunks) -> None:
        body, self.unread = chunks.take(self.unread)
        if chunks.complete:
            self._chunks = None
        self._pass_on(body, complete=chunks.complete)

    def _pass_on(self, body: bytes, *, complete: bool) -> None:
        """Give the application a piece of the body, unless it has answered without it."""
        cycle = self.cycle
        if cycle.response_complete or not (body or complete):
            return
        cycle.body += body
        cycle.more_body = not complete
        if len(cycle.body) > HIGH_WATER_LIMIT and not complete:
            self.flow.pause_reading()
        cycle.message_event.set()

    def _refuse(self, error: MalformedError) -> None:
        """Answer what is no HTTP/1.1 with the envelope, then let the rest go by so that the client reads the answer."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._chunks is None or not self.cycle.response_started:  # else a reply has begun, and it ends here
            body = refusal(InvalidRequestError(str(error)))
            headers = [
                *self.server_state.default_headers,
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            lines = b"".join(b"%s: %s\r\n" % header for header in headers)
            self.transport.write(STATUS_LINE[error.status] + lines + b"\r\n" + body)
        if cycle is not None and not cycle.response_complete:  # the body has failed: nothing is left to do
            cycle.disconnected = True
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()
            self.flow.resume_writing()  # what waits for room waits no more
        self._unset_keepalive_if_required()
        self.unread = b""
        self.connections.discard(self)
        self.transport.set_protocol(_Discard(self.transport, self.loop))


class _Discard(asyncio.Protocol):
    """Takes in what a refused client still sends, for a while: a connection closed on it would be all it sees."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._left = MOST_DISCARDED_BYTES
        self._timer = loop.call_later(DISCARD_SECONDS, transport.close)
        transport.write_eof()
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Count what is thrown away."""
        self._left -= len(data)
        if self._left < 0:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the time limit."""
        self._timer.cancel()


class _Joining:
    """A transport that sends the head of a response with the first piece of its body: a system call takes 40 us."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._joined = False
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Hold the head back until a piece of the body comes; send everything else at once."""
        if self._joined or data.startswith(CONTINUE):
            self._transport.write(data)
        elif self._head is None:
            self._head = data
        elif len(data) > MOST_JOINED_BYTES:  # to copy it would take longer
            self.flush()
            self._transport.write(data)
        else:
            self._head += data
            self.flush()

    def flush(self) -> None:
        """Send what is held back."""
        self._joined = True
        if self._head is not None:
            self._transport.write(self._head)
            self._head = None

    def close(self) -> None:
        """Close the connection once all is sent."""
        self.flush()
        self._transport.close()


class _Flow(FlowControl):
    """Reads on only for a body that is not complete, or for the next request once this one is answered.

    And while nothing has come behind the request at hand: only who reads sees that its client has left.
    """

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        if not self.read_paused:
            return
        cycle: RequestResponseCycle | None = self._connection.cycle
        if cycle is None or cycle.more_body or cycle.response_complete or not self._connection.unread:
            super().resume_reading()
