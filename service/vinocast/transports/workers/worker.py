"""One of several HTTP processes behind one port: serves the connections that its parent hands to it."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

from vinocast.dataplane import DataPlane
from vinocast.errors import SetupError
from vinocast.ops import OPS
from vinocast.process.native import leave_native_threads
from vinocast.transports.http.server import Server, run_server
from vinocast.transports.http.welcome import commands

if TYPE_CHECKING:
    from vinocast.settings import HttpSettings

# What a worker tells its parent: it serves; its default model answers, which begins a message with what to try;
# anything else is why it cannot go on.
LIVE, READY = b"live", b"ready\n"
# What the parent sends along with a connection's descriptor, as there must be something.
CONNECTION = b"+"
log = logging.getLogger(__name__)


def run_worker(settings: HttpSettings, channel: socket.socket) -> None:
    """Serve what comes through the channel until SIGTERM or the parent's end; exits with 1 when the model is refused.

    Args:
        settings: those of the service.
        channel: one end of a pair of Unix sockets that keep messages apart; the parent has the other.
    """
    channel.setblocking(False)
    try:
        run_server(_WorkerServer(settings, channel), [])
    except SetupError as error:
        channel.send(str(error).encode())
        leave_native_threads(1)
        raise SystemExit(1) from None
    leave_native_threads(0)


class _WorkerServer(Server):
    """An HTTP server without a listening socket."""

    def __init__(self, settings: HttpSettings, channel: socket.socket) -> None:
        super().__init__(DataPlane(settings, OPS, keeps_streams=False), settings)
        self._channel = channel
        self._adopting: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: Any = None) -> None:  # noqa: ARG002 - uvicorn's signature
        await super().startup(sockets=[])
        asyncio.get_running_loop().add_reader(self._channel, self._receive)
        self._channel.send(LIVE)

    def announce(self) -> None:
        """Tell the parent, and what it can say to try: it has no model to know by."""
        self._channel.send(READY + commands(self.plane, self._settings).encode())

    def _receive(self) -> None:
        """Take a connection over; the end of the channel is the end of the parent."""
        data, descriptors, _, _ = socket.recv_fds(self._channel, len(CONNECTION), 1)
        if not data:
            log.warning("the parent process is gone")
            asyncio.get_running_loop().remove_reader(self._channel)
            self.should_exit = True
        for descriptor in descriptors:
            task = asyncio.get_running_loop().create_task(self._adopt(socket.socket(fileno=descriptor)))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)

    async def _adopt(self, connection: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            options = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
            return self.config.http_protocol_class(**options)

        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        except OSError:  # the client has left on the way
            connection.close()

    async def shutdown(self, sockets: Any = None) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        await super().shutdown(sockets)
