"""Windows kept by the service, so that a client sends one new row instead of the whole window.

A stream is a ring of the last ``context`` rows. Its forecast takes a copy of the window at the moment of the request,
so rows observed while the request waits do not reach it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from service.errors import (
    InvalidShapeError,
    NotEnoughHistoryError,
    NotFoundError,
    OverloadedError,
    StaleTimestampError,
    UnknownStreamError,
    quote,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NO_STREAMS = "stream: none is kept where several workers share a port: send past_values, or serve with --workers 1"


class Stream:
    """The last ``context`` rows of one multivariate series, and the timestamp of the newest."""

    def __init__(self, context: int, channels: int) -> None:
        self._ring = np.zeros((context, channels), np.float32)
        self._next = 0  # where the next row goes; once the ring is full, also where the oldest row is
        self.rows = 0
        self.newest_ms: int | None = None
        self._rows_since_newest = 0  # rows without a timestamp that came after the newest that has one

    @property
    def context(self) -> int:
        """Rows the ring holds."""
        return self._ring.shape[0]

    @property
    def channels(self) -> int:
        """Values of a row."""
        return self._ring.shape[1]

    @property
    def missing(self) -> int:
        """Rows still to come before there is a whole window."""
        return self.context - self.rows

    def observe(self, values: NDArray[np.float32], timestamp_ms: int | None) -> None:
        """Append rows [n, channels], oldest first.

        ``timestamp_ms`` is that of the last row. It must rise: one row with the timestamp of the newest replaces it.
        Without one the order of arrival counts.

        Raises:
            InvalidShapeError: rows of another width.
            StaleTimestampError: rows not newer than the stream's newest.
        """
        if values.shape[1] != self.channels:
            raise InvalidShapeError(f"values: expected {self.channels} channels, got {values.shape[1]}", "values")
        if timestamp_ms is not None and self.newest_ms is not None and timestamp_ms <= self.newest_ms:
            if timestamp_ms < self.newest_ms or len(values) > 1 or self._rows_since_newest >= self.context:
                raise StaleTimestampError(
                    f"timestamp_ms: expected more than the stream's newest, {self.newest_ms}, got {timestamp_ms}",
                    "timestamp_ms",
                )
            self._ring[self._next - 1 - self._rows_since_newest] = values[0]
            return
        kept = values[-self.context :]
        first = min(len(kept), self.context - self._next)
        self._ring[self._next : self._next + first] = kept[:first]
        self._ring[: len(kept) - first] = kept[first:]
        self._next = (self._next + len(kept)) % self.context
        self.rows = min(self.context, self.rows + len(kept))
        if timestamp_ms is None:
            self._rows_since_newest += len(values)
        else:
            self.newest_ms, self._rows_since_newest = timestamp_ms, 0

    def window(self, context: int, channels: int) -> NDArray[np.float32]:
        """Return a copy of the window that a model wants, [context, channels], oldest row first.

        Raises:
            InvalidShapeError: the stream was made for a model of another shape.
            NotEnoughHistoryError: rows are missing; the message says how many.
        """
        if (context, channels) != self._ring.shape:
            raise InvalidShapeError(
                f"stream: expected one of {context} rows of {channels} channels, got {self.context} of {self.channels}",
                "stream",
            )
        if self.missing:
            raise NotEnoughHistoryError(
                f"stream: expected {self.context} rows, holds {self.rows}; {self.missing} are missing", "stream"
            )
        return np.concatenate((self._ring[self._next :], self._ring[: self._next]))


class Streams:
    """The streams of a service, bounded in number; those that nobody touches for a time are dropped."""

    def __init__(self, limit: int, idle_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._clock = clock
        # In the order of last use, so that the idle ones stand first.
        self._streams: dict[str, tuple[Stream, float]] = {}

    def find(self, name: str) -> Stream:
        """Return a stream by name; raises UnknownStreamError."""
        self._drop_idle()
        try:
            stream, _ = self._streams.pop(name)
        except KeyError:
            raise UnknownStreamError(
                f"stream: expected one that has been observed, got {quote(name)}", "stream"
            ) from None
        self._streams[name] = (stream, self._clock())
        return stream

    def find_or_create(self, name: str, context: int, channels: int) -> Stream:
        """Return a stream by name, new on first use; raises OverloadedError when there are too many."""
        self._drop_idle()
        if name not in self._streams:
            if len(self._streams) >= self._limit:
                raise OverloadedError(
                    f"stream: there are {self._limit} streams already, the most there may be", "stream"
                )
            self._streams[name] = (Stream(context, channels), self._clock())
        return self.find(name)

    def describe(self) -> list[dict[str, Any]]:
        """Return name, rows, missing rows and newest timestamp of every stream, the most recently used last."""
        self._drop_idle()
        return [
            {"stream": name, "rows": stream.rows, "missing": stream.missing, "timestamp_ms": stream.newest_ms}
            for name, (stream, _) in self._streams.items()
        ]

    def _drop_idle(self) -> None:
        oldest_allowed = self._clock() - self._idle_seconds
        while self._streams:
            name, (_, used) = next(iter(self._streams.items()))
            if used >= oldest_allowed:
                return
            del self._streams[name]


class NoStreams(Streams):
    """Stands where several processes share a port: a stream would be known to the one that its rows came to."""

    def __init__(self) -> None:
        super().__init__(0, 0)

    def find(self, name: str) -> Stream:  # noqa: ARG002 - the base's signature
        """Raise UnknownStreamError."""
        raise UnknownStreamError(NO_STREAMS, "stream")

    def find_or_create(self, name: str, context: int, channels: int) -> Stream:  # noqa: ARG002 - the base's signature
        """Raise NotFoundError."""
        raise NotFoundError(NO_STREAMS, "stream")
