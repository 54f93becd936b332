"""Candles of one bucket folded into the numbers of its bar."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from vinocast.market.ring import added

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.market.messages import Candle

# Open, high, low, close, volume.
Numbers: TypeAlias = tuple[float, float, float, float, float]


class Fold(NamedTuple):
    """Candles that make a bar, or a part of it.

    Attributes:
        numbers: of the bar.
        carry: what the volume lacks of the exact sum.
        first: start of the first candle, in seconds from the start of the bar.
        last: start of the last one.
    """

    numbers: Numbers
    carry: float
    first: int
    last: int

    def is_as(self, other: Fold) -> bool:
        """Whether both tell the same; what the volumes lack of the exact sums is kept to fewer digits than computed."""
        return self.numbers == other.numbers and self.first == other.first and self.last == other.last

    def and_then(self, later: Fold) -> Fold:
        """Return both, where the other's candles are all behind one's own."""
        opened, high, low, _, volume = self.numbers
        _, later_high, later_low, close, later_volume = later.numbers
        volume, carry = added(volume, self.carry + later.carry, later_volume)
        numbers = (opened, max(high, later_high), min(low, later_low), close, volume)
        return Fold(numbers, carry, self.first, later.last)


def fold(candles: Sequence[Candle], start: int) -> Fold:
    """Fold candles, at least one, ordered by their starts, which are all different, into the bar that starts then."""
    if len(candles) == 1:  # as most come
        at, opened, high, low, close, volume = candles[0]
        return Fold((opened, high, low, close, volume), 0.0, at - start, at - start)
    # All at once, since each candle of a feed has up to 288 of a day folded again.
    starts, opens, highs, lows, closes, volumes = zip(*candles, strict=True)
    volume = fsum(volumes)
    numbers = (opens[0], max(highs), min(lows), closes[-1], volume)
    return Fold(numbers, fsum((*volumes, -volume)), starts[0] - start, starts[-1] - start)


def refold(held: Fold, candles: Sequence[Candle], start: int) -> Fold:
    """Fold candles into a bar that is made of candles: those before and behind it, or all, if all have come again.

    What lies within what was folded already, and is not all of it, cannot be told apart and is left out.
    """
    first, last = candles[0][0] - start, candles[-1][0] - start
    if first <= held.first and last >= held.last:
        return fold(candles, start)
    before = [candle for candle in candles if candle[0] - start < held.first]
    behind = [candle for candle in candles if candle[0] - start > held.last]
    if before:
        held = fold(before, start).and_then(held)
    if behind:
        held = held.and_then(fold(behind, start))
    return held
