"""uvicorn's HTTP/1.1 connection, but for how far it reads ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle


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
    """Reads on only for a body that is not complete, or for the next request once this one is answered."""

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        cycle: RequestResponseCycle | None = self._connection.cycle
        if cycle is None or cycle.more_body or cycle.response_complete:
            super().resume_reading()
