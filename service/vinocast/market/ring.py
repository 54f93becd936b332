"""The closed bars of a stream, column by column, in a ring that a bar's place in time finds its row of."""

from __future__ import annotations

from array import array
from math import isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Closed bars that a stream keeps.
KEPT = 900
# Of what a bar is made: of nothing, of trades, of a candle, of a candle some of whose updates may have been lost.
NOTHING, TRADES, CANDLE, DOUBTED = range(4)
# Beside these: of trades some of which were missed, in a hole that is forgotten.
LOST = 4
KIND, MADE = 3, 7
MISSING, INCOMPLETE, FILLED, COMPLETE = range(4)
# Of each byte of ``mades``: the kind alone; and, of a row that is made of nothing, the byte in another state.
KIND_OF = bytes(made & KIND for made in range(256))
EMPTY_MISSING = bytes(made & MADE | MISSING << 3 for made in range(256))
EMPTY_FILLED = bytes(made & MADE | (INCOMPLETE if made & LOST else FILLED) << 3 for made in range(256))
WITH_LOST = bytes(made | LOST for made in range(256))
EMPTY_TORN = bytes(made & MADE | INCOMPLETE << 3 for made in range(256))
NUMBERS = ("closes", "highs", "lows", "volumes", "opens")
# A row holds how far an id lies from the stream's base.
MOST_OFFSET = 2**31 - 1
COLUMNS = {
    "opens": "d", "highs": "d", "lows": "d", "closes": "d", "volumes": "d", "carries": "f", "firsts": "i", "lasts": "i",
    "mades": "b",
}  # fmt: skip
# Of a stream of candles as long as its bars, which has no others: shared by all of these, and never written.
NO_CARRIES, NO_OFFSETS = array("f", [0]) * KEPT, array("i", [0]) * KEPT


def added(total: float, carry: float, size: float) -> tuple[float, float]:
    """Return a sum and what it lacks, with another size, to twice the precision: their order does not matter."""
    new = total + size
    part = new - total
    carry += (total - (new - part)) + (size - part)
    total = new + carry
    return total, carry - (total - new)


