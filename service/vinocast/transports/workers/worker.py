"""One of several HTTP processes behind one port: serves the connections that its parent hands to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any

from vinocast.dataplane import DataPlane
from vinocast.errors import SetupError
from vinocast.ops import OPS
from vinocast.process.native import leave_native_threads
from vinocast.transports.http.accepting import ACCEPTED_A_ROUND
from vinocast.transports.http.server import Server, run_server
from vinocast.transports.http.welcome import commands

if TYPE_CHECKING:
    from vinocast.settings import HttpSettings

# What a worker tells its parent: it serves; its default model answers, which begins a message with what to try; its
# event loop turns; its models are as their folders have them now; it ends, and takes what it is sent until the parent
# closes the channel. Anything else is why it cannot go on.
LIVE, READY, ANSWER, RELOADED, LEAVING = b"live", b"ready\n", b"answer", b"reloaded", b"leaving"
# What the parent sends: something along with a connection's descriptor, or a question whether the event loop turns.
CONNECTION, QUESTION = b"+", b"?"
# How long the parent may take to close the channel: two of its ticks, and to spare.
PARTING_SECONDS = 2.8
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
        self._parted = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:  # noqa: ARG002 - uvicorn's signature
        await super().startup()
        asyncio.get_running_loop().add_reader(self._channel, self._receive)
        self._tell(LIVE)

    def announce(self) -> None:
        """Tell the parent, and what it can say to try: it has no model to know by."""
        self._tell(READY + commands(self.plane, self._settings).encode())

    def reloaded(self) -> None:
        """Tell the parent that what was to be reloaded is."""
        self._tell(RELOADED)

    def _tell(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # the parent is gone, as will be seen
            self._channel.send(message)

    def _receive(self) -> None:
        """Take over or answer what has come, as much as a round of the loop has time for."""
        for _ in range(ACCEPTED_A_ROUND):
            try:
                data, descriptors, _, _ = socket.recv_fds(self._channel, len(CONNECTION), 1)
            except BlockingIOError:
                return
            except ConnectionError:  # the parent was killed before it had read all that it was told
                data, descriptors = b"", []
            self._take(data, descriptors)
            if not data:
                return

    def _take(self, data: bytes, descriptors: list[int]) -> None:
        """Take a connection over or answer; the end of the channel is the end of what comes, or of the parent."""
        if data == QUESTION:
            self._tell(ANSWER)
        elif not data:
            if not self.should_exit:
                log.warning("the parent process is gone")
            asyncio.get_running_loop().remove_reader(self._channel)
            self._parted.set()
            self.should_exit = True
        for descriptor in descriptors:
            self.adopt(socket.socket(fileno=descriptor))

    async def _stop_listening(self) -> None:
        """Take over every connection that the parent has sent."""
        self._tell(LEAVING)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PARTING_SECONDS):
                await self._parted.wait()
        asyncio.get_running_loop().remove_reader(self._channel)
        await self.adopted()
