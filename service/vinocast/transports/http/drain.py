"""Closing a listening socket without resetting what has connected to it."""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# How long a handshake that has begun may take: a round trip within a data centre and to spare. Who begins one meanwhile
# is refused a second late, when its kernel tries again.
HANDSHAKE_SECONDS = 0.02
# How many connections of a listening socket wait to be accepted, at most.
BACKLOG = 2048
# Linux's, which the socket module does not name.
SO_ATTACH_FILTER = 26
# Of a segment's flags, in the fourteenth byte: SYN without ACK is dropped, all else passes.
DROP_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte
        (0x54, 0, 0, 0x12),  # and with SYN | ACK
        (0x15, 0, 1, 0x02),  # is it SYN?
        (0x06, 0, 0, 0),  # drop it
        (0x06, 0, 0, 0xFFFFFFFF),  # pass all of it
    )
)


def stop_handshakes(listeners: Iterable[socket.socket]) -> None:
    """Let no new connection to listening sockets begin, while those that have begun come to be accepted.

    Between the last accept and the close of a socket the kernel would complete more, and reset them. Where it takes no
    filter, that remains.
    """
    code = ctypes.create_string_buffer(DROP_SYN)
    program = struct.pack("HL", len(DROP_SYN) // struct.calcsize("HBBI"), ctypes.addressof(code))
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def accept_all(listeners: Iterable[socket.socket]) -> list[socket.socket]:
    """Return every connection that has been made to non-blocking listening sockets and not been accepted."""
    connections = []
    for listener in listeners:
        with contextlib.suppress(OSError):  # there is none, or no descriptor for another
            # Bounded, as more come all the time where the kernel takes no filter.
            for _ in range(BACKLOG):
                connections.append(listener.accept()[0])  # noqa: PERF401 - an error ends it
    return connections


def is_readable(descriptor: int) -> bool:
    """Return whether there is something to read, at this moment."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))
