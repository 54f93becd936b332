"""The bars of one stream: the open one, and the closed ones in a ring, each corrected while it is kept."""

from __future__ import annotations

from array import array
from math import isnan, nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vinocast.market.counts import Counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.market.connection import Connection
    from vinocast.market.messages import Candle, Trade
    from vinocast.market.trade_ids import TradeIds

# Closed bars that a stream keeps.
KEPT = 900
# Of what a bar is made: of nothing, of trades, of a candle, of a candle some of whose updates may have been lost.
NOTHING, TRADES, CANDLE, DOUBTED = range(4)
# Beside these: of trades, some of which were missed, and the hole is forgotten.
LOST = 4
MISSING, INCOMPLETE, FILLED, COMPLETE = range(4)
STATES = ("missing", "incomplete", "filled", "complete")
COLUMNS = ("opens", "highs", "lows", "closes", "volumes")


class Bar(NamedTuple):
    """One bar.

    Attributes:
        start: seconds since 1970 of its beginning.
        open: of the first trade; this and the other numbers are None where the bar is missing.
        high: the highest price.
        low: the lowest.
        close: of the last trade; in a bar without trades all prices are the last close.
        volume: the sum of the sizes.
        state: ``open``, ``complete``, ``filled``, ``incomplete`` or ``missing``.
    """

    start: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    state: str


