"""What is left of a connection once its client has the last answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from vinocast.transports.http.bodies import MOST_DISCARDED_BYTES

if TYPE_CHECKING:
    from vinocast.transports.http.admission import Guest

# When the service ends, how long what a client still sends behind the last answer is taken in.
LINGER_SECONDS = 1.0


class Discard(asyncio.Protocol):
    """Takes in what an answered client still sends, for a while: a connection closed on it would be all it sees.

    Args:
        transport: from which it comes.
        connection: the one whose place this takes.
        connections: those that the server tells of its end, this one among them.
    """

    def __init__(self, transport: asyncio.Transport, connection: Guest, connections: set[Any]) -> None:
        self._transport = transport
        self._connection = connection
        self._connections = connections
        self._left = MOST_DISCARDED_BYTES
        self._hurried = False
        connections.add(self)
        transport.write_eof()
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Count what is thrown away."""
        self._left -= len(data)
        if self._left < 0:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        self._connections.discard(self)
        self._connection.connection_lost(exc)

    def shutdown(self) -> None:
        """Go on: the client has its answer."""

    def wind_up(self) -> None:
        """Wait less long: the service ends."""
        if not self._hurried:
            self._hurried = True
            self._connection.loop.call_later(LINGER_SECONDS, self._transport.close)

    def give_up(self) -> None:
        """Wait no more."""
        self._transport.close()
