"""The seven channels of a market stream: its closed bars, and what TA-Lib's streaming functions make of their closes.

RSI of 14 bars by Wilder's smoothing; the line of MACD, 12 less 26; volatility, the deviation of the last 20 logarithmic
returns, of which TA-Lib takes the mean square and we the unbiased one. All three run over every close since the stream
began, in the order of the bars, and a bar that is corrected is as if it had always been so.
"""

from __future__ import annotations

import functools
from array import array
from math import isnan, nan
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from vinocast.errors import NotEnoughHistoryError, in_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from talib import stream

CHANNELS = ("close", "high", "low", "volume", "rsi", "macd", "volatility")
RSI_BARS = 14
MACD_BARS = (12, 26, 9)
VOLATILITY_BARS = 20
# Closes before the first of which all three are known: TA-Lib gives the line of MACD where it has the signal.
WARM_UP = MACD_BARS[1] + MACD_BARS[2] - 2
UNBIASED = (VOLATILITY_BARS / (VOLATILITY_BARS - 1)) ** 0.5
# The newest closes, that a late trade may still correct at no cost.
UNSETTLED = 4
# What settles does so by many, which cost less each.
SETTLED_TOGETHER = 16
# Closes that are no longer kept, and that the handles behind these have not had yet.
PENDING = 64
# A ratio of two closes, whatever they are, whose logarithm is finite.
RATIOS = (float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max))
# Shared, as most streams have neither for most of the time.
NO_CLOSES, NO_VALUES = np.empty(0), np.empty((0, 3), np.float32)


@functools.cache
def find_fault() -> str | None:
    """Return why TA-Lib cannot be imported, without which nothing has indicators; None where it can.

    The same for as long as the process lives: indicators that begin late would be others.
    """
    try:
        # Where pandas or polars is installed, TA-Lib imports it, which takes most of a second; itself, 7 ms.
        from talib import stream  # noqa: F401, PLC0415 - a service without market streams starts without
    except ImportError as error:
        return in_one_line(error)
    return None


