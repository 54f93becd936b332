"""Listening sockets, and uvicorn's HTTP/1.1 connection but for how far it reads ahead."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

BACKLOG = 2048


def listen(host: str, port: int) -> list[socket.socket]:
    """Return a non-blocking listening socket for each address of a host; raises OSError when one cannot be had."""
    listeners: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted sockets inherit it. With Nagle's algorithm a reply waits up to 40 ms for the client's last ACK.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


class Connection(H11Protocol):
    """A connection that takes in no more than the request at hand and what one read brought with it.

    A client may send its next requests before it has read a reply. uvicorn stops reading then, but reads on whenever a
    body is asked for, also one it holds already: each request lets in more than it consumes, without a limit.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Take the connection over."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self)


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
