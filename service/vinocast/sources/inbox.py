"""What has come and waits for the service, within a bound."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

# Of all that waits, as it came; parsed it takes six times as much. A message of a market is under 14 kB.
MOST_BYTES = 4 << 20
# Of a batch, which is a request: a service takes 8 MiB unless it is told otherwise.
MOST_BATCH_MESSAGES, MOST_BATCH_BYTES = 500, 1 << 20
# What a message counts as at least: one that was not read has a place all the same.
LEAST_BYTES = 64


@dataclass
class Batch:
    """Messages of one connection, in their order.

    Attributes:
        connected: whether a new connection begins before them.
        messages: as they were parsed; None for one that was no JSON, or too long to be read.
        size: in bytes.
    """

    connected: bool = False
    messages: list[object] = field(default_factory=list)
    size: int = 0


class Inbox:
    """Batches of messages, filled by who receives and emptied by who feeds, both of one event loop.

    Attributes:
        received: how many messages were put into it.
        room: is set unless it is full, which whoever fills it has to look at.
    """

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._size = 0
        self._came = asyncio.Event()
        self._ended = False
        self.received = 0
        self.room = asyncio.Event()
        self.room.set()

    def begin(self) -> None:
        """Have what is put from now on be of a new connection."""
        if not self._batches or self._batches[-1].messages:
            self._batches.append(Batch())
        self._batches[-1].connected = True

    def put(self, message: object, size: int) -> None:
        """Append a message of so many bytes, 0 of one that was not read."""
        size = max(size, LEAST_BYTES)
        last = self._batches[-1] if self._batches else None
        if last is None or len(last.messages) >= MOST_BATCH_MESSAGES or last.size >= MOST_BATCH_BYTES:
            last = Batch()
            self._batches.append(last)
        last.messages.append(message)
        self.received += 1
        last.size += size
        self._size += size
        self._came.set()
        if self._size >= MOST_BYTES:
            self.room.clear()

    def end(self) -> None:
        """Say that nothing more comes."""
        self._ended = True
        self._came.set()

    async def take(self) -> Batch | None:
        """Return the oldest batch, once there is one with a message; None at the end."""
        await self._came.wait()
        if not self._batches or not self._batches[0].messages:
            return None
        batch = self._batches.popleft()
        self._size -= batch.size
        if not self._ended and (not self._batches or not self._batches[0].messages):
            self._came.clear()
        if self._size < MOST_BYTES:
            self.room.set()
        return batch
