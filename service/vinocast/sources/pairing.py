"""Bars of a stream that have closed, each beside what the service has pushed of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vinocast.client.market import Event
    from vinocast.errors import RequestError
    from vinocast.markets import Bar
    from vinocast.results import Forecast

# Of a stream: bars whose forecast has not come, and forecasts whose bar has not been told.
MOST_UNPAIRED = 1024
# Seconds that a forecast may take to come.
PUSH_SECONDS = 30.0


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


class Pairing:
    """The bars of one stream that wait for what is pushed of them.

    Forecasts come in the order of the bars. An error may come before the forecast of an earlier bar, and one without a
    time is of all bars of a request that are left behind its forecasts.

    Attributes:
        rest: an error of the latter kind, while bars wait.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._bars: deque[tuple[Bar, float]] = deque()
        self._events: dict[int, Event] = {}  # by the start of their bars in ms, in the order in which they came
        self._told = 0.0  # when one was told of last
        self._passed = 0  # the start in ms before which nothing comes any more
        self.rest: RequestError | None = None

    @property
    def waits(self) -> bool:
        """Whether there are bars of which nothing has come."""
        return bool(self._bars)

    def close(self, bar: Bar, now: float) -> None:
        """Take a bar that has closed, at a time in seconds."""
        self._bars.append((bar, now))

    def push(self, event: Event) -> None:
        """Take what was pushed."""
        newest = event.newest_timestamp_ms
        if newest is None:
            self.rest = event.error
            return
        if event.forecast is not None or event.lost:
            self._passed = newest
        self._events[newest] = event
        if len(self._events) > MOST_UNPAIRED:  # of bars that somebody else has closed
            del self._events[next(iter(self._events))]

    def certain(self, now: float) -> Iterator[Told]:
        """Yield the bars of which it is certain by now what has come of them, oldest first; they wait no more."""
        while self._bars:
            bar, since = self._bars[0]
            lost = (
                bar.start * 1000 < self._passed
                or now - max(since, self._told) >= PUSH_SECONDS
                or len(self._bars) > MOST_UNPAIRED
            )
            if not lost and bar.start * 1000 not in self._events:
                return
            self._told = now
            yield self._take()

    def give_up(self) -> Iterator[Told]:
        """Yield all bars that wait."""
        while self._bars:
            yield self._take()

    def _take(self) -> Told:
        bar, _ = self._bars.popleft()
        start = bar.start * 1000
        event = self._events.pop(start, None)
        while self._events and (oldest := next(iter(self._events))) < start:
            del self._events[oldest]
        told = (
            Told(self._stream, bar, None, self.rest)
            if event is None
            else Told(self._stream, bar, event.forecast, event.error)
        )
        if not self._bars:
            self.rest, self._passed = None, 0
        return told
