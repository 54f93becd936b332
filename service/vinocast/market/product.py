"""A product: its trade ids, which all its streams share, and what a message tells of it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from vinocast.errors import InvalidValueError, StaleTimestampError, TimestampAheadError
from vinocast.market.bars import MarketStream
from vinocast.market.changes import check_all
from vinocast.market.messages import CANDLE_SECONDS
from vinocast.market.ring import KEPT
from vinocast.market.trade_ids import EVER, MOST_LEAP, TradeIds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.market.changes import Change
    from vinocast.market.connection import Connection
    from vinocast.market.counts import Counts
    from vinocast.market.lengths import BarLength
    from vinocast.market.messages import Candle, Heartbeat, Trade


class Product:
    """The streams of one product.

    Attributes:
        name: such as ``BTC-USD``.
        streams: one for each length of a bar.
    """

    __slots__ = (
        "_before",
        "_connection",
        "_counts",
        "_fine",
        "_ids",
        "_kept",
        "_leap",
        "_lengths",
        "_now",
        "_reach",
        "_suspect",
        "_suspect_id",
        "name",
        "streams",
    )

    def __init__(
        self, name: str, lengths: Sequence[BarLength], connection: Connection, counts: Counts, steps_ahead: int
    ) -> None:
        self.name = name
        self._lengths, self._connection, self._counts = lengths, connection, counts
        self._reach = steps_ahead * min(length.seconds for length in lengths)
        self._kept = KEPT * max(length.seconds for length in lengths)
        # Beyond it a single time leaves none of the bars that a stream has.
        self._leap = min(self._reach, KEPT * min(length.seconds for length in lengths))
        self._begin()

    def _begin(self) -> None:
        self._suspect: int | None = None
        self._suspect_id: int | None = None
        self._ids, self._now = TradeIds(), EVER
        # What there was before the newest time leapt, until another as new is as far.
        self._before: dict[str, Any] | None = None
        # What candles of a feed make, where bars of their length are not kept but longer ones.
        self._fine: MarketStream | None = None
        self.streams = [self._stream(length) for length in self._lengths]

    def _stream(self, length: BarLength) -> MarketStream:
        return MarketStream(length.stream(self.name), self.name, length.seconds, self._ids, self._connection)

    def forget(self, stream: MarketStream) -> None:
        """Begin one of the streams anew."""
        place = self.streams.index(stream)
        self.streams[place] = self._stream(self._lengths[place])

    # Times and ids out of reach

    def check_trades(self, trades: list[Trade]) -> Change | None:
        """Refuse trades, ordered by id, whose times or ids lie too far from all that was seen.

        See :meth:`_check` and :meth:`_check_ids`.
        """
        last = self._ids.last
        if self._suspect_id is None and last - MOST_LEAP <= trades[0][0] and trades[-1][0] <= last + MOST_LEAP:
            return self._check_times(trades)
        # Both, so that one message tells of a leap of both.
        return check_all((partial(self._check_times, trades), partial(self._check_ids, trades)))

    def _check_times(self, trades: list[Trade]) -> Change | None:
        if len(trades) == 1:
            first = last = trades[0][3]
        else:
            times = [trade[3] for trade in trades]
            first, last = min(times), max(times)
        if (
            self._suspect is not None
            or self._before is not None
            or not 0 <= last - self._now <= self._leap
            or last - first > self._reach
        ):
            return self._check(first, last, new=trades[-1][0] > self._ids.last)
        return None

    def check_candles(self, candles: list[Candle]) -> Change | None:
        """Refuse candles, ordered by start, that lie too far ahead of all that was seen; see :meth:`_check`."""
        return self._check(candles[0][0], candles[-1][0], new=False)

    def check_history(self, newest: int) -> Change | None:
        """Refuse history, however long, of which the newest candle lies too far ahead; see :meth:`_check`."""
        return self._check(newest, newest, new=False)

    def _check(self, first: int, last: int, *, new: bool) -> Change | None:
        """Refuse what happened between two moments where that is out of reach; return what is to be done before it.

        One wrong clock must not close a stream for good, and a product that was silent for long must go on: so the
        first that is out of reach is refused, and the next is taken where it is as far. What is ``new`` and lies before
        all bars that are kept, or goes on from before a leap, has the product begin there then: it was the newest whose
        clock was wrong.

        Raises:
            TimestampAheadError: it is further ahead of the newest than the bound.
            StaleTimestampError: it is new, and before all bars that are kept, or a leap.
        """
        reach, now = self._reach, self._now
        if now == EVER:
            return None
        ahead, behind = last - now > reach, new and (now - last > self._kept or self._goes_on_before(last))
        suspect = self._suspect
        if not ahead and not behind:
            self._suspect = None
            if last - now > self._leap and self._ids:  # without trades there will be none that go on from before
                return self._leap_ahead
            return self._stay if new and self._before is not None else None
        if suspect is not None and last - first <= reach and abs(last - suspect) <= reach:
            return self._go_back if behind else self._stay
        self._suspect = last
        if ahead:
            raise TimestampAheadError(
                f"expected a time within {reach} s (--max-steps-ahead) of the newest of {self.name}, which is {now}, "
                f"got {last}; the next as far away will be taken"
            )
        raise StaleTimestampError(
            f"expected a new trade of {self.name} to be near the newest, which is {now}, got "
            f"{last}; the next as far away will begin the product anew, or where it was before the newest"
        )

    def _check_ids(self, trades: Sequence[Trade]) -> Change | None:
        """Refuse trades, ordered by id, of which an id leaps; return what is to be done before them.

        One wrong id must not leave a hole that no sound one ever ends: as with times, the first is refused, and the
        next is taken where it is as far. Trades that are newer than all that were seen and far below their ids say
        that the highest of these were wrong, and have the ids go on from before them.

        Raises InvalidValueError where it is the first.
        """
        ids, suspect, last = self._ids, self._suspect_id, trades[-1]
        leapt, hole = (last if ids and last[0] - max(ids.last, ids.announced[0]) > MOST_LEAP else None), None
        if leapt is None:
            for trade in trades:
                if ids.last - trade[0] <= MOST_LEAP:
                    break
                if trade[3] >= ids.last_seconds and (index := ids.find(trade[0])) is not None:
                    leapt, hole = trade, index
        if leapt is None:
            self._suspect_id = None
            return None
        number, *_, seconds = leapt
        if suspect is not None and last[0] - trades[0][0] <= MOST_LEAP and abs(number - suspect) <= MOST_LEAP:
            return self._trust_ids if hole is None else partial(self._take_ids_back, hole, seconds)
        self._suspect_id = number
        raise InvalidValueError(
            f"expected an id within {MOST_LEAP} of the last trade of {self.name}, which is {ids.last}, got {number}; "
            "the next as far away will be taken"
        )

    def _trust_ids(self) -> None:
        self._suspect_id = None

    def _take_ids_back(self, index: int, seconds: int) -> None:
        """Go on from before a hole with a trade that happened then, since the ids behind the hole were wrong.

        Nobody knows which those should have been, so that the bars from the first of them on stay incomplete.
        """
        ids = self._ids
        wrong = ids.holes[index + 1 :]
        times = [ids.last_seconds, seconds, ids.holes[index].until, *(hole.since for hole in wrong)]
        times += [hole.until for hole in wrong]
        for stream in self.streams:
            if stream.begun and seconds // stream.seconds > stream.newest:
                stream.advance(seconds // stream.seconds)
            stream.lose_between(min(times), max(times))
        self._count_missed(-ids.take_back(index))
        self._suspect_id = None

    def _leap_ahead(self) -> None:
        self._before = {**self.dump(), "before": None}

    def _stay(self) -> None:
        self._suspect = self._before = None

    def _go_back(self) -> None:
        before = self._before
        self._begin()
        if before is not None:
            self.load(before)
            self._suspect = self._suspect_id = None

    def _goes_on_before(self, last: int) -> bool:
        """Whether a time goes on from where the product was before the newest leapt."""
        return self._before is not None and last - int(self._before["now"]) <= self._leap

    def closing(self, moments: Sequence[int], streams: Sequence[MarketStream]) -> int:
        """Return how many bars of some of its streams may close at most with what happened at some moments."""
        span = max(moments) - (min(moments) if self._now == EVER else self._now)
        return sum(min(len(moments) * KEPT, max(span, 0) // stream.seconds + 1) for stream in streams)

    # What is taken

    def take_trades(self, trades: list[Trade]) -> None:
        """Take trades, ordered by id."""
        counts, streams = self._counts, self.streams
        for trade in trades:
            if not self._take_id(trade[0], trade[3]):
                counts.duplicates += 1
                for stream in streams:
                    stream.counts.duplicates += 1
                continue
            late = False
            for stream in streams:
                if stream.trade(trade):
                    late = True
            if late:
                counts.late += 1
            else:
                counts.used += 1
        if len(self._ids.holes) > 1:
            self._forget()

    def _take_id(self, number: int, seconds: int) -> bool:
        """Take the id of a trade and its time; return whether it was not seen before."""
        ids = self._ids
        missed = ids.missed
        if number > ids.last:
            since, until = ids.last_seconds, seconds
            if until < since:
                since, until = until, since
            ids.follow(number, seconds)
        else:
            index = ids.find(number)
            if index is None:
                return False
            since, until = ids.mend(index, number, seconds)
        self._now = max(self._now, seconds)
        if ids.missed != missed:
            self._count_missed(ids.missed - missed)
        for stream in self.streams:
            if since // stream.seconds < stream.newest:
                stream.touch_between(since, until)
        return True

    def _count_missed(self, missed: int) -> None:
        self._counts.add("missed_trades", missed)
        for stream in self.streams:
            stream.counts.add("missed_trades", missed)

    def _forget(self) -> None:
        """Forget the holes in which no bar is kept any more, and the oldest where there are too many."""
        self._ids.forget(min((stream.since for stream in self.streams if stream.begun), default=EVER))
        while (hole := self._ids.oldest_if_too_many()) is not None:
            for stream in self.streams:
                stream.lose_between(min(hole.since, hole.until), max(hole.since, hole.until))

    def take_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Take a heartbeat: it ends the bars before it, where no trade is missing.

        Raises TimestampAheadError and InvalidValueError as :meth:`check_trades` does.
        """
        ids, number, seconds = self._ids, heartbeat.last_trade_id, heartbeat.seconds
        if number == 0 or not ids.holes or number < ids.last:
            return
        if self._suspect_id is None and number <= ids.last + MOST_LEAP:
            change = self._check(seconds, seconds, new=False)
        else:
            told = [(number, 0.0, 0.0, seconds)]
            change = check_all((partial(self._check, seconds, seconds, new=False), partial(self._check_ids, told)))
        if change is not None:
            change()
        since, announced = ids.last_seconds, ids.announced[1]
        missed = ids.announce(number, seconds)
        if missed:
            since = min(since, announced)
            self._count_missed(missed)
        self._now = max(self._now, ids.known)
        for stream in self.streams:
            if stream.begun and ids.known // stream.seconds > stream.newest:
                stream.advance(ids.known // stream.seconds)
            stream.touch_between(since, ids.known)
        self._forget()

    def take_fed_candles(self, candles: list[Candle]) -> None:
        """Take candles of a feed, ordered by their starts, all different: longer bars are folded from these."""
        lengths = [stream.seconds for stream in self.streams]
        if CANDLE_SECONDS in lengths:
            fine = self.streams[lengths.index(CANDLE_SECONDS)]
            self.take_candles(fine, candles)
        else:
            fine = self._fine = self._fine or self._new_fine()
            self.take_candles(fine, candles)
        for stream in self.streams:
            if stream.seconds > CANDLE_SECONDS and stream.seconds % CANDLE_SECONDS == 0:
                self._take_folded(stream, fine, candles)

    def _new_fine(self) -> MarketStream:
        return MarketStream("", self.name, CANDLE_SECONDS, TradeIds(), self._connection)

    def _take_folded(self, stream: MarketStream, fine: MarketStream, candles: list[Candle]) -> None:
        """Fold the bars of a shorter stream, which candles have changed, into those of a longer one."""
        seconds = stream.seconds
        counts = Counter(candle[0] // seconds for candle in candles)
        # Before it closes, what the bar lacks is told.
        if 0 <= stream.newest < max(counts):
            counts.setdefault(stream.newest, 0)
        for bucket in sorted(counts):
            parts, whole = fine.parts(bucket * seconds, (bucket + 1) * seconds)
            name = stream.candles(parts, bucket, whole=whole) if parts else "late"
            stream.counts.add(name, counts[bucket])

    def take_candles(self, stream: MarketStream, candles: list[Candle]) -> None:
        """Take candles of a stream, ordered by their starts, all different; several of one bar are folded."""
        for bucket, group in groupby(candles, lambda candle: candle[0] // stream.seconds):
            of_bar = list(group)
            name = stream.candles(of_bar, bucket)
            stream.counts.add(name, len(of_bar))
            self._counts.add(name, len(of_bar))
        self._now = max(self._now, candles[-1][0])

    # What outlasts the service

    def dump(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return {
            "product": self.name,
            "now": self._now,
            "suspect": self._suspect,
            "suspect_id": self._suspect_id,
            "ids": self._ids.dump(),
            "streams": [stream.dump() for stream in self.streams],
            "fine": None if self._fine is None else self._fine.dump(),
            "before": self._before,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Become what :meth:`dump` was made of, in the streams that are kept still.

        Raises KeyError, TypeError or ValueError for what it cannot have been made of.
        """
        self._now, self._suspect = int(state["now"]), state["suspect"]
        # A state that an earlier version wrote has neither.
        self._suspect_id, self._before = state.get("suspect_id"), state.get("before")
        self._ids.load(state["ids"])
        dumped = {each["seconds"]: each for each in state["streams"]}
        for stream in self.streams:
            if stream.seconds in dumped:
                stream.load(dumped[stream.seconds])
        if state["fine"] is not None:
            self._fine = self._new_fine()
            self._fine.load(state["fine"])
