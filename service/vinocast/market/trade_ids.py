"""Which trades of a product have been seen, and where some are missing: ids are contiguous, so a hole is loss."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Holes that are remembered; the oldest is forgotten for another.
MOST_HOLES = 128
# Ids that may be missed at once before the first is held to be wrong: days of a busy market.
MOST_LEAP = 1_000_000
# Before every moment that can be told.
EVER = -(2**62)


class Hole:
    """Ids that were not seen, and the seconds between which they happened.

    Attributes:
        first: the lowest id of them.
        last: the highest.
        since: seconds since 1970 of the trade before them.
        until: of the trade behind them, which may be the earlier of the two by a clock that was set back.
    """

    __slots__ = ("first", "last", "since", "until")

    def __init__(self, first: int, last: int, since: int, until: int) -> None:
        self.first = first
        self.last = last
        self.since = since
        self.until = until


class TradeIds:
    """The ids of one product, from the first seen to the last, with the holes between.

    What lies before the first is a hole as well, of which nobody knows whether it was missed: it is not counted.

    Attributes:
        last: the highest id seen, -1 before the first trade.
        last_seconds: its time, or that of a heartbeat which tells of no later trade.
        known: the latest time of all trades and of such heartbeats.
        announced: the last id of the last heartbeat, and its time.
        holes: in the order of their ids; that before the first trade stands first.
        missed: ids that are missing in all the holes that are counted, those forgotten included.
    """

    __slots__ = ("_spans", "announced", "holes", "known", "last", "last_seconds", "missed")

    def __init__(self) -> None:
        self.last = -1
        self.last_seconds = self.known = EVER
        self.missed = 0
        self.announced = (-1, EVER)
        self.holes: list[Hole] = []
        # The first and the last seconds of the holes that are counted, those that overlap as one, in the order of time;
        # None where the holes are others than they were.
        self._spans: tuple[list[int], list[int]] | None = None

    def __bool__(self) -> bool:
        return bool(self.holes)

    def follow(self, number: int, seconds: int) -> None:
        """Take an id above the last; those between are missed."""
        if not self.holes:
            self.holes.append(Hole(0, number - 1, EVER, seconds))
        elif number > self.last + 1:
            self.missed += number - 1 - self.last
            self.holes.append(Hole(self.last + 1, number - 1, self.last_seconds, seconds))
            self._spans = None
        self.last, self.last_seconds, self.known = number, seconds, max(self.known, seconds)

    def announce(self, number: int, seconds: int) -> int:
        """Take the last id of a heartbeat, and its time; return how many ids are missed for certain.

        What is ahead of the trades may still come. It is missed where it has not before the next heartbeat.
        """
        announced, before = self.announced
        missed = 0
        if announced > self.last:
            missed = announced - self.last
            self.holes.append(Hole(self.last + 1, announced, self.last_seconds, before))
            self._spans = None
            self.missed += missed
            self.last, self.last_seconds, self.known = announced, before, max(self.known, before)
        self.announced = (number, seconds)
        if number == self.last:
            self.last_seconds, self.known = max(seconds, self.last_seconds), max(self.known, seconds)
        return missed

    def find(self, number: int) -> int | None:
        """Return the index of the hole that an id lies in; None where it was seen, or its hole is forgotten."""
        low, high = 0, len(self.holes)
        while low < high:
            middle = (low + high) // 2
            if self.holes[middle].last < number:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self.holes) and self.holes[low].first <= number else None

    def mend(self, index: int, number: int, seconds: int) -> tuple[int, int]:
        """Take an id that lies in a hole; return the seconds between which bars may have changed their state."""
        hole = self.holes[index]
        behind = Hole(number + 1, hole.last, seconds, hole.until)
        moments = (seconds, hole.until) if index == 0 else (seconds, hole.until, hole.since)
        if index == 0:
            self.missed += behind.last - number
        else:
            self.missed -= 1
        hole.last, hole.until = number - 1, seconds
        self.known = max(self.known, seconds)
        # The one before the first trade stays, even if it is of no ids.
        rest = [each for each in (hole, behind) if each.first <= each.last or each is self.holes[0]]
        self.holes[index : index + 1] = rest
        self._spans = None
        return min(moments), max(moments)

    def take_back(self, index: int) -> int:
        """Go back to before a hole, as if none behind it had come; return how many fewer ids are missed."""
        hole = self.holes[index]
        missed = sum(each.last - each.first + 1 for each in self.holes[max(index, 1) :])
        del self.holes[index:]
        self._spans = None
        self.last, self.last_seconds, self.announced = hole.first - 1, hole.since, (-1, EVER)
        self.missed -= missed
        return missed

    def touch(self, start: int, end: int) -> bool:
        """Whether a hole touches the time from a moment to before another; that before the first trade is none."""
        if len(self.holes) <= 1:
            return False
        firsts, lasts = self._spans or self._find_spans()
        at = bisect_left(lasts, start)
        return at < len(lasts) and firsts[at] < end

    def holes_between(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the first and the last second of each hole that touches such a time; those that overlap are one."""
        firsts, lasts = self._spans or self._find_spans()
        for at in range(bisect_left(lasts, start), bisect_left(firsts, end)):
            yield firsts[at], lasts[at]

    def _find_spans(self) -> tuple[list[int], list[int]]:
        # Since 900 bars at a time are each looked for among the holes.
        firsts: list[int] = []
        lasts: list[int] = []
        for since, until in sorted(sorted((hole.since, hole.until)) for hole in self.holes[1:]):
            if lasts and since <= lasts[-1]:
                lasts[-1] = max(lasts[-1], until)
            else:
                firsts.append(since)
                lasts.append(until)
        self._spans = firsts, lasts
        return self._spans

    def forget(self, before: int) -> None:
        """Forget the holes that ended before a moment; their ids count as seen from then on."""
        if any(max(hole.since, hole.until) < before for hole in self.holes[1:]):
            self.holes[1:] = [hole for hole in self.holes[1:] if max(hole.since, hole.until) >= before]
            self._spans = None

    def oldest_if_too_many(self) -> Hole | None:
        """Return the oldest hole, forgotten, where there are more than are remembered."""
        if len(self.holes) <= MOST_HOLES:
            return None
        self._spans = None
        return self.holes.pop(1)

    def dump(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "last": self.last,
            "last_seconds": self.last_seconds,
            "known": self.known,
            "missed": self.missed,
            "announced": list(self.announced),
            "holes": [[hole.first, hole.last, hole.since, hole.until] for hole in self.holes],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Become what :meth:`dump` was made of; raises KeyError, TypeError or ValueError for what is not."""
        self.last, self.last_seconds = int(state["last"]), int(state["last_seconds"])
        self.known, self.missed = int(state["known"]), int(state["missed"])
        self.holes, self._spans = [Hole(*map(int, hole)) for hole in state["holes"]], None
        number, seconds = map(int, state["announced"])
        self.announced = number, seconds
