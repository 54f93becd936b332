"""A service that is fed, and what it pushes: each forecast beside the bar whose closing it was made for."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity

from vinocast.errors import ServiceUnreachableError, UnknownStreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vinocast.client.faces import Service
    from vinocast.client.market import Event, Events, OnBarTerms
    from vinocast.errors import RequestError
    from vinocast.markets import Bar, ClosedBar, Fed, HeldBars
    from vinocast.results import Forecast
    from vinocast.sources.inbox import Batch

T = TypeVar("T")

# Of each stream: bars whose forecast has not come, and forecasts whose bar has not been told.
MOST_UNPAIRED = 1024
# Refused messages that are told of.
MOST_WARNINGS = 10
# Seconds: between two attempts to reach a service that has gone, at most; that forecasts may take to come.
LONGEST_PAUSE, PUSH_SECONDS = 10.0, 30.0

# What stands for all that is no JSON object, so that the service counts it.
NO_MESSAGE = "null"

log = logging.getLogger("vinocast.feed")


@dataclass(frozen=True)
class Told:
    """A bar that has closed, with the forecast from there, or why there is none.

    Attributes:
        stream: its name.
        bar: as it was when the service told of it.
        forecast: None where there is none.
        error: why; None where there is a forecast, and where it was lost on its way.
    """

    stream: str
    bar: Bar
    forecast: Forecast | None
    error: RequestError | None


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
        self._bars: dict[str, deque[Bar]] = {}
        self._events: dict[str, deque[Event]] = {}
        self._paired = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
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

    async def bars(self, stream: str) -> HeldBars | None:
        """Return the bars of a stream; None where nothing of it has come."""
        try:
            return await self._do(lambda: self._service.bars(stream))
        except UnknownStreamError:
            return None

    async def settle(self, seconds: float = PUSH_SECONDS) -> None:
        """Wait until the forecast of each bar that has closed is told; one that does not come for so long is lost."""
        try:
            while any(self._bars.values()):
                self._paired.clear()
                async with asyncio.timeout(seconds):
                    await self._paired.wait()
        except TimeoutError:
            for stream, bars in self._bars.items():
                while bars:
                    self._say(Told(stream, bars.popleft(), None, None))

    async def _do(self, work: Callable[[], T]) -> T:
        """Do what waits for the service, and again where that has gone and may come back."""
        if not self._reconnects:
            return await asyncio.to_thread(work)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(
                lambda error: self._reconnects and isinstance(error, ServiceUnreachableError)
            ),
            reraise=True,
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE),
            before_sleep=lambda state: log.warning("%s; trying again", state.outcome and state.outcome.exception()),
        )
        answer: T = await retrying(asyncio.to_thread, work)
        return answer

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
            while not self._ended.wait(1.0):
                with suppress(ServiceUnreachableError):
                    events = self._service.events()
                    break

    def _hear(self, event: Event) -> None:
        if event.lost:
            log.warning("%d forecasts came faster than they were taken, and are lost", event.lost)
        self._events.setdefault(event.stream, deque(maxlen=MOST_UNPAIRED)).append(event)
        self._pair(event.stream)

    def _take(self, closed: Sequence[ClosedBar]) -> None:
        for stream, bar in closed:
            self._bars.setdefault(stream, deque(maxlen=MOST_UNPAIRED)).append(bar)
        for stream in {stream for stream, _ in closed}:
            self._pair(stream)

    def _pair(self, stream: str) -> None:
        """Tell of the bars of a stream whose forecasts have come; both come in the order of the bars."""
        bars, events = self._bars.get(stream, ()), self._events.get(stream, ())
        while bars and events:
            event, newest = events[0], events[0].newest_timestamp_ms
            if newest is None:  # of all that is left of a request
                events.popleft()
                while bars:
                    self._say(Told(stream, bars.popleft(), None, event.error))
            elif newest < bars[0].start * 1000:  # of a bar that somebody else has closed
                events.popleft()
            elif newest > bars[0].start * 1000:
                self._say(Told(stream, bars.popleft(), None, None))
            else:
                events.popleft()
                self._say(Told(stream, bars.popleft(), event.forecast, event.error))

    def _say(self, told: Told) -> None:
        self.told += 1
        self._tell(told)
        self._paired.set()
