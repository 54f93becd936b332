"""``GET /events``: what is pushed, to all who listen, as server-sent events.

The newest events are kept once for all, and each listener goes through them at its own pace: one that reads slowly
holds no memory of its own and nobody up, and is told how many it has lost. One that comes again with ``Last-Event-ID``
gets what it has missed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import TYPE_CHECKING

from vinocast.errors import (
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    RequestError,
    ShuttingDownError,
    shorten,
)
from vinocast.transports.http.responses import Refusal

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

MOST_LISTENERS = 64
# Of the connections that there may be, a share is for requests.
LISTENERS_SHARE = 2
MOST_EVENTS, MOST_BYTES = 1024, 8 << 20
# A comment between two events: what is on the way does not take the connection for dead, nor the client for alive.
HEARTBEAT_SECONDS = 10
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
# How long a client waits before it comes again, and a comment, so that it knows at once that it listens.
WELCOME = b"retry: 1000\n: listening\n\n"
HEARTBEAT = b": still here\n\n"
LOST = b'event: lost\ndata: {"lost":%d}\n\n'
END = b'event: end\ndata: {"reason":"shutting_down","waiting":%d}\n\n'
NO_EVENTS = "events: there are none where several workers share a port: serve with --workers 1"


class Events:
    """The newest events, and an application that sends them to who listens. For one event loop.

    Args:
        connections: how many there may be.
        there: whether there can be any events.

    Attributes:
        listeners: how many listen.
    """

    def __init__(self, connections: int, *, there: bool) -> None:
        self._most = max(1, min(MOST_LISTENERS, connections // LISTENERS_SHARE))
        self._there = there
        # What tells this process from one before it, whose numbers were others.
        self._epoch = f"{time.time_ns() // 1_000_000:x}"
        self._last_id = re.compile(rf"{self._epoch}-([0-9]{{1,15}})".encode())
        self._kept: deque[bytes] = deque()
        self._nbytes = 0
        self._published = 0  # events that ever were; the number of the newest
        self._waiting: set[asyncio.Event] = set()
        self._end = b""  # the last event, once there is one
        self.listeners = 0

    def publish(self, text: bytes) -> None:
        """Send an event, a line of JSON, to all who listen."""
        self._published += 1
        event = f"id: {self._epoch}-{self._published}\nevent: forecast\ndata: ".encode() + text + b"\n\n"
        self._kept.append(event)
        self._nbytes += len(event)
        while len(self._kept) > MOST_EVENTS or (self._nbytes > MOST_BYTES and len(self._kept) > 1):
            self._nbytes -= len(self._kept.popleft())
        self._wake()

    def end(self, waiting: int = 0) -> None:
        """Tell all who listen that nothing more comes, once they have what there is, and how much still waits."""
        self._end = self._end or END % waiting
        self._wake()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what comes until the client leaves or the service ends."""
        try:
            seen = self._admit(scope)
        except RequestError as error:
            await Refusal(error)(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # who asks what there would be does not listen
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body"})
            return
        self.listeners += 1
        woken = asyncio.Event()
        self._waiting.add(woken)
        left = asyncio.ensure_future(_departure(receive))
        left.add_done_callback(lambda _: woken.set())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await _send(send, WELCOME)
            await self._follow(seen, woken, left, send)
        finally:
            left.cancel()
            self._waiting.discard(woken)
            self.listeners -= 1

    def _admit(self, scope: Scope) -> int:
        """Return how many events a listener has seen; raises RequestError where it may not listen."""
        if not self._there:
            raise NotFoundError(NO_EVENTS)
        if scope["query_string"]:
            name = shorten(scope["query_string"].decode("latin-1").partition("=")[0])
            raise InvalidRequestError(f"{name}: expected nothing behind the path", name)
        if self._end:
            raise ShuttingDownError("the service is shutting down")
        if self.listeners >= self._most:
            raise OverloadedError(f"expected at most {self._most} listeners at once; try again later")
        last = dict(scope["headers"]).get(b"last-event-id")
        if last is None:
            return self._published
        # Of another process, whose events were others: of this one's it has seen none.
        match = self._last_id.fullmatch(last)
        return min(int(match[1]), self._published) if match else 0

    async def _follow(self, seen: int, woken: asyncio.Event, left: asyncio.Future[None], send: Send) -> None:
        """Send the events behind so many, and those that come."""
        while not left.done():
            woken.clear()
            lost = self._published - len(self._kept) - seen
            if lost > 0:
                seen += lost
                await _send(send, LOST % lost)
            elif seen < self._published:
                event = self._kept[seen - self._published]
                seen += 1
                await _send(send, event)  # which waits while its client reads too slowly
            elif self._end:
                await send({"type": "http.response.body", "body": self._end})
                return
            elif not await _wait(woken):
                await _send(send, HEARTBEAT)

    def _wake(self) -> None:
        for woken in self._waiting:
            woken.set()


async def _departure(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def _wait(woken: asyncio.Event) -> bool:
    """Wait for what there is to do, for as long as between two heartbeats; return whether there is anything."""
    try:
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            await woken.wait()
    except TimeoutError:
        return False
    return True
