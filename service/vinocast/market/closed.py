"""The closed bars of one stream: which are kept, what state each is in, and what its indicators run over."""

from __future__ import annotations

from itertools import compress
from math import isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.market.channels import Indicators
from vinocast.market.ring import (
    CANDLE,
    COMPLETE,
    DOUBTED,
    FILLED,
    INCOMPLETE,
    KEPT,
    KIND,
    LOST,
    MISSING,
    NOTHING,
    TRADES,
    Ring,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.market.messages import Candle
    from vinocast.market.trade_ids import TradeIds

NEVER = 2**62


class ClosedBars:
    """The closed bars that are kept, of the buckets ``oldest`` to ``newest - 1``.

    Attributes:
        ring: their rows.
        seconds: of a bar.
        oldest: the first bucket that is kept.
        newest: the one behind the last; -1 before the first.
        began: the bucket of the earliest trade, before which nobody knows what was traded.
    """

    __slots__ = (
        "_before", "_dirty_first", "_dirty_last", "_ids", "_indicators", "began", "newest", "oldest",
        "ring", "seconds",
    )  # fmt: skip

    def __init__(self, seconds: int, ids: TradeIds) -> None:
        self.ring, self.seconds, self._ids = Ring(), seconds, ids
        self.oldest = self.newest = -1
        self.began = NEVER
        self._before = nan  # the close before the oldest bar
        # The buckets whose state, and numbers where they have none of their own, are to be found anew.
        self._dirty_first, self._dirty_last = NEVER, -1
        self._indicators = Indicators()

    # Which are kept

    def append(self, bucket: int) -> None:
        """Take the row that was written for the bucket of ``newest``, and rows of nothing up to before another."""
        newest = self.newest
        self._touch(newest, newest)
        self.newest = newest + 1
        if bucket > self.newest:
            if bucket - self.oldest > KEPT:
                self.drop(bucket - KEPT)
            self._empty(max(self.newest, self.oldest), bucket)
            self.newest = bucket

    def make_room(self) -> None:
        """Drop the oldest bar where there is no room for another."""
        if self.newest - self.oldest >= KEPT:
            self.drop(self.newest - KEPT + 1)

    def reach(self, bucket: int) -> bool:
        """Whether a bucket before the newest is kept, or can be before the oldest, with rows of nothing between."""
        if bucket >= self.oldest:
            return True
        if self.newest - bucket > KEPT:
            return False
        oldest, self.oldest, self._before = self.oldest, bucket, nan
        self._empty(bucket, oldest)
        self._change(bucket)
        return True

    def drop(self, oldest: int) -> None:
        """Keep no bars before a bucket, and of these the last close."""
        # The others wait till they are read: all of them, with each that is dropped, would be 900 times as much.
        self.settle(oldest)
        dropped = [self.ring.closes[bucket % KEPT] for bucket in range(self.oldest, min(oldest, self.newest))]
        if dropped:
            self._before = dropped[-1]
        self.oldest = oldest
        self._indicators.drop(dropped)

    def _empty(self, first: int, end: int) -> None:
        """Have rows from a bucket to before another be made of nothing."""
        self.ring.empty(first % KEPT, end - first)
        self._touch(first, end - 1)

    # What is corrected

    def correct(self, bucket: int, number: int, price: float, size: float) -> None:
        """Put a late trade into its bar, where that is kept and no candle has made it, which holds the trade."""
        if self.reach(bucket) and self.ring.mades[bucket % KEPT] & KIND < CANDLE:
            self.ring.correct(bucket % KEPT, number, price, size)
            if bucket < self.began:
                # Of those up to there it is known now what was traded.
                self._touch(bucket, min(self.began, self.newest - 1))
                self.began = bucket
            self.changed(bucket)

    def changed(self, bucket: int) -> None:
        """Say that the row of a bucket was written anew."""
        self._touch(bucket, bucket)
        self._change(bucket)

    def touch_between(self, since: int, until: int) -> None:
        """Look again at the bars between two moments, of which the ids of the trades tell something new."""
        first, last = max(since // self.seconds, self.oldest), min(until // self.seconds, self.newest - 1)
        if first <= last:
            self._touch(first, last)

    def lose_between(self, since: int, until: int) -> None:
        """Have the bars between two moments stay incomplete, unless candles fill them."""
        first, last = max(since // self.seconds, self.oldest), min(until // self.seconds, self.newest - 1)
        if first <= last:
            self.ring.lose(first % KEPT, last + 1 - first)
            self._touch(first, last)

    def _touch(self, first: int, last: int) -> None:
        self._dirty_first = min(self._dirty_first, first)
        self._dirty_last = max(self._dirty_last, last)

    def _change(self, bucket: int) -> None:
        """Have the indicators compute anew from a bar on, which is another than it was."""
        self._indicators.change(bucket - self.oldest)

    # States

    def settle(self, end: int = NEVER) -> None:
        """Find the states of the bars that were marked, and the numbers of those that have none of their own.

        Those from a bucket on stay as they are, and marked.
        """
        if self._dirty_last < 0:
            return
        ring, bucket, last = self.ring, max(self._dirty_first, self.oldest), self._dirty_last
        self._dirty_first, self._dirty_last = NEVER, -1
        close = ring.closes[(bucket - 1) % KEPT] if bucket > self.oldest else self._before
        changed = NEVER
        while bucket <= last or (bucket < self.newest and ring.mades[bucket % KEPT] & KIND == NOTHING):
            if bucket >= end:
                self._touch(bucket, max(bucket, last))
                break
            at = bucket % KEPT
            if ring.mades[at] & KIND == NOTHING:
                count = ring.count_empty(at, min(max(self.newest, last + 1), end) - bucket)
                changed = min(changed, self._fill(bucket, count, close))
                bucket += count
            else:
                ring.say_state(at, self._state_of(bucket))
                bucket += 1
            close = ring.closes[(bucket - 1) % KEPT]
        if changed < NEVER:
            self._change(changed)

    def _fill(self, bucket: int, count: int, close: float) -> int:
        """Find states and numbers of rows of nothing, all at once; return the first bucket whose close was another.

        A close goes on, up to where it is not known whether anything was traded: from there on they are missing.
        """
        known = self._ids.known // self.seconds + 1 - bucket
        filled = 0 if isnan(close) or bucket <= self.began else min(max(known, 0), count)
        changed = NEVER
        for first, rows, value in ((bucket, filled, close), (bucket + filled, count - filled, nan)):
            if rows and (place := self.ring.fill(first % KEPT, rows, value)) < rows:
                changed = min(changed, first + place)
        for since, until in self._ids.holes_between(bucket * self.seconds, (bucket + filled) * self.seconds):
            first = max(since // self.seconds, bucket)
            self.ring.tear(first % KEPT, min(until // self.seconds + 1, bucket + filled) - first)
        return changed

    def state(self, bucket: int) -> int:
        """Return the state of one bar, whose numbers are right from then on.

        The others stay as they are, and marked, unless it is made of nothing and theirs may be its own.
        """
        if self.ring.mades[bucket % KEPT] & KIND != NOTHING:
            return self._state_of(bucket)
        if bucket <= self.began:
            return MISSING
        self.settle()
        return self.ring.state(bucket % KEPT)

    def _state_of(self, bucket: int) -> int:
        """Return the state of a bar that is made of something."""
        made = self.ring.mades[bucket % KEPT]
        kind = made & KIND
        if kind == CANDLE:
            return COMPLETE if self.ring.volumes[bucket % KEPT] else FILLED
        return INCOMPLETE if kind == DOUBTED or self.is_torn(bucket, made) else COMPLETE

    def is_torn(self, bucket: int, made: int) -> bool:
        """Whether trades of a bucket, open or closed, were missed or may have been, given of what its bar is made."""
        return (
            bool(made & LOST)
            or bucket <= self.began
            or self._ids.touch(bucket * self.seconds, (bucket + 1) * self.seconds)
        )

    # What is read

    def candles(self, buckets: range) -> tuple[list[Candle], bool]:
        """Return those of some bars that are not missing as candles, and whether all these are whole."""
        if not buckets:
            return [], True
        ring, at, count = self.ring, buckets.start % KEPT, len(buckets)
        states, incomplete = ring.kinds(at, count), DOUBTED
        if TRADES in states or (NOTHING in states and buckets[-1] > self.began):
            pairs = zip(buckets, states, strict=True)
            states = bytearray(COMPLETE if kind == CANDLE else self.state(bucket) for bucket, kind in pairs)
            incomplete = INCOMPLETE
        starts = range(buckets.start * self.seconds, buckets.stop * self.seconds, self.seconds)
        return [*compress(zip(starts, *ring.bars(at, count), strict=True), states)], incomplete not in states

    def columns(self, count: int, first: int, behind: int) -> NDArray[np.float64]:
        """Return a copy of columns of the bars from a bucket to before another; NaN where one is missing.

        They are the first [count, n] of close, high, low, volume and open.
        """
        self.settle()
        return self.ring.columns(count, first, behind)

    def indicators(self) -> Indicators:
        """Return the indicators, which know of what was corrected."""
        self.settle()
        return self._indicators

    def holes(self) -> list[tuple[int, int]]:
        """Return the spans of bars that are missing or incomplete, [start, end) in seconds, oldest first."""
        self.settle()
        spans: list[tuple[int, int]] = []
        for bucket in range(self.oldest, self.newest):
            if self.ring.state(bucket % KEPT) <= INCOMPLETE:
                start, end = bucket * self.seconds, (bucket + 1) * self.seconds
                if spans and spans[-1][1] == start:
                    spans[-1] = (spans[-1][0], end)
                else:
                    spans.append((start, end))
        return spans

    def dump(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        self.settle()
        return {
            "buckets": [self.oldest, self.newest, self.began],
            "before": None if isnan(self._before) else self._before,
            **self.ring.dump(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Become what :meth:`dump` was made of; the indicators begin anew with the closes that are kept.

        Raises KeyError, TypeError or ValueError for what it cannot have been made of.
        """
        self.oldest, self.newest, self.began = map(int, state["buckets"])
        if not (self.oldest == self.newest == -1 or 0 <= self.newest - self.oldest <= KEPT):
            raise ValueError(f"expected up to {KEPT} buckets, got {self.oldest} to {self.newest}")
        self._before = nan if state["before"] is None else float(state["before"])
        self.ring.load(state)
