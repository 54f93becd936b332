"""A product: its trade ids, which all its streams share, and what a message tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vinocast.errors import StaleTimestampError, TimestampAheadError
from vinocast.market.bars import MarketStream
from vinocast.market.trade_ids import EVER, TradeIds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.market.connection import Connection
    from vinocast.market.counts import Counts
    from vinocast.market.lengths import BarLength
    from vinocast.market.messages import Candle, Trade


class Product:
    """The streams of one product.

    Attributes:
        name: such as ``BTC-USD``.
        streams: one for each length of a bar.
    """

    __slots__ = ("_connection", "_counts", "_ids", "_lengths", "_now", "_reach", "_suspect", "name", "streams")

    def __init__(
        self, name: str, lengths: Sequence[BarLength], connection: Connection, counts: Counts, steps_ahead: int
    ) -> None:
        self.name = name
        self._lengths, self._connection, self._counts = lengths, connection, counts
        self._reach = steps_ahead * min(length.seconds for length in lengths)
        self._begin()

    def _begin(self) -> None:
        self._ids = TradeIds()
        self._now = EVER
        self._suspect: int | None = None
        self.streams = [
            MarketStream(length.stream(self.name), self.name, length.seconds, self._ids, self._connection)
            for length in self._lengths
        ]

    def check(self, first: int, last: int, *, newest: bool) -> None:
        """Refuse what lies too far from all that was seen: between two moments, ``newest`` where it has to be behind.

        One wrong clock must not close a stream for good, and a product that was silent for long must go on: so the
        first is refused, and the next is taken where it is as far.

        Raises:
            TimestampAheadError: it is further ahead than the bound.
            StaleTimestampError: it is new and lies further behind than the bound.
        """
        now, reach = self._now, self._reach
        if now == EVER:
            now = first
        ahead, behind = last - now > reach, newest and now - first > reach
        if not ahead and not behind:
            self._suspect = None
            return
        if last - first <= reach and self._suspect is not None and abs(first - self._suspect) <= reach:
            if behind:
                self._begin()
            self._suspect = None
            return
        self._suspect = last if ahead else first
        kind = TimestampAheadError if ahead else StaleTimestampError
        raise kind(
            f"expected a time within {reach} s (--max-steps-ahead) of the newest of {self.name}, {now}, got "
            f"{self._suspect}; the next as far away is taken"
        )

    def take_trades(self, trades: list[Trade]) -> None:
        """Take trades, ordered by id."""
        ids, counts = self._ids, self._counts
        for trade in trades:
            number, seconds = trade[0], trade[3]
            if number > ids.last:
                since = ids.last_seconds
                hole = ids.follow(number, seconds)
                if hole is not None:
                    self._count_missed(hole.last - hole.first + 1)
                if since != EVER:
                    for stream in self.streams:
                        stream.touch_between(since, seconds)
                self._now = max(self._now, seconds)
            elif not self._mend(number, seconds):
                counts.duplicates += 1
                for stream in self.streams:
                    stream.counts.duplicates += 1
                continue
            late = False
            for stream in self.streams:
                late |= stream.trade(trade)
            if late:
                counts.late += 1
            else:
                counts.used += 1
        self._forget()

    def _mend(self, number: int, seconds: int) -> bool:
        """Take an id that is not above the last; return whether it was not seen before."""
        ids = self._ids
        index = ids.find(number)
        if index is None:
            return False
        missed = ids.missed
        since, until = ids.mend(index, number, seconds)
        self._count_missed(ids.missed - missed)
        for stream in self.streams:
            stream.touch_between(since, until)
        return True

    def _count_missed(self, missed: int) -> None:
        self._counts.missed_trades += missed
        for stream in self.streams:
            stream.counts.missed_trades += missed

    def _forget(self) -> None:
        """Forget what no bar needs any more, and the oldest holes where there are too many."""
        ids = self._ids
        if len(ids.holes) > 1:
            ids.forget(min(stream.oldest * stream.seconds for stream in self.streams))
            while (hole := ids.oldest_if_too_many()) is not None:
                for stream in self.streams:
                    stream.lose_between(hole.since, hole.until)

    def heartbeat(self, last_trade_id: int, seconds: int) -> None:
        """Take a heartbeat: it ends the bars before it, where no trade is missing."""
        ids = self._ids
        if last_trade_id == ids.last and ids and seconds > ids.last_seconds:
            self.check(seconds, seconds, newest=False)
            ids.last_seconds = seconds
            self._now = max(self._now, seconds)
            for stream in self.streams:
                if seconds // stream.seconds > stream.newest:
                    stream.advance(seconds // stream.seconds)

    def take_candles(self, candles: list[Candle], seconds: int) -> None:
        """Take candles of so many seconds, ordered by their start."""
        for candle in candles:
            for stream in self.streams:
                if stream.seconds == seconds:
                    told = stream.candle(candle)
                    setattr(stream.counts, told, getattr(stream.counts, told) + 1)
                    setattr(self._counts, told, getattr(self._counts, told) + 1)
        self._now = max(self._now, candles[-1][0])
