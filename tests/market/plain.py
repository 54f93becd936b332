"""The rules of a market stream once more, slowly and plainly: all is kept, and bars are computed anew each time."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

# As vinocast.market.ring has it.
KEPT = 900


class PlainStream:
    """Bars of so many seconds."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.trades: dict[int, int] = {}  # times of all that were seen, by id
        self.told: list[tuple[float, int]] = []  # what heartbeats told: behind which id, and when
        self.announced = (-1, 0)
        self.last = -1
        self.inside: dict[int, list[tuple[int, float, float]]] = {}  # id, price and size of what made a bar
        self.candles: dict[int, tuple[float, ...]] = {}
        self.connection, self.connection_of = 0, dict[int, int]()
        self.doubted: set[int] = set()
        self.oldest = self.newest = -1
        self.known = self.began = -1
        self.counts = Counter[str]()

    def advance(self, bucket: int) -> None:
        if self.newest < 0:
            self.oldest = self.newest = bucket
        if bucket > self.newest:
            newest = self.newest
            if newest in self.candles and self.connection_of[newest] != self.connection:
                self.doubted.add(newest)
            self.newest, self.oldest = bucket, max(self.oldest, bucket - KEPT)

    def reach(self, bucket: int) -> bool:
        if self.newest - bucket > KEPT:
            return False
        self.oldest = min(self.oldest, bucket)
        return True

    def trade(self, number: int, moment: int, price: float, size: float) -> None:
        if number in self.trades:
            self.counts["duplicates"] += 1
            return
        bucket = moment // self.seconds
        self.trades[number] = moment
        self.last, self.known = max(self.last, number), max(self.known, moment)
        late = bucket < self.newest
        self.counts["late" if late else "used"] += 1
        if not late:
            self.advance(bucket)
            self.candles.pop(bucket, None)
        elif not self.reach(bucket) or bucket in self.candles:
            return
        self.inside.setdefault(bucket, []).append((number, price, size))
        self.began = bucket if self.began < 0 else min(self.began, bucket)

    def heartbeat(self, number: int, moment: int) -> None:
        if number == 0 or not self.trades or number < self.last:
            return
        announced, before = self.announced
        if announced > self.last:
            self.told.append((announced + 0.5, before))
            self.last, self.known = announced, max(self.known, before)
        self.announced = number, moment
        if number == self.last:
            self.told.append((number + 0.75, moment))
            self.known = max(self.known, moment)
        self.advance(self.known // self.seconds)

    def candle(self, bucket: int, numbers: tuple[float, ...]) -> None:
        self.counts[self.name_of_candle(bucket, numbers)] += 1

    def name_of_candle(self, bucket: int, numbers: tuple[float, ...]) -> str:
        self.advance(bucket)
        if not self.reach(bucket):
            return "late"
        is_open = bucket == self.newest
        name = "used"
        if bucket in self.candles:
            if self.candles[bucket] == numbers:
                name = "duplicates"
            elif not is_open:
                name = "re_sent_closed_bucket"
        elif bucket in self.inside if is_open else self.state(bucket, self.holes()) in ("complete", "filled"):
            return "duplicates"
        self.candles[bucket], self.connection_of[bucket] = numbers, self.connection
        self.inside.pop(bucket, None)
        self.doubted.discard(bucket)
        return name

    def holes(self) -> list[tuple[int, int, int]]:
        """Return how many ids are missing, and the buckets that it touches, of each hole."""
        points = sorted([*self.trades.items(), *self.told])
        found = []
        for (before, since), (behind, until) in itertools.pairwise(points):
            missing = math.ceil(behind) - math.floor(before) - 1
            if missing > 0:
                edges = since // self.seconds, until // self.seconds
                found.append((missing, min(edges), max(edges)))
        return found

    def state(self, bucket: int, holes: list[tuple[int, int, int]]) -> str:
        if bucket in self.candles:
            whole = "complete" if self.candles[bucket][4] else "filled"
            return "incomplete" if bucket in self.doubted else whole
        if bucket not in self.inside and (self.began < 0 or not self.began < bucket <= self.known // self.seconds):
            return "missing"
        if bucket <= self.began or any(first <= bucket <= last for _, first, last in holes):
            return "incomplete"
        return "complete" if bucket in self.inside else "filled"

    def bars(self) -> list[list[Any]]:
        bars = []
        close, holes = None, self.holes()
        for bucket in range(min([*self.inside, *self.candles, self.oldest]), self.newest + 1):
            state = self.state(bucket, holes)
            if bucket in self.candles:
                numbers: list[Any] = [*self.candles[bucket]]
            elif bucket in self.inside:
                trades = sorted(self.inside[bucket])
                prices = [price for _, price, _ in trades]
                numbers = [prices[0], max(prices), min(prices), prices[-1], math.fsum(size for *_, size in trades)]
            elif bucket == self.newest:
                continue
            else:
                state = "missing" if close is None else state
                numbers = [None] * 5 if state == "missing" else [close, close, close, close, 0.0]
            if bucket == self.newest and (bucket in self.candles or state == "complete"):
                state = "open"
            close = numbers[3]
            if bucket >= self.oldest:
                bars.append([bucket * self.seconds, *numbers, state])
        return bars
