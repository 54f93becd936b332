"""Which trades of a product have been seen, and where some are missing: ids are contiguous, so a hole is loss."""

from __future__ import annotations

from typing import Any

# Holes that are remembered; the oldest is forgotten for another.
MOST_HOLES = 128
# Before every moment that can be told.
EVER = -(2**62)


class Hole:
    """Ids that were not seen, and the seconds between which they happened.

    Attributes:
        first: the lowest id of them.
        last: the highest.
        since: seconds since 1970 of the trade before them.
        until: of the trade behind them.
    """

    __slots__ = ("first", "last", "since", "until")

    def __init__(self, first: int, last: int, since: int, until: int) -> None:
        self.first = first
        self.last = last
        self.since = min(since, until)
        self.until = max(since, until)


class TradeIds:
    """The ids of one product, from the first seen to the last, with the holes between.

    What lies before the first is a hole as well, of which nobody knows whether it was missed: it is not counted.

    Attributes:
        last: the highest id seen, -1 before the first trade.
        last_seconds: its time, or that of a heartbeat which tells of no later trade.
        announced: the last id of the last heartbeat, and its time.
        holes: in the order of their ids; that before the first trade stands first.
        missed: ids that are missing in all the holes that are counted, those forgotten included.
    """

    __slots__ = ("announced", "holes", "last", "last_seconds", "missed")

    def __init__(self) -> None:
        self.last = -1
        self.last_seconds = EVER
        self.missed = 0
        self.announced = (-1, EVER)
        self.holes: list[Hole] = []

    def __bool__(self) -> bool:
        return bool(self.holes)

    def follow(self, number: int, seconds: int) -> None:
        """Take an id above the last; those between are missed."""
        if not self.holes:
            self.holes.append(Hole(0, number - 1, EVER, seconds))
        elif number > self.last + 1:
            self.missed += number - 1 - self.last
            self.holes.append(Hole(self.last + 1, number - 1, self.last_seconds, seconds))
        self.last, self.last_seconds = number, seconds

    def announce(self, number: int, seconds: int) -> int:
        """Take the last id of a heartbeat, and its time; return how many ids are missed for certain.

        What is ahead of the trades may still come. It is missed where it has not before the next heartbeat.
        """
        announced, before = self.announced
        missed = 0
        if announced > self.last:
            missed = announced - self.last
            self.holes.append(Hole(self.last + 1, announced, self.last_seconds, before))
            self.missed += missed
            self.last, self.last_seconds = announced, max(before, self.last_seconds)
        self.announced = (number, seconds)
        if number == self.last:
            self.last_seconds = max(seconds, self.last_seconds)
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
        since, until = hole.since, hole.until
        behind = Hole(number + 1, hole.last, seconds, until) if number < hole.last else None
        if index == 0:
            hole.last, hole.until = number - 1, seconds
            if behind is not None:
                self.missed += behind.last - number
            since = min(seconds, until)
        else:
            self.missed -= 1
            if number > hole.first:
                hole.last, hole.since, hole.until = number - 1, min(since, seconds), max(since, seconds)
            else:
                del self.holes[index]
                index -= 1
        if behind is not None:
            self.holes.insert(index + 1, behind)
        return min(since, seconds), max(until, seconds)

    def touched(self, start: int, seconds: int) -> bool:
        """Whether a hole touches the bar that starts then and is so long; not that before the first trade."""
        end, holes = start + seconds, self.holes
        return len(holes) > 1 and any(hole.since < end and hole.until >= start for hole in holes[1:])

    def forget(self, before: int) -> None:
        """Forget the holes that ended before a moment; their ids count as seen from then on."""
        holes = self.holes
        if len(holes) > 1 and holes[1].until < before:
            self.holes = holes[:1] + [hole for hole in holes[1:] if hole.until >= before]

    def oldest_if_too_many(self) -> Hole | None:
        """Return the oldest hole, forgotten, where there are more than are remembered."""
        return self.holes.pop(1) if len(self.holes) > MOST_HOLES else None

    def dump(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "last": self.last,
            "last_seconds": self.last_seconds,
            "missed": self.missed,
            "announced": list(self.announced),
            "holes": [[hole.first, hole.last, hole.since, hole.until] for hole in self.holes],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Become what :meth:`dump` was made of; raises KeyError, TypeError or ValueError for what is not."""
        self.last, self.last_seconds, self.missed = (int(state[name]) for name in ("last", "last_seconds", "missed"))
        self.holes = [Hole(*map(int, hole)) for hole in state["holes"]]
        number, seconds = map(int, state["announced"])
        self.announced = number, seconds
