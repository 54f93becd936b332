"""What systemd is told of a service: that it is ready, reloads or ends, and that it is not stuck; see sd_notify(3).

Where nobody asks to be told, as NOTIFY_SOCKET is not set, nothing is.
"""

from __future__ import annotations

import logging
import os
import socket
import time

SOCKET_VARIABLE, WATCHDOG_VARIABLE, PID_VARIABLE = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
READY, STOPPING, WATCHDOG = "READY=1", "STOPPING=1", "WATCHDOG=1"
# Its buffer holds very many; who does not read for so long is not worth a forecast's wait.
PATIENCE_SECONDS = 0.1
log = logging.getLogger(__name__)


def reloading() -> str:
    """Return the state of a service that reloads from this moment on, until it is READY again."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def tell(state: str) -> None:
    """Send a state, one of those above or :func:`reloading`; what cannot be sent gets a line in the log."""
    address = os.environ.get(SOCKET_VARIABLE)
    if not address:
        return
    if address.startswith("@"):  # of the abstract names, which are in no folder
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(PATIENCE_SECONDS)
            sender.sendto(state.encode(), address)
    except OSError as error:
        log.warning("the service manager cannot be told %s: %s", state.partition("\n")[0], error.strerror or error)


def watchdog_seconds() -> float | None:
    """Return how often this process is to tell :data:`WATCHDOG`, half of what it is given; None for never."""
    given = os.environ.get(WATCHDOG_VARIABLE, "")
    if not given.isdecimal() or int(given) == 0 or os.environ.get(PID_VARIABLE, str(os.getpid())) != str(os.getpid()):
        return None
    return int(given) / 2e6


def leave_to_parent() -> None:
    """Have this process tell nothing: its parent does."""
    for name in (SOCKET_VARIABLE, WATCHDOG_VARIABLE, PID_VARIABLE):
        os.environ.pop(name, None)
