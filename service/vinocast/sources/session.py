"""A service that is fed, and what it pushes: each forecast beside the bar whose closing it was made for."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from vinocast.errors import RequestError, ServiceUnreachableError, UnknownStreamError
from vinocast.sources.pairing import PUSH_SECONDS, Pairing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vinocast.client.faces import Service
    from vinocast.client.market import Event, Events, OnBarTerms
    from vinocast.markets import ClosedBar, Fed, HeldBars
    from vinocast.sources.inbox import Batch
    from vinocast.sources.pairing import Told

T = TypeVar("T")

# Refused messages that are told of.
MOST_WARNINGS = 10
# Seconds, at most: between two attempts to reach a service that has gone; between two forecasts, where an error has
# come of all bars behind them.
LONGEST_PAUSE, REST_SECONDS = 10.0, 5.0
# Between two attempts to listen anew.
AGAIN_SECONDS = 1.0

# What stands for all that is no JSON object, so that the service counts it.
NO_MESSAGE = "null"

log = logging.getLogger("vinocast.feed")


class Session:
    """Feeds a service and tells of each bar that closes. For one event loop; use it with ``async with``.

    Attributes:
        counts: of all that was fed, by name.
        messages: how many were fed.
        told: how many bars were told of.
    """

    def __init__(
        self, service: Service, terms: OnBarTerms, tell: Callable[[Told], None], *, reconnects: bool = False
    ) -> None:
        """Take a service, what is asked of each forecast, and who is told.

        With ``reconnects`` a service that is gone is waited for; else that is an error.
        """
        self._service, self._terms, self._tell, self._reconnects = service, terms, tell, reconnects
        self._pairings: dict[str, Pairing] = {}
        self._paired = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._given_up = asyncio.Event()
        self.counts: Counter[str] = Counter()
        self.messages = self.told = 0
        self._warned = 0

    async def __aenter__(self) -> Session:
        events = await self._do(self._service.events)
        threading.Thread(target=self._listen, args=(events,), name="vinocast-events", daemon=True).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()

    async def feed(self, batch: Batch) -> Fed:
        """Feed a batch of messages; raises RequestError or ServiceUnreachableError."""
        messages = [each if isinstance(each, dict) else NO_MESSAGE for each in batch.messages]
        fed = await self._do(lambda: self._service.feed(messages, connected=batch.connected, **self._terms))
        self.counts.update(fed.counts)
        self.messages += len(messages)
        for warning in fed.warnings:
            self._warned += 1
            if self._warned <= MOST_WARNINGS:
                last = "; what follows is only counted" if self._warned == MOST_WARNINGS else ""
                log.warning("refused: %s%s", warning, last)
        self._take(fed.closed)
        return fed

    async def candles(self, stream: str, rows: NDArray[np.float64], *, forecasts: bool) -> Fed:
        """Give a stream candles, with or without a forecast for each bar that they close; raises as :meth:`feed`."""
        terms: Any = self._terms if forecasts else {}
        fed = await self._do(lambda: self._service.history(stream, rows, **terms))
        self.counts.update(fed.counts)
        if forecasts:
            self._take(fed.closed)
        return fed

    def give_up(self) -> None:
        """Wait no more for a service that is gone."""
        self._reconnects = False
        self._given_up.set()

    async def bars(self, stream: str) -> HeldBars | None:
        """Return the bars of a stream; None where nothing of it has come."""
        try:
            return await self._do(lambda: self._service.bars(stream))
        except UnknownStreamError:
            return None

    async def settle(self, seconds: float = PUSH_SECONDS) -> int:
        """Wait until the forecast of each bar that has closed is told; return how many were lost.

        Lost is what does not come for so long.
        """
        lost = 0
        while waiting := [pairing for pairing in self._pairings.values() if pairing.waits]:
            known = [pairing for pairing in waiting if pairing.rest is not None]
            self._paired.clear()
            try:
                async with asyncio.timeout(REST_SECONDS if known else seconds):
                    await self._paired.wait()
            except TimeoutError:
                for told in [told for pairing in known or waiting for told in pairing.give_up()]:
                    lost += told.forecast is None and told.error is None
                    self._say(told)
        return lost

    async def _do(self, work: Callable[[], T]) -> T:
        """Do what waits for the service, and again where that has gone and may come back."""
        if not self._reconnects:
            return await asyncio.to_thread(work)
        import tenacity  # noqa: PLC0415 - of the extra by which a service is reached that may come back

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(
                lambda error: self._reconnects and isinstance(error, ServiceUnreachableError)
            ),
            reraise=True,
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE),
            sleep=self._pause,
            before_sleep=lambda state: log.warning("%s; trying again", state.outcome and state.outcome.exception()),
        )
        answer: T = await retrying(asyncio.to_thread, work)
        return answer

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._given_up.wait()

    def _listen(self, events: Events) -> None:
        """Hand on what is pushed until the session ends; runs in a thread of its own."""
        while True:
            with suppress(ServiceUnreachableError), events:
                for event in events:
                    if self._ended.is_set():
                        return
                    with suppress(RuntimeError):  # the loop has ended
                        self._loop.call_soon_threadsafe(self._hear, event)
            if self._ended.is_set() or not self._reconnects:
                return
            while not self._ended.wait(AGAIN_SECONDS):
                # Refused is it too: by one that still drains, or has as many listeners as there may be.
                with suppress(RequestError, ServiceUnreachableError):
                    events = self._service.events()
                    break

    def _hear(self, event: Event) -> None:
        if event.lost:
            log.warning("%d forecasts came faster than they were taken, and are lost", event.lost)
        pairing = self._pairing(event.stream)
        pairing.push(event)
        self._say_certain(pairing)

    def _take(self, closed: Sequence[ClosedBar]) -> None:
        now = self._loop.time()
        for stream, bar in closed:
            self._pairing(stream).close(bar, now)
        for stream in {stream for stream, _ in closed}:
            self._say_certain(self._pairing(stream))

    def _pairing(self, stream: str) -> Pairing:
        if stream not in self._pairings:
            self._pairings[stream] = Pairing(stream)
        return self._pairings[stream]

    def _say_certain(self, pairing: Pairing) -> None:
        for told in pairing.certain(self._loop.time()):
            self._say(told)

    def _say(self, told: Told) -> None:
        self.told += 1
        self._tell(told)
        self._paired.set()
