"""A worker as its parent sees it: the CPUs that it has, and what it has said of itself."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from vinocast.transports.workers.worker import CONNECTION, QUESTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.context import ForkProcess

# Silence is counted in ticks of the parent: one that was stopped itself, or whose clock has jumped, counts one of them.
HANG_TICKS, HANG_TICKS_AT_START = 10, 60


class Seat:
    """A share of the CPUs, and the worker on it, if one is running."""

    def __init__(self, cpus: Sequence[int]) -> None:
        self.cpus = cpus
        self.worker: Worker | None = None
        self.failures = 0  # in a row
        self.due = 0.0  # the moment of time.monotonic from which a worker may be started

    def __str__(self) -> str:
        return f"the worker on CPUs {','.join(map(str, self.cpus))}"


class Worker:
    """A running process and what it has said of itself.

    The far end of its channel is kept open here as well: what lies there when a worker is gone is not lost.
    """

    def __init__(self, seat: Seat, process: ForkProcess, channel: socket.socket, far_end: socket.socket) -> None:
        self.seat = seat
        self.process = process
        self.channel = channel
        self.far_end = far_end
        self.silent = 0  # ticks since it was asked and has not answered
        self.asked = False
        self.leaving = False
        self.live = False
        self.ready = False
        self.refusal = ""

    def ask(self) -> None:
        """Count a tick of silence, or ask for a word."""
        self.silent += self.asked or self.leaving or not self.live
        if self.live and not self.asked:
            with contextlib.suppress(OSError):  # full: it is as silent
                self.channel.send(QUESTION)
            self.asked = True

    @property
    def hangs(self) -> bool:
        """Whether it has been silent for too long, and no debugger holds it."""
        if self.silent < (HANG_TICKS if self.live or self.leaving else HANG_TICKS_AT_START):
            return False
        with contextlib.suppress(OSError):
            return "\nTracerPid:\t0\n" in Path(f"/proc/{self.process.pid}/status").read_text()
        return False

    def part(self) -> None:
        """Let it see that no more connections come."""
        with contextlib.suppress(OSError):  # it is gone
            self.channel.shutdown(socket.SHUT_WR)

    def untaken(self) -> Iterator[socket.socket]:
        """Yield the connections that it has been sent and has not taken, where it is silent or gone."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(self.far_end, len(CONNECTION), 1)
                yield from (socket.socket(fileno=descriptor) for descriptor in descriptors)
                if not data:
                    return
