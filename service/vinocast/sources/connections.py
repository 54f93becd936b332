"""A feed that is kept up: one connection after another, each watched, none begun too soon after the one before."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import orjson
import tenacity
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidURI, WebSocketException
from websockets.uri import parse_uri

from vinocast.errors import SetupError, in_one_line, printable
from vinocast.sources.coinbase import is_heartbeat, products_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.sources.inbox import Inbox

# A message that is longer is not read, but counted; one beyond the second bound ends its connection.
MOST_MESSAGE_BYTES, MOST_FRAME_BYTES = 1 << 20, 16 << 20
# A connection is dropped that has not been subscribed to within 5 s.
OPEN_SECONDS, SUBSCRIBE_SECONDS, CLOSE_SECONDS = 10.0, 4.0, 2.0
# An address may begin 8 connections a second.
SPACING_SECONDS = 0.125
# What a text of an error in the log has at most, and how many names of products are kept.
MOST_TEXT, MOST_PRODUCTS = 200, 1000

log = logging.getLogger("vinocast.feed")


@dataclass
class Counts:
    """What befell the connections.

    Attributes:
        connections: that were made.
        unreachable: attempts that made none.
        closed: connections that the other side ended.
        silent: connections that were ended here, as no heartbeat came.
        no_json: messages that were no JSON.
        too_long: messages that were not read.
        errors: messages that said of an error.
    """

    connections: int = 0
    unreachable: int = 0
    closed: int = 0
    silent: int = 0
    no_json: int = 0
    too_long: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Patience:
    """Seconds.

    Attributes:
        silence: without a heartbeat, after which a connection is given up.
        stable: that a connection has lasted for the next one to be made at once.
        longest: between two attempts.
    """

    silence: float = 10.0
    stable: float = 30.0
    longest: float = 30.0


class LostError(Exception):
    """A connection that was not made or did not last; the message says why."""


class Connections:
    """Keeps a feed up and puts what comes into an inbox.

    Attributes:
        counts: of what befell it.
        products: the names that trades and candles came under.

    Raises SetupError for an address that is none.
    """

    def __init__(self, url: str, subscriptions: Sequence[str], inbox: Inbox, patience: Patience) -> None:
        try:
            parse_uri(url)
        except InvalidURI as error:
            raise SetupError(f"--websocket-url: expected one such as wss://example.com: {in_one_line(error)}") from None
        self._url, self._subscriptions, self._inbox, self._patience = url, subscriptions, inbox, patience
        self.counts = Counts()
        self.products: set[str] = set()

    async def keep(self) -> NoReturn:
        """Connect, and again whenever a connection is lost, until the task is cancelled."""
        # The library's own iterator pauses where none was made, and not where one was made and lost at once.
        patience = self._patience
        while True:
            retrying = tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception_type(LostError),
                wait=tenacity.wait_fixed(SPACING_SECONDS)
                + tenacity.wait_random_exponential(multiplier=0.5, max=patience.longest),
                before_sleep=_say,
            )
            await retrying(self._connect)
            await asyncio.sleep(SPACING_SECONDS + random.uniform(0, SPACING_SECONDS))  # noqa: S311 - no secret

    async def _connect(self) -> None:
        """Make a connection and read it to its end; raises LostError unless it had lasted."""
        loop = asyncio.get_running_loop()
        connection = connect(
            self._url,
            max_size=MOST_FRAME_BYTES,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,  # heartbeats say more
        )
        try:
            socket = await connection
        except (OSError, TimeoutError, WebSocketException) as error:
            self.counts.unreachable += 1
            raise LostError(f"{self._url} cannot be reached: {_reason(error)}") from None
        begun = loop.time()
        self.counts.connections += 1
        async with socket:
            self._inbox.begin()
            try:
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    for subscription in self._subscriptions:
                        await socket.send(subscription)
                async with asyncio.timeout(self._patience.silence) as watchdog:
                    while True:
                        await self._take(await socket.recv(decode=False), watchdog)
            except TimeoutError:
                self.counts.silent += 1
                reason = f"no heartbeat for {self._patience.silence:g} s"
            except WebSocketException as error:
                self.counts.closed += 1
                reason = _reason(error)
        lost = f"the connection is lost: {reason}"
        if loop.time() - begun < self._patience.stable:
            raise LostError(lost)
        log.warning("%s; connecting again", lost)

    async def _take(self, text: bytes, watchdog: asyncio.Timeout) -> None:
        """Put a message into the inbox, whatever it is, so that the service counts it."""
        message: object = None
        if len(text) > MOST_MESSAGE_BYTES:
            self.counts.too_long += 1
        else:
            try:
                message = orjson.loads(text)
            except orjson.JSONDecodeError:
                self.counts.no_json += 1
        if isinstance(message, dict):
            if len(self.products) < MOST_PRODUCTS:
                self.products.update(products_of(message))
            if is_heartbeat(message):
                watchdog.reschedule(asyncio.get_running_loop().time() + self._patience.silence)
            elif message.get("type") == "error":
                self.counts.errors += 1
                said = " ".join(str(message.get(name)) for name in ("message", "reason") if message.get(name))
                log.warning("the feed says of an error: %s", printable(said[:MOST_TEXT]))
        self._inbox.put(message, len(text) if message is not None else 0)
        if not self._inbox.room.is_set():
            # The silence is our own.
            watchdog.reschedule(None)
            await self._inbox.room.wait()
            watchdog.reschedule(asyncio.get_running_loop().time() + self._patience.silence)


def _say(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("%s; connecting again in %.1f s", error, state.upcoming_sleep)


def _reason(error: BaseException) -> str:
    return in_one_line(error)[:MOST_TEXT]
