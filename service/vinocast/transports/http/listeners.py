"""Listening sockets: one for each address of a host."""

from __future__ import annotations

import errno
import socket
from typing import Any

from vinocast.errors import SetupError
from vinocast.transports.http.drain import BACKLOG

# What a system says of an address whose family is switched off, which may stand in /etc/hosts all the same.
FAMILY_OFF = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def listen(host: str, port: int, option: str = "--port") -> list[socket.socket]:
    """Return a non-blocking listening socket for each address of the host; raises SetupError when none can be had.

    The address ``::`` alone takes IPv4 as well. A message names the option that another port is chosen by.
    """
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:  # of what can be the name of no host
        raise _cannot_listen(host, port, option, socket.gaierror(socket.EAI_NONAME, "no name of a host")) from None
    except OSError as error:
        raise _cannot_listen(host, port, option, error) from None
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
            raise _cannot_listen(host, port, option, error) from None
    if not listeners and off:
        raise _cannot_listen(host, port, option, off)
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


def _cannot_listen(host: str, port: int, option: str, error: OSError) -> SetupError:
    reason = error.strerror
    if ":" in host and error.errno in {*FAMILY_OFF, socket.EAI_ADDRFAMILY}:
        reason = f"{reason}: no such address here, or IPv6 is off; 0.0.0.0 is every IPv4 address"
    return SetupError(f"cannot listen on {host}:{port} ({reason}): choose another {option} or --host")


def url_of(listener: socket.socket) -> str:
    """Return the address of a listening socket, with the port that was bound: for --port 0 not what was asked for."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