class Handles:
    """TA-Lib's three handles, which are behind the closes that :meth:`fill` has had."""

    __slots__ = ("_first", "_last", "_open")

    def __init__(self) -> None:
        self._first = NO_CLOSES  # the closes, while they are too few to begin with
        self._last = np.nan
        self._open: tuple[stream.RSI, stream.MACD, stream.STDDEV] | None = None

    def copy(self) -> Handles:
        """Return handles that are behind the same closes and go on by themselves."""
        copied = Handles()
        copied._first, copied._last = self._first, self._last
        if self._open is not None:
            rsi, macd, deviation = self._open
            copied._open = rsi.copy(), macd.copy(), deviation.copy()
        return copied

    def fill(self, closes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Go on by closes [n]; return RSI, MACD and volatility at each, [n, 3].

        A close that is NaN is none, and has a row of NaN, as the first WARM_UP have, and all without TA-Lib. The rows
        are the same, bit for bit, however the closes are parted among calls.
        """
        if self._open is not None:
            # One by one, since bars close one by one: numpy's calls would take longer than TA-Lib's.
            return np.array([self._go_on(close, *self._open) for close in closes.tolist()]).reshape(-1, 3)
        rows = np.full((len(closes), 3), np.nan)
        there = ~np.isnan(closes)
        seen = closes[there]
        if not len(seen):
            return rows
        rows[there] = self._begin(seen)
        self._last = float(seen[-1])
        return rows

    def _begin(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        """Open the handles as soon as there are closes enough."""
        if find_fault() is not None:
            return np.full((len(seen), 3), np.nan)
        from talib import stream  # noqa: PLC0415 - see find_fault

        closes = np.concatenate((self._first, seen))
        if len(closes) <= WARM_UP:
            self._first = closes
            return np.full((len(seen), 3), np.nan)
        self._first = NO_CLOSES
        rsi, strengths = stream.RSI.open_and_fill(closes, RSI_BARS)
        macd, (line, _, _) = stream.MACD.open_and_fill(closes, *MACD_BARS)
        deviation, deviations = stream.STDDEV.open_and_fill(_returns(closes[:-1], closes[1:]), VOLATILITY_BARS)
        self._open = rsi, macd, deviation
        rows = np.column_stack((strengths, line, np.concatenate(([np.nan], deviations * UNBIASED))))
        rows[:WARM_UP] = np.nan
        return rows[-len(seen) :]

    def _go_on(
        self, close: float, rsi: stream.RSI, macd: stream.MACD, deviation: stream.STDDEV
    ) -> tuple[float, float, float]:
        if isnan(close):
            return nan, nan, nan
        change = _returns(self._last, close)
        self._last = close
        return rsi.update(close), macd.update(close)[0], deviation.update(change) * UNBIASED


class Indicators:
    """RSI, MACD and volatility of the closes that a stream keeps, over all that it has seen.

    Three sets of handles, of 0.9 kB each: one behind the closes that are no longer kept, from which what is corrected
    is computed again, one behind all but the newest few, and one behind all. The values that are kept are float32, as
    windows are, and as many as were last asked for.
    """

    __slots__ = ("_ahead", "_behind", "_count", "_dropped", "_pending", "_rows", "_settled", "_since", "_values")

    def __init__(self) -> None:
        # Behind the closes that are no longer kept, but for the last of these, which they have not had yet: by many
        # they cost less each, and most are never gone back to.
        self._dropped, self._pending = Handles(), array("d")
        self._rows = 0  # that were last asked for
        self._reset()

    def _reset(self) -> None:
        # None until they are asked for: a stream that nobody forecasts goes without.
        self._settled: Handles | None = None
        self._count = 0  # the kept closes that the latter are behind
        # Those behind the last close that was asked for; None where one of the newest is another than it was.
        self._ahead: Handles | None = None
        # The values of the kept closes from one to before another; those of closes that have settled stay right.
        self._values, self._since, self._behind = NO_VALUES, 0, 0

    def _take_pending(self) -> None:
        if self._pending:
            self._dropped.fill(np.array(self._pending))
            self._pending = array("d")

    def drop(self, closes: Sequence[float]) -> None:
        """Go on without closes [n], the oldest that are kept, NaN where a bar is missing."""
        count = len(closes)
        self._pending.extend(closes)
        if len(self._pending) >= PENDING:
            self._take_pending()
        self._values = self._values[max(0, count - self._since) :]
        self._since = max(0, self._since - count)
        self._behind -= count
        self._count -= count
        if self._count < 0:
            self._reset()

    def change(self, at: int) -> None:
        """Say that of the kept closes the one at an index, or what follows it, may be another than it was."""
        if at < self._behind:
            self._ahead = None
        if at < self._count:
            self._reset()

    def values(self, closes: NDArray[np.float64], rows: int | None = None) -> NDArray[np.float32]:
        """Return RSI, MACD and volatility [rows, 3] at the newest of all the closes [n] that are kept, or at all.

        NaN as :meth:`Handles.fill` has it.
        """
        self._rows = len(closes) if rows is None else rows
        first = max(0, len(closes) - self._rows)
        if first < self._since:
            self._reset()
        if self._ahead is None or self._behind != len(closes):
            self._go_on(closes, first)
        return self._values[first - self._since :]

    def _go_on(self, closes: NDArray[np.float64], first: int) -> None:
        """Compute what is not known at closes [n], and keep the values from one on."""
        if self._settled is None:
            self._take_pending()
            self._settled = self._dropped.copy()
        unsettled = len(closes) - UNSETTLED
        known = self._behind
        if self._ahead is None:
            known = self._count
            self._count = max(unsettled, known)
            new = [self._settled.fill(closes[known : self._count])]
            self._ahead = self._settled.copy()
            new.append(self._ahead.fill(closes[self._count :]))
        else:
            new = [self._ahead.fill(closes[known:])]
            if unsettled >= self._count + SETTLED_TOGETHER:
                self._settled.fill(closes[self._count : unsettled])
                self._count = unsettled
        with np.errstate(over="ignore"):  # see seven
            kept = self._values[max(0, first - self._since) : known - self._since]
            made = np.concatenate((kept, *new), dtype=np.float32, casting="same_kind")
        self._behind = len(closes)
        since = len(closes) - len(made)
        self._values, self._since = (made, since) if since >= first else (made[first - since :].copy(), first)

    def newest(self, closes: NDArray[np.float64], rows: int) -> NDArray[np.float32]:
        """Return fewer of them [rows, 3] than are kept, or as many, which are kept on."""
        values = self.values(closes, max(rows, self._rows))
        return values[max(0, len(values) - rows) :]


def known_rows(
    closes: NDArray[np.float64], indicators: NDArray[np.floating], context: int, *, fewer: bool = False
) -> int:
    """Return how many rows a window of the newest of bars has whose closes are [n], and indicators [n, 3].

    That is ``context``; with ``fewer`` as many as there are, one at least.

    Raises NotEnoughHistoryError where there are fewer bars behind the first WARM_UP; the message says how many fewer.
    """
    unknown = np.isnan(indicators[:, 0])
    known = not unknown.all()
    first = int(unknown.argmin()) if known else len(closes)
    least = 1 if fewer else context
    if len(closes) - first < least:
        # Where none is known, what is missing begins with closes to warm up by.
        begun = 0 if known else WARM_UP - int(np.count_nonzero(~np.isnan(closes)))
        missing = least - (len(closes) - first) + begun
        raise NotEnoughHistoryError(
            f"stream: expected {least} closed bars behind the {WARM_UP} that RSI, MACD and volatility begin with, "
            f"holds {len(closes)}; {missing} are missing",
            "stream",
        )
    return min(context, len(closes) - first)


def seven(numbers: NDArray[np.float64], indicators: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the channels [n, 7] of bars, column by column, given RSI, MACD and volatility [n, 3] of their closes.

    ``numbers`` are close, high, low and volume [4, n]. A missing bar, of which they are NaN, has a row of NaN.
    """
    columns = np.empty((len(CHANNELS), len(indicators)), np.float32)  # a third of the time that rows take
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite, and refused where it is forecast
        columns[:-3] = numbers
    columns[-3:] = indicators.T
    return columns.T


@overload
def _returns(before: float, after: float) -> float: ...


@overload
def _returns(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]: ...


def _returns(before: Any, after: Any) -> Any:
    """Return logarithmic returns, of one and of many the same, bit for bit."""
    if isinstance(after, float):
        least, most = RATIOS
        return float(np.log(min(max(after / before, least), most)))
    with np.errstate(over="ignore", under="ignore"):
        return np.log(np.clip(after / before, *RATIOS))
