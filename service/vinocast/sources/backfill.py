"""What a stream lacks, from the endpoint of candles: the bars before it began, and what is missing or incomplete."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from vinocast.errors import RequestError
from vinocast.sources.candles import CandlesError, granularity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from vinocast.sources.candles import Candles
    from vinocast.sources.session import Session

# Closed bars that a stream keeps, and how many fewer there may be of a full one.
BARS, SLACK = 900, 10
WHOLE = ("complete", "filled")
# The endpoint lags by one to five candles: newer ones may change, or come later. So a bar is asked for again, as often
# as others close, but not for ever.
LAG, TRIES = 5, 12
# On both sides of what is missing: where there are candles around a bucket that has none, it is empty.
MARGIN = 20
# Seconds: that holes gather; after which is asked again where the endpoint has failed.
GATHER_SECONDS, AGAIN_SECONDS = 0.2, 30.0

log = logging.getLogger("vinocast.feed")


class Backfill:
    """Fills streams of some products, whenever there may be something to fill.

    Attributes:
        filled: how many candles were given to the service.
    """

    def __init__(self, session: Session, candles: Candles, products: Iterable[str], bar: str, seconds: int) -> None:
        """Take who is asked and who is fed, the products, which may become more, and the length of their bars."""
        self._session, self._candles, self._products = session, candles, products
        self._bar, self._seconds, self._margin = bar, seconds, MARGIN * seconds
        self._wanted = asyncio.Event()
        self._tries: Counter[tuple[str, int]] = Counter()
        # Bars that were missing and have a candle which may still change.
        self._early: set[tuple[str, int]] = set()
        self.filled = 0

    def look(self) -> None:
        """Have it be looked what there is to fill."""
        self._wanted.set()

    async def run(self) -> NoReturn:
        """Fill, until the task is cancelled."""
        if granularity(self._seconds) is None:
            log.warning("the exchange keeps no candles for bars of %s: they begin with what comes now", self._bar)
            await asyncio.Event().wait()
        failed = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS if failed else None):
                    await self._wanted.wait()
            self._wanted.clear()
            await asyncio.sleep(GATHER_SECONDS)
            failed = False
            for product in sorted(self._products):
                try:
                    await self.fill(product)
                except (CandlesError, RequestError) as error:
                    log.warning("%s@%s has no candles now: %s", product, self._bar, error)
                    failed |= isinstance(error, CandlesError) and error.again

    async def fill(self, product: str) -> None:
        """Ask for what a stream lacks; raises CandlesError, or RequestError where the service refuses the candles."""
        stream = f"{product}@{self._bar}"
        held = await self._session.bars(stream)
        if held is None or not held.bars:
            return
        # What a full stream has dropped is not put back; what is incomplete may be open.
        last, states = held.bars[-1], {bar.start: bar.state for bar in held.bars}
        newest = last.start + self._seconds if last.state in WHOLE else last.start
        oldest = held.bars[0].start if len(held.bars) > BARS - SLACK else newest - BARS * self._seconds
        lacking = {
            start
            for start in range(oldest, newest, self._seconds)
            if states.get(start) not in WHOLE or (stream, start) in self._early
        }
        self._forget(stream, lacking)
        asked = sorted(start for start in lacking if self._tries[stream, start] < TRIES)
        filled = 0
        for first, last_asked in _spans(asked, self._margin):
            stop = min(last_asked + self._margin, newest) + self._seconds
            rows = await self._candles.fetch(product, self._seconds, first - self._margin, stop)
            final = self._final(rows, newest)
            early = {
                start
                for start in rows[final:, 0].astype(int).tolist()
                if start in lacking and states.get(start, "missing") != "incomplete"
            }
            span = [start for start in asked if first <= start <= last_asked]
            self._tries.update((stream, start) for start in span)
            self._early -= {(stream, start) for start in span}
            self._early |= {(stream, start) for start in early}
            kept = np.isin(rows[:, 0], span)
            kept[final:] = np.isin(rows[final:, 0], list(early))
            if kept.any():
                await self._session.candles(stream, rows[kept], forecasts=False)
                filled += int(kept.sum())
        if filled:
            self.filled += filled
            log.info("%s: %d of %d bars that it lacked come from candles", stream, filled, len(asked))

    def _forget(self, stream: str, lacking: set[int]) -> None:
        """Forget what is known of bars of a stream that lack nothing any more."""
        self._tries = Counter(
            {key: count for key, count in self._tries.items() if key[0] != stream or key[1] in lacking}
        )
        self._early = {key for key in self._early if key[0] != stream or key[1] in lacking}

    def _final(self, rows: NDArray[np.float64], newest: int) -> int:
        """Return how many of the candles will not change: such as are old, or that a later one follows."""
        old = newest - LAG * self._seconds
        return int(np.searchsorted(rows[:, 0], max(rows[-1, 0], old))) if len(rows) else 0


def _spans(starts: list[int], near: int) -> list[tuple[int, int]]:
    """Return the first and the last of each group of ascending numbers that are near to each other."""
    spans: list[tuple[int, int]] = []
    for start in starts:
        if spans and start - spans[-1][1] <= near:
            spans[-1] = (spans[-1][0], start)
        else:
            spans.append((start, start))
    return spans
