"""The streams of a service: bounded in number, and dropped where they get no row for a time."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any

from vinocast.errors import NotFoundError, OverloadedError, UnknownStreamError, quote
from vinocast.forecast.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
NO_STREAMS = "stream: none is kept where several workers share a port: send past_values, or serve with --workers 1"


class Streams:
    """The streams of a service, bounded in number; those that get no row for a time are dropped.

    None is dropped for another: who fills the table keeps new streams out, and costs nobody what they have observed.
    """

    def __init__(
        self,
        limit: int,
        idle_seconds: float,
        max_steps_ahead: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        residuals: int = 0,
    ) -> None:
        self._limit = limit
        self._residuals = residuals
        self._idle_seconds = idle_seconds
        self._max_steps_ahead = max_steps_ahead
        self._clock = clock
        # In the order of the last observation, so that the idle ones stand first.
        self._streams: dict[str, tuple[Stream, float]] = {}
        self._told = False  # that there are as many as there may be

    def find(self, name: str) -> Stream:
        """Return a stream by name; raises UnknownStreamError."""
        self._drop_idle()
        try:
            return self._streams[name][0]
        except KeyError:
            raise UnknownStreamError(
                f"stream: expected one that has been observed, got {quote(name)}", "stream"
            ) from None

    def observe(
        self, name: str, context: int, channels: int, values: NDArray[np.float32], timestamp_ms: int | None
    ) -> Stream:
        """Append rows to a stream, new on first use, which keeps it from being idle; return it.

        Raises:
            OverloadedError: there are too many streams for another.
            InvalidShapeError, StaleTimestampError, TimestampAheadError: as :meth:`Stream.observe` does.
        """
        self._drop_idle()
        if name in self._streams:
            stream, _ = self._streams[name]
        elif len(self._streams) < self._limit:
            stream = Stream(context, channels, self._max_steps_ahead, self._residuals)
        else:
            raise self._full()
        stream.observe(values, timestamp_ms)
        self._streams.pop(name, None)
        self._streams[name] = (stream, self._clock())
        return stream

    def __len__(self) -> int:
        """Return how many there are."""
        self._drop_idle()
        return len(self._streams)

    def forget(self, name: str) -> Stream:
        """Drop a stream by name and return what it was; raises UnknownStreamError."""
        stream = self.find(name)
        del self._streams[name]
        return stream

    def describe(self) -> list[dict[str, Any]]:
        """Return name, rows, missing rows and newest timestamp of every stream, the most recently observed last."""
        self._drop_idle()
        return [
            {"stream": name, "rows": stream.rows, "missing": stream.missing, "timestamp_ms": stream.newest_ms}
            for name, (stream, _) in self._streams.items()
        ]

    def dump(self) -> Iterator[dict[str, Any]]:
        """Yield a record of each stream, as it is when it is asked for."""
        for name in list(self._streams):
            if name in self._streams:
                stream, observed = self._streams[name]
                yield {"name": name, "idle_seconds": self._clock() - observed, **stream.dump()}

    def load(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Have the streams of :meth:`dump` and no others, at most as many as there may be; return how many.

        The time between counts for none as idle. Raises KeyError, TypeError or ValueError for other records.
        """
        now, streams, dropped = self._clock(), dict[str, tuple[Stream, float]](), 0
        for record in records:
            stream = Stream.restored(record, self._max_steps_ahead, self._residuals)
            streams[record["name"]] = stream, now - record["idle_seconds"]
            if len(streams) > self._limit:
                del streams[next(iter(streams))]
                dropped += 1
        if dropped:
            log.warning("%d streams of before are dropped: there are at most %d (--max-streams)", dropped, self._limit)
        self._streams = streams
        return len(streams)

    def _full(self) -> OverloadedError:
        """Return the refusal of another stream, which says when there will be room; log it once until there is."""
        _, observed = next(iter(self._streams.values()))
        # Rounded up, and one more: at that very moment it may still be there.
        seconds = math.ceil(observed + self._idle_seconds - self._clock()) + 1
        full = f"there are {self._limit} streams already, the most there may be (--max-streams)"
        if not self._told:
            self._told = True
            log.warning(
                "%s: others are refused; the next is dropped for idleness in %d s at the earliest", full, seconds
            )
        return OverloadedError(
            f"stream: {full}; there is room in {seconds} s, if the one that is idle for the longest gets no row till "
            f'then (--stream-idle-seconds), or as soon as one is dropped: op "forget", or DELETE /streams/{{stream}}',
            "stream",
            retry_after=seconds,
        )

    def _drop_idle(self) -> None:
        oldest_allowed = self._clock() - self._idle_seconds
        while self._streams:
            name, (_, observed) = next(iter(self._streams.items()))
            if observed >= oldest_allowed:
                break
            del self._streams[name]
        self._told = self._told and len(self._streams) >= self._limit


class NoStreams(Streams):
    """Stands where several processes share a port: a stream would be known to the one that its rows came to."""

    def __init__(self) -> None:
        super().__init__(0, 0, 0)

    def find(self, name: str) -> Stream:  # noqa: ARG002 - the base's signature
        """Raise UnknownStreamError."""
        raise UnknownStreamError(NO_STREAMS, "stream")

    def observe(self, *_: object) -> Stream:
        """Raise NotFoundError."""
        raise NotFoundError(NO_STREAMS, "stream")
