"""A websocket server on the loopback that sends messages of a market as either feed does, and misbehaves by a script.

The market goes on whether anybody listens or not: a script is gone through once, by one connection after another, so
that what is lost is what the script says.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from types import TracebackType
from typing import Self

import numpy as np
import orjson
from markets import Message
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SUBSCRIBE_SECONDS = 5.0
SNAPSHOT = 100
BEAT_SECONDS = 0.2


class Act(Enum):
    """What may befall a connection."""

    CLOSE = auto()
    ABORT = auto()
    SILENCE = auto()


@dataclass(frozen=True)
class Lose:
    """A message that is never sent."""

    message: Message


@dataclass(frozen=True)
class Refuse:
    """So many of the next connections are refused, after this one is closed."""

    count: int


@dataclass(frozen=True)
class Wait:
    """A pause, in which the market stands still, and heartbeats go on."""

    seconds: float


Step = Message | str | bytes | Act | Lose | Refuse | Wait
BIG = orjson.dumps({"channel": "l2_data", "events": [{"updates": ["0" * 99] * 50_000}]}).decode()
GARBAGE: list[Step] = ["", "{", "nonsense", "[1, 2", '{"price": NaN}', b"\xff\xfe{}", "[" * 5000]
ODD: list[Step] = [
    {"type": "error", "message": "Failed to subscribe", "reason": "a reason"},
    {"type": "status", "products": []},
    {"channel": "status", "events": [{"type": "snapshot"}]},
    {"channel": "market_trades", "events": "none"},
    {"channel": 7},
    "[]",
    "7",
    "null",
    "{}",
]


def trouble(messages: Sequence[Message], *, seed: int = 0, each: int = 40, loss: bool = False) -> Iterator[Step]:
    """The messages with a fault before one of so many: duplicates, a few swapped, what is no message, lost connections.

    With ``loss`` some are lost, by themselves and around a connection that ends.
    """
    rng = np.random.default_rng(seed)
    kinds = ["duplicate", "swap", "garbage", "odd", "big", "close", "abort", "silence", "refuse", *["lose"] * loss]
    turns, garbage, odd = itertools.cycle(kinds), itertools.cycle(GARBAGE), itertools.cycle(ODD)
    place, before = 0, deque[Message](maxlen=5)
    while place < len(messages):
        some = list(messages[place : place + 1])
        if rng.integers(each) == 0:
            kind = next(turns)
            some = list(messages[place : place + 4])
            if kind == "duplicate":
                yield from list(before)
            elif kind == "swap":
                some = [some[where] for where in rng.permutation(len(some))]
            elif kind == "garbage":
                yield next(garbage)
            elif kind == "odd":
                yield next(odd)
            elif kind == "big":
                yield BIG
            elif kind == "refuse":
                yield Refuse(int(rng.integers(1, 4)))
            elif kind == "lose":
                yield from map(Lose, some)
                place += len(some)
                continue
            else:
                yield Act[kind.upper()]
        yield from some
        before.extend(some)
        place += len(some)


@dataclass
class Seen:
    """What the server has seen of its clients.

    Attributes:
        attempts: when each connection was asked for, of ``time.monotonic``.
        subscriptions: the messages that came.
        sent: how many messages of the script.
        lost: those that were never sent.
    """

    attempts: list[float] = field(default_factory=list)
    subscriptions: list[Message] = field(default_factory=list)
    sent: int = 0
    lost: list[Message] = field(default_factory=list)


class FeedServer:
    """One of the two feeds. Use it with ``async with``.

    Attributes:
        url: of the running server.
        finished: is set when the script is at its end, from where heartbeats go on.
        now: the time of the message that was sent or lost last.
    """

    def __init__(
        self, script: Iterable[Step], *, rename: dict[str, str] | None = None, snapshots: bool = True, port: int = 0
    ) -> None:
        self._script = iter(script)
        self._rename = rename or {}
        self._snapshots = snapshots
        self._port = port
        self._server: Server | None = None
        self._refusing = 0
        self._one = asyncio.Lock()
        self._past: dict[str, deque[Message]] = {}
        self._beat: Message | None = None
        self.seen = Seen()
        self.finished = asyncio.Event()
        self.now = ""

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._handle, "127.0.0.1", self._port, process_request=self._admit, close_timeout=1, ping_interval=None
        )
        (listener, *_) = self._server.sockets
        self.url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.seen.attempts.append(time.monotonic())
        if self._refusing:
            self._refusing -= 1
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "not now\n")
        return None

    async def _handle(self, socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async with self._one:
                await _Conversation(self, socket).hold()

    async def go_on(self, conversation: _Conversation) -> None:
        """Send what comes next in the script, until something befalls the connection."""
        for step in self._script:
            if step is Act.CLOSE:
                await conversation.socket.close()
            elif step is Act.ABORT:
                conversation.socket.transport.abort()
            elif step is Act.SILENCE:
                await conversation.socket.wait_closed()
            elif isinstance(step, Refuse):
                self._refusing = step.count
                await conversation.socket.close()
            elif isinstance(step, Wait):
                await self._stand_still(conversation, step.seconds)
                continue
            elif isinstance(step, Lose):
                self._remember(step.message)
                self.seen.lost.append(step.message)
                continue
            elif isinstance(step, dict):
                self._remember(step)
                await conversation.send(step)
                self.seen.sent += 1
                continue
            elif isinstance(step, str | bytes):
                await conversation.socket.send(step, text=True)
                continue
            return
        self.finished.set()
        await self._stand_still(conversation, math.inf)

    async def _stand_still(self, conversation: _Conversation, seconds: float) -> None:
        while seconds > BEAT_SECONDS:
            if self._beat is not None:
                await conversation.send(self._beat)
            await asyncio.sleep(BEAT_SECONDS)
            seconds -= BEAT_SECONDS
        await asyncio.sleep(seconds)

    def snapshot(self, product: str, channel: str) -> list[Message]:
        """What a new subscription is answered with: trades that may have come before, newest first, or the last one."""
        past = self._past.get(self._rename.get(product, product), ()) if self._snapshots else ()
        if channel == "market_trades":
            trades = list(itertools.islice(reversed(past), SNAPSHOT))
            return [{"channel": channel, "events": [{"type": "snapshot", "trades": trades}]}] if trades else []
        return [past[-1] | {"type": "last_match"}] if channel == "matches" and past else []

    def _remember(self, message: Message) -> None:
        self.now = max(self.now, str(message.get("time") or message.get("timestamp") or ""))
        if message.get("type") == "match":
            self._keep(message)
        elif message.get("channel") == "market_trades" and isinstance(message["events"], list):
            for event in message["events"]:
                for trade in reversed(event["trades"]):
                    self._keep(trade)
        elif "heartbeat" in str(message.get("type") or message.get("channel")):
            self._beat = message

    def _keep(self, trade: Message) -> None:
        past = self._past.setdefault(trade["product_id"], deque(maxlen=2 * SNAPSHOT))
        if not past or int(past[-1]["trade_id"]) < int(trade["trade_id"]):
            past.append(trade)


class _Conversation:
    """One connection: what it is subscribed to, and the number of the next message."""

    def __init__(self, server: FeedServer, socket: ServerConnection) -> None:
        self._server, self.socket = server, socket
        self._channels: set[str] = set()
        self._numbers = itertools.count()

    async def hold(self) -> None:
        """Await a subscription to trades, then go on with the script while others are taken."""
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                while not self._channels & {"market_trades", "matches"}:
                    await self._subscribe()
        except TimeoutError:
            await self.socket.close(1008, "no subscription")
            return
        listening = asyncio.create_task(self._listen())
        try:
            await self._server.go_on(self)
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError, ConnectionClosed):
                await listening

    async def send(self, message: Message) -> None:
        """Send a message where its channel is subscribed to, or it belongs to none."""
        name = message.get("channel") or {"match": "matches"}.get(message.get("type", ""), message.get("type"))
        if name in {"market_trades", "heartbeats", "matches", "heartbeat", "candles"} - self._channels:
            return
        numbered = {**message, "sequence_num": next(self._numbers)} if "channel" in message else message
        await self.socket.send(orjson.dumps(numbered).decode())

    async def _listen(self) -> None:
        while True:
            await self._subscribe()

    async def _subscribe(self) -> None:
        """Take a subscription as the feed does that it is for: one channel a message, or several."""
        asked = orjson.loads(await self.socket.recv())
        self._server.seen.subscriptions.append(asked)
        channels = [asked["channel"]] if "channel" in asked else asked["channels"]
        self._channels.update(channels)
        await self.send(
            {"type": "subscriptions", "channels": channels}
            if "channels" in asked
            else {"channel": "subscriptions", "events": []}
        )
        for channel in channels:
            for product in asked["product_ids"]:
                for message in self._server.snapshot(product, channel):
                    await self.send(message)
