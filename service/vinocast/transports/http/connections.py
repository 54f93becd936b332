"""Listening sockets, and uvicorn's HTTP/1.1 connection but for how far it reads ahead and what it says of bad HTTP."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from vinocast.errors import InvalidRequestError, SetupError
from vinocast.transports.http.bodies import DISCARD_SECONDS, MOST_DISCARDED_BYTES
from vinocast.transports.http.responses import refusal

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

BACKLOG = 2048
MOST_HEAD_BYTES = 16 * 1024
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


class Connection(H11Protocol):
    """A connection that takes in no more than the request at hand and what one read brought with it.

    A client may send its next requests before it has read a reply. uvicorn stops reading then, but reads on whenever a
    body is asked for, also one it holds already: each request lets in more than it consumes, without a limit.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = log

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Take the connection over."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP/1.1 with the envelope, then let the rest go by so that the client reads the answer."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else a reply has begun, and it ends here
            cause = sys.exception()
            status = cause.error_status_hint if isinstance(cause, h11.RemoteProtocolError) else 400
            what = f"a head of at most {MOST_HEAD_BYTES} bytes" if status == 431 else "HTTP/1.1"
            reason, _, _ = str(cause or msg).partition(": bytearray(")  # behind it stands what the client has sent
            body = refusal(InvalidRequestError(f"expected {what}: {reason}"))
            headers = [
                *self.server_state.default_headers,
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status]),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:  # the body has failed: nothing is left to do
            cycle.disconnected = True
            cycle.message_event.set()
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
        if cycle is None or cycle.more_body or cycle.response_complete or not self._connection.conn.trailing_data[0]:
            super().resume_reading()