class Ring:
    """Rows of closed bars: the bar of bucket b stands in row b modulo KEPT.

    Attributes:
        opens, highs, lows, closes, volumes: the numbers, NaN where the bar is missing.
        carries: what the volume lacks of the exact sum.
        firsts, lasts: of trades, the ids of the open and the close, less a base; of a candle, the first and the last
            second that was folded into it, from its start on.
        mades: of what each is made, and in the bits above that its state.
    """

    __slots__ = ("_base", *COLUMNS)

    def __init__(self) -> None:
        self._base = -1
        # By multiplication, which takes no more memory than it has to. Of one array for all five, which a window could
        # be read from at once, 1,000 streams take 15 MB more: the heap has fewer holes that it fits into.
        self.closes, self.highs, self.lows, self.volumes, self.opens = (array("d", [nan]) * KEPT for _ in NUMBERS)
        self.carries, self.firsts, self.lasts = NO_CARRIES, NO_OFFSETS, NO_OFFSETS
        self.mades = bytearray(KEPT)

    def numbers(self, at: int) -> tuple[float, float, float, float, float]:
        """Return open, high, low, close and volume of a row."""
        return self.opens[at], self.highs[at], self.lows[at], self.closes[at], self.volumes[at]

    def bars(self, at: int, count: int) -> list[array[float]]:
        """Return opens, highs, lows, closes and volumes of rows, from one on and on from the first of the ring."""
        end, columns = at + count, (self.opens, self.highs, self.lows, self.closes, self.volumes)
        if end <= KEPT:
            return [column[at:end] for column in columns]
        return [column[at:] + column[: end - KEPT] for column in columns]

    def kinds(self, at: int, count: int) -> bytearray:
        """Return of what such rows are made."""
        end, mades = at + count, self.mades
        return (mades[at:end] if end <= KEPT else mades[at:] + mades[: end - KEPT]).translate(KIND_OF)

    def state(self, at: int) -> int:
        """Return the state of a row, which is missing until it was said."""
        return self.mades[at] >> 3

    def say_state(self, at: int, state: int) -> None:
        """Say in what state a row is."""
        self.mades[at] = self.mades[at] & MADE | state << 3

    def write(
        self, at: int, made: int, numbers: tuple[float, float, float, float, float], carry: float, first: int, last: int
    ) -> None:
        """Write a row that is made of trades, with the ids of its open and close, or of a candle."""
        self.mades[at] = made
        self.opens[at], self.highs[at], self.lows[at], self.closes[at], self.volumes[at] = numbers
        if made & KIND == TRADES:
            # The base follows the last, where they lie too far apart for both.
            last = self._offset(last)
            first = max(first - self._base, -MOST_OFFSET)
        elif not (carry or first or last) and self.carries is NO_CARRIES:
            return
        self._own()
        self.carries[at], self.firsts[at], self.lasts[at] = carry, first, last

    def _own(self) -> None:
        """Have columns of one's own for what candles as long as their bars do without."""
        if self.carries is NO_CARRIES:
            self.carries, self.firsts, self.lasts = NO_CARRIES[:], NO_OFFSETS[:], NO_OFFSETS[:]

    def empty(self, at: int, count: int) -> None:
        """Have rows be made of nothing, from one on and on from the first of the ring."""
        before = min(count, KEPT - at)
        self.mades[at : at + before] = bytes(before)
        self.mades[: count - before] = bytes(count - before)

    def lose(self, at: int, count: int) -> None:
        """Have rows be of trades some of which were missed, from one on and on from the first of the ring."""
        for rows in (slice(at, min(at + count, KEPT)), slice(0, max(at + count - KEPT, 0))):
            self.mades[rows] = self.mades[rows].translate(WITH_LOST)

    def count_empty(self, at: int, most: int) -> int:
        """Return how many rows from one on are made of nothing, so many at most, and up to the end of the ring."""
        kinds = self.mades[at : at + most].translate(KIND_OF)
        return len(kinds) - len(kinds.lstrip(b"\0"))

    def fill(self, at: int, count: int, close: float) -> int:
        """Write rows that are made of nothing: with a close, or as missing where it is NaN.

        They are filled, or incomplete where they are in a hole that is forgotten. Returns the place among them of the
        first whose close was another, ``count`` where none was.
        """
        rows, missing = slice(at, at + count), isnan(close)
        held, made = self.closes[rows].tolist(), array("d", [close]) * count
        self.opens[rows] = self.highs[rows] = self.lows[rows] = self.closes[rows] = made
        self.volumes[rows] = made if missing else array("d", [0]) * count
        self.mades[rows] = self.mades[rows].translate(EMPTY_MISSING if missing else EMPTY_FILLED)
        others = (place for place, before in enumerate(held) if before != close and not (missing and isnan(before)))
        return next(others, count)

    def tear(self, at: int, count: int) -> None:
        """Say that rows that are made of nothing are incomplete."""
        rows = slice(at, at + count)
        self.mades[rows] = self.mades[rows].translate(EMPTY_TORN)

    def correct(self, at: int, number: int, price: float, size: float) -> None:
        """Put a trade into a row."""
        if self.mades[at] & KIND != TRADES:
            self.write(at, self.mades[at] & LOST | TRADES, (price, price, price, price, size), 0.0, number, number)
            return
        offset = self._offset(number)
        if offset > self.lasts[at]:
            self.lasts[at], self.closes[at] = offset, price
        elif offset < self.firsts[at]:
            self.firsts[at], self.opens[at] = offset, price
        self.highs[at], self.lows[at] = max(self.highs[at], price), min(self.lows[at], price)
        self.volumes[at], self.carries[at] = added(self.volumes[at], self.carries[at], size)

    def _offset(self, number: int) -> int:
        """Return how far an id lies from the base, which follows ids that leap."""
        self._own()
        offset = number - self._base
        if -MOST_OFFSET <= offset <= MOST_OFFSET:
            return offset
        if self._base >= 0:
            made = np.frombuffer(self.mades, np.int8) & KIND == TRADES
            for column in (self.firsts, self.lasts):
                moved = np.frombuffer(column, np.int32)
                there = np.clip(moved[made] - float(offset), -MOST_OFFSET, MOST_OFFSET)
                moved[made] = there.astype(np.int32)
        self._base = number
        return 0

    def columns(self, count: int, oldest: int, newest: int) -> NDArray[np.float64]:
        """Return the first columns [count, n] of NUMBERS, of the rows of buckets from one to before another."""
        # Of a ring that is two slices at most: a fifth of the time of an index for each row.
        first, rows = oldest % KEPT, newest - oldest
        before = min(rows, KEPT - first)
        columns = np.empty((count, rows))
        for column, name in zip(columns, NUMBERS, strict=False):
            values = np.frombuffer(getattr(self, name))
            column[:before] = values[first : first + before]
            column[before:] = values[: rows - before]
        return columns

    def dump(self) -> dict[str, Any]:
        """Return the rows as plain values, as they stand."""
        return {
            "base": self._base,
            **{
                name: np.frombuffer(getattr(self, name), np.dtype(code).newbyteorder("<")).copy()
                for name, code in COLUMNS.items()
            },
        }

    def load(self, state: dict[str, Any]) -> None:
        """Become what :meth:`dump` was made of; raises KeyError, TypeError or ValueError for what is not."""
        self._base = int(state["base"])
        if any(np.asarray(state[name]).any() for name in ("carries", "firsts", "lasts")):
            self._own()
        for name, code in COLUMNS.items():
            column = np.asarray(state[name])
            if column.shape != (KEPT,):
                raise ValueError(f"{name}: expected {KEPT} rows, got an array of shape {column.shape}")
            held = getattr(self, name)
            if held is not NO_CARRIES and held is not NO_OFFSETS:
                np.frombuffer(held, np.dtype(code))[:] = column
