"""Taking connections over from listening sockets into an event loop."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

from vinocast.transports.http.drain import HANDSHAKE_SECONDS, accept_all, stop_handshakes

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

# Connections that one round of the loop takes over at most. Each takes some 0.15 ms, and whoever comes behind two
# hundred that say nothing waits for seven rounds instead of two hundred.
ACCEPTED_A_ROUND = 32
# What a system says that has no descriptor or memory for a connection; the connection stays, to be accepted later.
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
EXHAUSTED_SECONDS = 0.05
# Between two lines of the log about it.
QUIET_SECONDS = 10
log = logging.getLogger(__name__)


class Accepting:
    """Takes over what connects to listening sockets.

    Args:
        listeners: non-blocking.
        adopt: is called with each connection.
    """

    def __init__(self, listeners: Sequence[socket.socket], adopt: Callable[[socket.socket], None]) -> None:
        self.listeners = listeners
        self._adopt = adopt
        self._ended = False
        self._quiet_until = 0.0

    def begin(self) -> None:
        """Take over what comes, in the loop that runs."""
        if self._ended:
            return
        for listener in self.listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def end(self) -> None:
        """Take over every connection that has been made, then listen no more."""
        self._pause()
        self._ended = True
        if self.listeners:
            stop_handshakes(self.listeners)
            await asyncio.sleep(HANDSHAKE_SECONDS)
        for connection in accept_all(self.listeners):
            self._adopt(connection)
        for listener in self.listeners:
            listener.close()

    def _pause(self) -> None:
        for listener in self.listeners:
            asyncio.get_running_loop().remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        """Take over some of what has connected to a socket; the others wait for the next round."""
        for _ in range(ACCEPTED_A_ROUND):
            try:
                connection, _ = listener.accept()
            except OSError as error:  # there is none, or its client has left
                if error.errno in EXHAUSTED:
                    self._wait(error)
                return
            self._adopt(connection)

    def _wait(self, error: OSError) -> None:
        """Leave what connects where it is for a while: at once it would be the same again, and so for ever."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._quiet_until:
            self._quiet_until = loop.time() + QUIET_SECONDS
            log.error("cannot accept a connection: %s; retried while it lasts", error.strerror)
        self._pause()
        loop.call_later(EXHAUSTED_SECONDS, self.begin)
