"""The bars of one stream: the open one, and behind it the closed ones, each corrected while it is kept."""

from __future__ import annotations

from math import isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.market.closed import ClosedBars
from vinocast.market.counts import Counts
from vinocast.market.folds import Fold, fold, refold
from vinocast.market.ring import (
    CANDLE,
    DOUBTED,
    INCOMPLETE,
    KEPT,
    KIND,
    LOST,
    MISSING,
    NOTHING,
    NUMBERS,
    TRADES,
    added,
)
from vinocast.markets import Bar, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.market.channels import Indicators
    from vinocast.market.connection import Connection
    from vinocast.market.folds import Numbers
    from vinocast.market.messages import Candle, Trade
    from vinocast.market.trade_ids import TradeIds

STATES: tuple[State, ...] = ("missing", "incomplete", "filled", "complete")


class MarketStream:
    """The bars of one product and one length.

    A bucket is the number of a bar: its start, divided by its length.

    Attributes:
        name: such as ``BTC-USD@5m``.
        product: such as ``BTC-USD``.
        seconds: of a bar.
        counts: since the stream began.
        newest: the bucket of the open bar; -1 before the first.
        closed_since: the first bucket that closed since somebody set this to -1; -1 where none has.
    """

    __slots__ = (
        "_carry", "_close", "_closed", "_connection", "_first", "_gaps", "_high", "_last", "_low", "_made", "_open",
        "_volume", "closed_since", "counts", "name", "newest", "product", "seconds",
    )  # fmt: skip

    def __init__(self, name: str, product: str, seconds: int, ids: TradeIds, connection: Connection) -> None:
        self.name, self.product, self.seconds = name, product, seconds
        self.counts = Counts()
        self.newest = self.closed_since = -1
        self._closed, self._connection = ClosedBars(seconds, ids), connection
        self._begin_bar()

    def _begin_bar(self) -> None:
        self._made = NOTHING
        self._open = self._high = self._low = self._close = self._volume = nan
        # As a row of the ring has them; and how often something may have been lost when its last candle came.
        self._carry, self._first, self._last, self._gaps = 0.0, 0, 0, 0

    def trade(self, trade: Trade) -> bool:
        """Take a trade that was not seen before; return whether it came late, after its bar had closed."""
        number, price, size, seconds = trade
        bucket = seconds // self.seconds
        if bucket != self.newest:
            if bucket < self.newest:
                self.counts.late += 1
                self._closed.correct(bucket, number, price, size)
                return True
            self.advance(bucket)
        self.counts.used += 1
        if self._made & KIND != TRADES:
            self._closed.began = min(self._closed.began, bucket)
            self._made = TRADES | self._made & LOST
            self._open = self._high = self._low = self._close = price
            self._first = self._last = number
            self._volume, self._carry = size, 0.0
            return False
        if number > self._last:
            self._last, self._close = number, price
        elif number < self._first:
            self._first, self._open = number, price
        if price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        self._volume, self._carry = added(self._volume, self._carry, size)
        return False

    def candles(self, candles: Sequence[Candle], bucket: int, *, whole: bool = True) -> str:
        """Take candles of one bucket, ordered by their starts, all different; return the count that they belong to.

        Those that are not the ``whole`` of what was traded in it so far make a bar that is incomplete once it closes.
        """
        if bucket > self.newest:
            self.advance(bucket)
        made, start = CANDLE if whole else DOUBTED, bucket * self.seconds
        if bucket < self.newest:
            return self._closed_candles(candles, bucket, made)
        if self._made & KIND == TRADES:
            return "duplicates"
        held = Fold(self._numbers(), self._carry, self._first, self._last)
        folded = refold(held, candles, start) if self._made & KIND >= CANDLE else fold(candles, start)
        self._made, self._gaps = made, self._connection.gaps
        if folded.is_as(held):
            return "duplicates"
        (self._open, self._high, self._low, self._close, self._volume), self._carry, self._first, self._last = folded
        return "used"

    def _closed_candles(self, candles: Sequence[Candle], bucket: int, made: int) -> str:
        """Have candles fill a closed bar that is missing or incomplete, or correct one that is made of candles."""
        closed, ring, at, start = self._closed, self._closed.ring, bucket % KEPT, bucket * self.seconds
        if not closed.reach(bucket):
            return "late"
        told, before = "re_sent_closed_bucket", ring.mades[at] & KIND
        if before < CANDLE:
            closed.settle()
            if ring.state(at) > (INCOMPLETE if made == CANDLE else MISSING):
                return "duplicates"
            folded, told = fold(candles, start), "used"
        elif made > before:  # which is whole
            return "duplicates"
        else:
            held = Fold(ring.numbers(at), ring.carries[at], ring.firsts[at], ring.lasts[at])
            folded = refold(held, candles, start)
            if folded.is_as(held):
                told = "duplicates"
                if made == before:
                    return told
        ring.write(at, made, *folded)
        closed.changed(bucket)
        return told

    def parts(self, start: int, end: int) -> tuple[list[Candle], bool]:
        """Return the bars from a moment to before another as candles, and whether they tell of all that time so far."""
        closed, seconds, first, past = self._closed, self.seconds, start // self.seconds, end // self.seconds
        # No others are looked at: each candle of a feed has this done again for each longer stream.
        candles, whole = closed.candles(range(max(first, closed.oldest), min(past, closed.newest)))
        if first <= self.newest < past and self._made & KIND != NOTHING:
            candles.append((self.newest * seconds, *self._numbers()))
            whole = whole and not self._is_open_torn()
        return candles, whole and len(candles) == min(past, self.newest + 1) - first

    def advance(self, bucket: int) -> None:
        """Close all bars before a bucket, which is the open one from then on."""
        closed, newest = self._closed, self.newest
        self.newest = bucket
        if newest < 0:
            closed.oldest = closed.newest = bucket
            return
        if self.closed_since < 0:
            self.closed_since = newest
        self._connection.closed += min(bucket - newest, KEPT)
        closed.make_room()
        made = self._made
        # What was missed while the bar was open may have been the last that was told of it.
        if made & KIND == CANDLE and self._gaps != self._connection.gaps:
            made = DOUBTED
        closed.ring.write(newest % KEPT, made, self._numbers(), self._carry, self._first, self._last)
        closed.append(bucket)
        self._begin_bar()

    def touch_between(self, since: int, until: int) -> None:
        """Look again at the bars between two moments, of which the ids of the trades tell something new."""
        self._closed.touch_between(since, until)

    def lose_between(self, since: int, until: int) -> None:
        """Have the bars between two moments stay incomplete, unless candles fill them."""
        self._closed.lose_between(since, until)
        if since // self.seconds <= self.newest <= until // self.seconds:
            self._made |= LOST

    def _numbers(self) -> Numbers:
        return self._open, self._high, self._low, self._close, self._volume

    @property
    def begun(self) -> bool:
        """Whether any trade or candle has come."""
        return self.newest >= 0

    @property
    def since(self) -> int:
        """Seconds since 1970 of the start of the first closed bar that is kept."""
        return self._closed.oldest * self.seconds

    @property
    def newest_ms(self) -> int | None:
        """The start of the newest closed bar in milliseconds since 1970; None before the first."""
        return (self.newest - 1) * self.seconds * 1000 if self.rows else None

    @property
    def rows(self) -> int:
        """How many closed bars are kept."""
        return self._closed.newest - self._closed.oldest

    @property
    def closed(self) -> NDArray[np.float64]:
        """A copy of the closed bars [rows, 5], oldest first: open, high, low, close, volume; NaN where missing."""
        close, high, low, volume, opened = self.columns(len(NUMBERS), self._closed.oldest, self._closed.newest)
        return np.stack((opened, high, low, close, volume), axis=1)

    def columns(self, count: int, first: int, behind: int) -> NDArray[np.float64]:
        """Return a copy of columns of the closed bars from a bucket to before another; NaN where a bar is missing.

        They are the first [count, n] of close, high, low, volume and open; the bars are kept.
        """
        return self._closed.columns(count, first, behind)

    @property
    def indicators(self) -> Indicators:
        """RSI, MACD and volatility, which have had the closes that are no longer kept."""
        return self._closed.indicators()

    def holes(self) -> list[tuple[int, int]]:
        """Return the spans of closed bars that are missing or incomplete, [start, end) in seconds, oldest first."""
        return self._closed.holes()

    def bars(self, last: int) -> list[Bar]:
        """Return so many of the newest bars, oldest first, the open one among them once it holds something."""
        bars = self.closed_bars(max(self.newest + 1 - last, 0))
        if self._made & KIND != NOTHING:
            state: State = "incomplete" if self._is_open_torn() else "open"
            bars.append(Bar(self.newest * self.seconds, *self._numbers(), state))
        return bars[-last:] if last > 0 else []

    def _is_open_torn(self) -> bool:
        return self._made & KIND == TRADES and self._closed.is_torn(self.newest, self._made)

    def closed_starts(self, since: int) -> range:
        """Return the starts of the closed bars from a bucket on, in seconds, as far as they are kept."""
        closed, seconds = self._closed, self.seconds
        return range(max(closed.oldest, since) * seconds, closed.newest * seconds, seconds)

    def closed_bars(self, since: int, most: int = KEPT) -> list[Bar]:
        """Return the closed bars from a bucket on, as far as they are kept, and so many of them at most."""
        starts = self.closed_starts(since)[:most]
        if starts:
            self._closed.settle()
        return [self._bar(start // self.seconds) for start in starts]

    def _bar(self, bucket: int) -> Bar:
        ring, start = self._closed.ring, bucket * self.seconds
        state = ring.state(bucket % KEPT)
        if state == MISSING:
            return Bar(start, None, None, None, None, None, STATES[MISSING])
        return Bar(start, *ring.numbers(bucket % KEPT), STATES[state])

    def dump(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return {
            "seconds": self.seconds,
            "counts": list(self.counts.values()),
            "newest": self.newest,
            "open": [None if isnan(each) else each for each in self._numbers()],
            "of_open": [self._made, self._carry, self._first, self._last, self._gaps],
            "closed": self._closed.dump(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Become what :meth:`dump` was made of, but for the indicators, which begin anew with the closes that are kept.

        Raises KeyError, TypeError or ValueError for what it cannot have been made of.
        """
        self.counts = Counts.load(state["counts"])
        self.newest = int(state["newest"])
        self._open, self._high, self._low, self._close, self._volume = (
            nan if each is None else float(each) for each in state["open"]
        )
        self._made, self._carry, self._first, self._last, self._gaps = state["of_open"]
        # Those of the connection were written down before, and there may have been another since.
        self._connection.gaps = max(self._connection.gaps, self._gaps)
        self._closed.load(state["closed"])