class MarketStream:
    """The bars of one product and one length.

    A bucket is the number of a bar: its start, divided by its length. Bucket b of those that are kept, ``oldest`` to
    ``newest - 1``, stands in the ring at b modulo KEPT; the bar of ``newest`` is open and stands beside it.

    Attributes:
        name: such as ``BTC-USD@5m``.
        product: such as ``BTC-USD``.
        seconds: of a bar.
        counts: since the stream began.
        oldest: the first bucket that is kept.
        newest: the open one, which no trade and no candle has reached yet where it is made of nothing; -1 before all.
        changes: how often closed bars were changed otherwise than by another that closed: corrected, filled, or put
            before the first. Who computes along the closed bars begins anew where it differs.
    """

    __slots__ = (
        "_before",
        "_carries",
        "_carry",
        "_close",
        "_close_id",
        "_close_ids",
        "_closes",
        "_connection",
        "_dirty_first",
        "_dirty_last",
        "_gaps",
        "_high",
        "_highs",
        "_ids",
        "_low",
        "_lows",
        "_made",
        "_mades",
        "_open",
        "_open_id",
        "_open_ids",
        "_opens",
        "_settled",
        "_states",
        "_volume",
        "_volumes",
        "changes",
        "closed_since",
        "counts",
        "name",
        "newest",
        "oldest",
        "product",
        "seconds",
    )

    def __init__(self, name: str, product: str, seconds: int, ids: TradeIds, connection: Connection) -> None:
        self.name, self.product, self.seconds = name, product, seconds
        self.counts = Counts()
        self.oldest = self.newest = -1
        self.changes = 0
        # The first bucket that has closed since it was last asked; -1 for none.
        self.closed_since = -1
        self._ids, self._connection = ids, connection
        self._opens, self._highs, self._lows, self._closes, self._volumes = (
            array("d", bytes(8 * KEPT)) for _ in range(5)
        )
        # A sum of sizes is kept to twice the precision, so that the order of its trades does not matter.
        self._carries = array("f", bytes(4 * KEPT))
        self._open_ids, self._close_ids = array("q", bytes(8 * KEPT)), array("q", bytes(8 * KEPT))
        self._mades, self._states = bytearray(KEPT), bytearray(KEPT)
        # The close before the oldest bar.
        self._before = nan
        # The closed buckets whose state, and numbers where they have none of their own, are to be found anew.
        self._dirty_first, self._dirty_last = 2**62, -1
        self._settled = -1  # buckets before it have been settled once
        self._begin_bar()

    def _begin_bar(self) -> None:
        self._made = NOTHING
        self._open = self._high = self._low = self._close = nan
        self._volume = self._carry = 0.0
        self._open_id = self._close_id = -1
        self._gaps = 0

    # Trades

    def trade(self, trade: Trade) -> bool:
        """Take a trade that was not seen before; return whether it came late, after its bar had closed."""
        number, price, size, seconds = trade
        bucket = seconds // self.seconds
        if bucket != self.newest:
            if bucket < self.newest:
                self.counts.late += 1
                self._late(bucket, trade)
                return True
            self.advance(bucket)
        self.counts.used += 1
        if self._made & 3 != TRADES:
            self._made = TRADES | self._made & LOST
            self._open = self._high = self._low = self._close = price
            self._open_id = self._close_id = number
            self._volume, self._carry = size, 0.0
            return False
        if number > self._close_id:
            self._close_id, self._close = number, price
        elif number < self._open_id:
            self._open_id, self._open = number, price
        if price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        volume = self._volume
        total = volume + size
        part = total - volume
        carry = self._carry + ((volume - (total - part)) + (size - part))
        self._volume = total + carry
        self._carry = carry - (self._volume - total)
        return False

    def _late(self, bucket: int, trade: Trade) -> None:
        """Have a trade correct its closed bar, where that is kept."""
        if not self._reach(bucket):
            return
        number, price, size, _ = trade
        at = bucket % KEPT
        made = self._mades[at] & 3
        if made >= CANDLE:  # which holds it already
            return
        self._touch(bucket, bucket)
        self.changes += 1
        if made == NOTHING:
            self._mades[at] |= TRADES
            self._opens[at] = self._highs[at] = self._lows[at] = self._closes[at] = price
            self._open_ids[at] = self._close_ids[at] = number
            self._volumes[at], self._carries[at] = size, 0.0
            return
        if number > self._close_ids[at]:
            self._close_ids[at], self._closes[at] = number, price
        elif number < self._open_ids[at]:
            self._open_ids[at], self._opens[at] = number, price
        self._highs[at] = max(self._highs[at], price)
        self._lows[at] = min(self._lows[at], price)
        volume = self._volumes[at]
        total = volume + size
        part = total - volume
        carry = self._carries[at] + ((volume - (total - part)) + (size - part))
        self._volumes[at] = total + carry
        self._carries[at] = carry - (self._volumes[at] - total)

    # Candles

    def candle(self, candle: Candle) -> str:
        """Take a candle of the stream's own length; return the name of the count that it belongs to."""
        bucket = candle[0] // self.seconds
        if bucket > self.newest:
            self.advance(bucket)
        if bucket < self.newest:
            return self._closed_candle(bucket, candle)
        if self._made & 3 == TRADES:
            return "duplicates"
        self._made, self._gaps = CANDLE, self._connection.gaps
        if (self._open, self._high, self._low, self._close, self._volume) == candle[1:]:
            return "duplicates"
        _, self._open, self._high, self._low, self._close, self._volume = candle
        return "used"

    def _closed_candle(self, bucket: int, candle: Candle) -> str:
        if not self._reach(bucket):
            return "late"
        at = bucket % KEPT
        made, told = self._mades[at] & 3, "re_sent_closed_bucket"
        if made < CANDLE:
            self.settle()
            if self._states[at] > INCOMPLETE:
                return "duplicates"
            told = "used"
        elif (self._opens[at], self._highs[at], self._lows[at], self._closes[at], self._volumes[at]) == candle[1:]:
            if made == CANDLE:
                return "duplicates"
            told = "duplicates"
        self._mades[at] = CANDLE
        _, self._opens[at], self._highs[at], self._lows[at], self._closes[at], self._volumes[at] = candle
        self.changes += 1
        self._touch(bucket, bucket)
        return told

    # The ring

    def advance(self, bucket: int) -> None:
        """Close all bars before a bucket, which is the open one from then on."""
        newest = self.newest
        if newest < 0:
            self.oldest = self.newest = self._settled = bucket
            return
        if self.closed_since < 0:
            self.closed_since = newest
        if newest - self.oldest >= KEPT:
            self._drop(newest - KEPT + 1)
        at, made = newest % KEPT, self._made
        self._opens[at], self._highs[at], self._lows[at] = self._open, self._high, self._low
        self._closes[at], self._volumes[at], self._carries[at] = self._close, self._volume, self._carry
        self._open_ids[at], self._close_ids[at] = self._open_id, self._close_id
        # What was missed while the bar was open may have been the last that was told of it.
        self._mades[at] = DOUBTED if made == CANDLE and self._gaps != self._connection.gaps else made
        self._dirty_first = min(self._dirty_first, newest)
        self._dirty_last = newest
        self.newest = newest + 1
        if bucket - self.oldest > KEPT:
            self._drop(bucket - KEPT)
        for each in range(max(newest + 1, self.oldest), bucket):
            self._mades[each % KEPT] = NOTHING
            self._dirty_first, self._dirty_last = min(self._dirty_first, each), each
        self.newest = bucket
        self._begin_bar()

    def _drop(self, oldest: int) -> None:
        """Keep no bars before a bucket, and of these the last close."""
        self.settle()
        close = self._closes[(min(oldest, self.newest) - 1) % KEPT]
        self._before = close
        self.oldest = oldest

    def _reach(self, bucket: int) -> bool:
        """Whether a closed bucket is kept, or can be, before the oldest; those between are made of nothing."""
        if bucket >= self.oldest:
            return True
        if self.newest - bucket > KEPT:
            return False
        for each in range(bucket, self.oldest):
            self._mades[each % KEPT] = NOTHING
        self._touch(bucket, self.oldest - 1)
        self.oldest, self._before = bucket, nan
        self.changes += 1
        return True

    def _touch(self, first: int, last: int) -> None:
        """Mark closed buckets whose state, and numbers if they have none of their own, may be others now."""
        self._dirty_first = min(self._dirty_first, first)
        self._dirty_last = max(self._dirty_last, last)

    def touch_between(self, since: int, until: int) -> None:
        """Mark the closed bars between two moments, of which the ids of the trades tell something new."""
        first, last = max(since // self.seconds, self.oldest), min(until // self.seconds, self.newest - 1)
        if first <= last:
            self._touch(first, last)

    def lose_between(self, since: int, until: int) -> None:
        """Have the bars between two moments stay incomplete, unless a candle fills them."""
        first, last = max(since // self.seconds, self.oldest), min(until // self.seconds, self.newest)
        for bucket in range(first, last + 1):
            if bucket == self.newest:
                self._made |= LOST
            else:
                self._mades[bucket % KEPT] |= LOST
        self.touch_between(since, until)

    def settle(self) -> None:
        """Find the states of the buckets that are marked, and the numbers of those that have none of their own."""
        if self._dirty_last < 0:
            return
        bucket, last = max(self._dirty_first, self.oldest), self._dirty_last
        close = self._closes[(bucket - 1) % KEPT] if bucket > self.oldest else self._before
        while bucket <= last or (bucket < self.newest and not self._mades[bucket % KEPT] & 3):
            at = bucket % KEPT
            state, made = self._state_of(bucket, self._mades[at]), self._mades[at] & 3
            if made == NOTHING:
                if state == MISSING or isnan(close):
                    state, close = MISSING, nan
                if bucket < self._settled and self._closes[at] != close and (not isnan(close) or self._states[at]):
                    self.changes += 1
                self._opens[at] = self._highs[at] = self._lows[at] = self._closes[at] = close
                self._volumes[at] = 0.0 if state else nan
            self._states[at], close = state, self._closes[at]
            bucket += 1
        self._settled = max(self._settled, bucket)
        self._dirty_first, self._dirty_last = 2**62, -1

    def _state_of(self, bucket: int, made: int) -> int:
        ids, start = self._ids, bucket * self.seconds
        kind = made & 3
        if kind == CANDLE:
            return COMPLETE if self._volumes[bucket % KEPT] else FILLED
        if kind == DOUBTED:
            return INCOMPLETE
        if kind == NOTHING and not (ids and ids.began // self.seconds < bucket <= ids.last_seconds // self.seconds):
            return MISSING
        if made & LOST or ids.touched(start, self.seconds):
            return INCOMPLETE
        return COMPLETE if kind == TRADES else FILLED

    # What is read

    @property
    def rows(self) -> int:
        """How many closed bars are kept."""
        return self.newest - self.oldest

    @property
    def closed(self) -> NDArray[np.float64]:
        """A copy of the closed bars [rows, 6], oldest first: start, open, high, low, close, volume.

        The numbers of a bar that is missing are NaN.
        """
        self.settle()
        buckets = np.arange(self.oldest, self.newest)
        at = buckets % KEPT
        columns = (self._opens, self._highs, self._lows, self._closes, self._volumes)
        return np.column_stack([buckets * float(self.seconds), *(np.frombuffer(each)[at] for each in columns)])

    def bars(self, last: int) -> list[Bar]:
        """Return so many of the newest bars, oldest first, with the open one once it holds something."""
        bars = [self.bar(bucket) for bucket in range(max(self.oldest, self.newest + 1 - last), self.newest)]
        if self._made & 3:
            bars.append(self._open_bar())
        return bars[-last:] if last > 0 else []

    def closed_bars(self, since: int) -> list[Bar]:
        """Return the closed bars from a bucket on, as far as they are kept."""
        return [self.bar(bucket) for bucket in range(max(self.oldest, since), self.newest)]

    def bar(self, bucket: int) -> Bar:
        """Return a closed bar that is kept."""
        self.settle()
        at, start = bucket % KEPT, bucket * self.seconds
        state = self._states[at]
        if state == MISSING:
            return Bar(start, None, None, None, None, None, "missing")
        return Bar(
            start, self._opens[at], self._highs[at], self._lows[at], self._closes[at], self._volumes[at], STATES[state]
        )

    def _open_bar(self) -> Bar:
        start = self.newest * self.seconds
        state = "open"
        if self._made & 3 == TRADES and (self._made & LOST or self._ids.touched(start, self.seconds)):
            state = "incomplete"
        return Bar(start, self._open, self._high, self._low, self._close, self._volume, state)

    def holes(self) -> list[tuple[int, int]]:
        """Return the spans of closed bars that are missing or incomplete, [start, end) in seconds, oldest first."""
        self.settle()
        spans: list[tuple[int, int]] = []
        for bucket in range(self.oldest, self.newest):
            if self._states[bucket % KEPT] <= INCOMPLETE:
                start, end = bucket * self.seconds, (bucket + 1) * self.seconds
                if spans and spans[-1][1] == start:
                    spans[-1] = (spans[-1][0], end)
                else:
                    spans.append((start, end))
        return spans
