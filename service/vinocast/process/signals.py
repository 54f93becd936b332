"""Which signals end a service, and what a parent may have done to them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from vinocast.process.descriptors import STDIN

if TYPE_CHECKING:
    from collections.abc import Callable

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def on_end(handler: Callable[[int, Any], object]) -> None:
    """Have each signal that ends a service call ``handler``, also where the parent has blocked it.

    SIGINT and SIGHUP stay ignored where the parent has had them so: a shell does for what it puts into the background,
    and nohup. SIGTERM never is.
    """
    for number in ENDING:
        if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)
    unblock()


def on_hangup(handler: Callable[[int, Any], object]) -> None:
    """Have SIGHUP call ``handler``, where no terminal hangs up by it and the parent has not had it ignored.

    To be called behind :func:`on_end`, whose handler it takes the place of.
    """
    if not os.isatty(STDIN) and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def unblock() -> None:
    """Let each signal that ends a service end this process, whatever it is at, where the parent has blocked it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
