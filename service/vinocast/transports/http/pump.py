"""What drives the lane from an event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from vinocast.errors import ShuttingDownError
from vinocast.transports.http.bodies import ROUNDS

# What is parsed in one round of the loop takes so long, and what one request takes: others are served after that.
ROUND_SECONDS = 0.002

if TYPE_CHECKING:
    from vinocast.dataplane import DataPlane


class Pump:
    """Drives the lane from the event loop, one inference between two rounds of input and output.

    Before a part of a long job there are as many rounds as a request takes to the lane, so that what has come meanwhile
    overtakes it.
    """

    def __init__(self, plane: DataPlane) -> None:
        self._lane = plane.lane
        self._scheduled = False
        self._rounds = 0
        self._began = self._spent = 0.0
        self._fresh: list[object] = []
        self._kept: list[object] = []

    def keep(self, message: object) -> None:
        """Keep what was parsed until the replies of the next step are out: to free a window's numbers takes 25 us."""
        self._fresh.append(message)

    @property
    def late(self) -> bool:
        """Whether this round of the loop has had its share of requests."""
        return self._spent > ROUND_SECONDS

    async def turn(self) -> None:
        """Wait for a round of the loop that has time for a request; raises ShuttingDownError."""
        try:
            while self.late:
                await asyncio.sleep(0)
        except asyncio.CancelledError:  # the service ends, and waits no longer
            raise ShuttingDownError("the service has shut down before the body's turn came") from None

    def begin(self) -> None:
        """Say that a request is taken up, which nothing interrupts until :meth:`end`."""
        self._began = time.monotonic()

    def end(self) -> None:
        """Count the time of a request, and have the lane stepped until it is empty."""
        self._spent += time.monotonic() - self._began
        self.kick()

    def kick(self) -> None:
        """Have the lane stepped until it is empty."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        self._scheduled = False
        self._spent = 0.0
        self._fresh, self._kept = [], self._fresh
        if self._lane.only_parts and self._rounds < ROUNDS:
            self._rounds += 1
            self.kick()
            return
        self._rounds = 0
        if self._lane.step() or self._kept:
            self.kick()
