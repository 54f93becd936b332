"""A window kept by the service, so that a client sends one new row instead of the whole window.

A stream is a ring of the last ``context`` rows. Its forecast takes a copy of the window at the moment of the request,
so rows observed while the request waits do not reach it. What they say of the forecast is kept where it was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vinocast.errors import (
    InvalidShapeError,
    InvalidValueError,
    NotEnoughHistoryError,
    StaleTimestampError,
    TimestampAheadError,
)
from vinocast.forecast.bands import EVERY
from vinocast.forecast.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from vinocast.forecast.market import Market
    from vinocast.requests import QuantilesFrom

DAY_MS = 86_400_000
# How far the second timestamp of a stream may lie ahead of the first, when nothing is known yet of its steps.
MOST_DAYS_AHEAD = 366
# What a step of a stream counts as at least: with the default bound, a silence of 27 hours is none that is refused.
LEAST_STEP_MS = 1000
# Mean steps between two rows beyond which rows are taken to be missing between them.
JUMP = 3
FORGET = 'if the newest is wrong, drop the stream: op "forget", or DELETE /streams/{stream}'


class Stream:
    """The last ``context`` rows of one multivariate series, and the timestamp of the newest."""

    def __init__(self, context: int, channels: int, max_steps_ahead: int, residuals: int = 0) -> None:
        self._max_steps_ahead = max_steps_ahead
        self._most_residuals = residuals
        self._model: str | None = None
        self._market: Market | None = None  # what makes outcomes of rows, where they are none
        self._outcomes: Outcomes | None = None  # of forecasts of that model
        self.position = 0  # rows that ever came
        self._ring = np.zeros((context, channels), np.float32)
        self._next = 0  # where the next row goes; once the ring is full, also where the oldest row is
        self.rows = 0
        self.newest_ms: int | None = None
        self.rows_since_newest = 0  # rows without a timestamp that came after the newest that has one
        self._first_ms = 0  # the first timestamp, once there is a newest
        self._steps = 0  # rows from the first timestamp to the newest

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
        Without one the order of arrival counts. Rows that are refused leave the stream as it was.

        Raises:
            InvalidShapeError: rows of another width.
            StaleTimestampError: rows not newer than the stream's newest.
            TimestampAheadError: rows so far ahead of the stream's newest that their timestamp must be wrong.
        """
        if values.shape[1] != self.channels:
            raise InvalidShapeError(f"values: expected {self.channels} channels, got {values.shape[1]}", "values")
        if timestamp_ms is not None and self.newest_ms is not None and timestamp_ms <= self.newest_ms:
            if timestamp_ms < self.newest_ms or len(values) > 1 or self.rows_since_newest >= self.context:
                raise StaleTimestampError(
                    f"timestamp_ms: expected more than the stream's newest, {self.newest_ms}, got {timestamp_ms}; "
                    f"{FORGET}",
                    "timestamp_ms",
                )
            self._ring[self._next - 1 - self.rows_since_newest] = values[0]
            # Behind others it has been an outcome already, and stays the one it was.
            if self._outcomes is not None and not self.rows_since_newest:
                self._outcomes.replace(self._outcome(values[0]))
            return
        steps = self.rows_since_newest + len(values)
        if timestamp_ms is not None and self.newest_ms is not None:
            self._check_ahead(timestamp_ms, self.newest_ms, steps)
        if self._outcomes is not None:
            if timestamp_ms is not None and self._jumps(timestamp_ms, steps):
                self._outcomes.skip(self.position)
            self._outcomes.observe(self.position, self._outcome(values))
        self.position += len(values)
        kept = values[-self.context :]
        first = min(len(kept), self.context - self._next)
        self._ring[self._next : self._next + first] = kept[:first]
        self._ring[: len(kept) - first] = kept[first:]
        self._next = (self._next + len(kept)) % self.context
        self.rows = min(self.context, self.rows + len(kept))
        if timestamp_ms is None:
            self.rows_since_newest = steps
            return
        if self.newest_ms is None:
            self._first_ms = timestamp_ms
        else:
            self._steps += steps
        self.newest_ms, self.rows_since_newest = timestamp_ms, 0

    def _jumps(self, timestamp_ms: int, steps: int) -> bool:
        """Whether rows are missing before one that lies so many rows behind the newest that has a time."""
        if self.newest_ms is None or not self._steps:
            return False
        return (timestamp_ms - self.newest_ms) * self._steps > JUMP * steps * (self.newest_ms - self._first_ms)

    def expect(self, model: str, horizon: int, market: Market | None = None) -> Expected | None:
        """Return where a forecast of the window as it is now waits for its outcomes; None where none are kept.

        They are of the model that was the first to forecast the stream, and begin anew where another of that name, with
        other steps or columns, has taken its place. With ``market`` they are of what it answers.
        """
        if not self._most_residuals:
            return None
        columns = self.channels if market is None else len(market.outputs)
        if self._outcomes is None or (self._model == model and not self._outcomes.fits(horizon, columns)):
            self._model, self._market = model, market
            self._outcomes = Outcomes(self._most_residuals, horizon, columns)
        return Expected(self, self._outcomes, self.position) if self._model == model else None

    def since(self, position: int) -> NDArray[np.float32]:
        """Return the outcomes [rows, columns] of rows that came after so many, as far as they are kept."""
        return self._outcome(self._newest(min(self.position - position, self.rows)))

    def _newest(self, count: int) -> NDArray[np.float32]:
        """Return a copy of so many rows [count, channels], the newest, oldest of them first."""
        return self._ring[(self._next - count + np.arange(count)) % self.context]

    def _outcome(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return rows if self._market is None else self._market.outcomes(rows)

    def dump(self) -> dict[str, Any]:
        """Return what :meth:`restored` makes the stream of again, but for its residuals."""
        return {
            "shape": self._ring.shape,
            "rows": self._newest(self.rows),
            "position": self.position,
            "newest_ms": self.newest_ms,
            "rows_since_newest": self.rows_since_newest,
            "first_ms": self._first_ms,
            "steps": self._steps,
        }

    @classmethod
    def restored(cls, record: Mapping[str, Any], max_steps_ahead: int, residuals: int) -> Stream:
        """Return a stream as it was, which has made no forecasts yet.

        Raises KeyError, TypeError or ValueError for what :meth:`dump` cannot have given.
        """
        context, channels = record["shape"]
        stream = cls(context, channels, max_steps_ahead, residuals)
        stream.rows = len(record["rows"])
        stream._ring[: stream.rows] = record["rows"]
        stream._next = stream.rows % stream.context
        stream.position, stream.newest_ms = record["position"], record["newest_ms"]
        stream.rows_since_newest = record["rows_since_newest"]
        stream._first_ms, stream._steps = record["first_ms"], record["steps"]
        return stream

    def _check_ahead(self, timestamp_ms: int, newest_ms: int, steps: int) -> None:
        """Refuse rows that lie too far ahead, of which the last is ``steps`` rows behind the newest that has a time.

        A step is the mean of all so far: a stream of trades has bursts and quiet nights, which a recent few would not
        tell from a fault. A stream that began with a burst has told nothing yet of its nights, so a step is never
        taken for less than LEAST_STEP_MS.
        """
        if self._steps:
            span = max(newest_ms - self._first_ms, self._steps * LEAST_STEP_MS)
            most = (self._max_steps_ahead + steps - 1) * span // self._steps
            bound = f"{self._max_steps_ahead} steps of {span / self._steps:g} ms (--max-steps-ahead)"
        else:
            most = MOST_DAYS_AHEAD * DAY_MS * steps
            bound = f"{MOST_DAYS_AHEAD} days"
        if timestamp_ms - newest_ms > most:
            raise TimestampAheadError(
                f"timestamp_ms: expected milliseconds within {bound} of the stream's newest, {newest_ms}, "
                f"got {timestamp_ms}; {FORGET}",
                "timestamp_ms",
            )

    def window(
        self,
        context: int,
        channels: int,
        *,
        fewer: bool = False,
        gaps: bool = False,  # noqa: ARG002 - there are none
    ) -> NDArray[np.float32]:
        """Return a copy of the window that a model wants, [context, channels], oldest row first.

        With ``fewer`` it has the rows that there are.

        Raises:
            InvalidShapeError: the stream was made for a model of another shape.
            NotEnoughHistoryError: rows are missing; the message says how many.
        """
        if (context, channels) != self._ring.shape:
            raise InvalidShapeError(
                f"stream: expected one of {context} rows of {channels} channels, got {self.context} of {self.channels}",
                "stream",
            )
        if self.missing and fewer:
            return self._ring[: self.rows].copy()
        if self.missing:
            raise NotEnoughHistoryError(
                f"stream: expected {self.context} rows, holds {self.rows}; {self.missing} are missing", "stream"
            )
        return np.concatenate((self._ring[self._next :], self._ring[: self._next]))


class Following(Protocol):
    """What goes on behind a window."""

    def since(self, position: int) -> NDArray[np.float32]:
        """Return the rows [rows, channels] that came after so many, as far as they are kept."""


@dataclass(frozen=True)
class Expected:
    """A forecast of a stream that waits for its outcomes.

    Attributes:
        stream: of which it is.
        outcomes: where they go.
        position: rows of the stream that had come when its window was taken.
    """

    stream: Following
    outcomes: Outcomes
    position: int

    def remember(self, points: NDArray[np.float32], scales: NDArray[np.float32], channels: Sequence[int]) -> None:
        """Have the forecast [steps, n] wait; see :meth:`Outcomes.remember`."""
        self.outcomes.remember(self.position, points, scales, channels, self.stream.since(self.position))

    @property
    def judges(self) -> bool:
        """Whether its band is to be kept: it is one of those, and no row has come since."""
        return self.position % EVERY == 0 and not len(self.stream.since(self.position))

    def improve(
        self,
        quantiles: NDArray[np.float32],
        levels: Sequence[float],
        points: NDArray[np.float32],
        scales: NDArray[np.float32],
        channels: Sequence[int],
    ) -> QuantilesFrom:
        """Put the stream's own into quantiles [levels, steps, n], where there are enough; return whose they are now.

        Raises InvalidValueError where one is beyond float32.
        """
        residuals, enough = self.outcomes.quantiles(levels, len(points), channels)
        if not enough.any():
            return "model"
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(quantiles, points + residuals * scales, where=enough)
        if not np.isfinite(quantiles).all():
            raise InvalidValueError("stream: its values spread too far for quantiles in float32", "stream")
        return "stream" if enough.all() else "both"
