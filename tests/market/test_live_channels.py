"""The indicators of a market stream while it is fed, corrected and restored, against TA-Lib over the same closes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
from channel_support import Floats, batch, equal, walk
from market_support import START, Message, market_of, match
from vinocast.data.sealed import pack, read, write
from vinocast.market.bars import MarketStream
from vinocast.market.channels import Handles
from vinocast.market.feed import Market

STREAM = "AAA-USD@1m"


def trade(number: int, bar: int, price: float) -> Message:
    return match(number, 60 * bar + 30, f"{price:.2f}")


def candle(bar: int, price: float) -> list[float]:
    return [START + 60 * bar, price, price, price, price, 1]


def give(market: Market, first: int, prices: Floats) -> None:
    market.history(STREAM, np.array([candle(first + at, price) for at, price in enumerate(prices)], np.float64))


def values_of(stream: MarketStream) -> np.ndarray[Any, np.dtype[np.float32]]:
    return stream.indicators.values(stream.closed[:, 3])


def test_live_values_are_those_of_the_batch_functions_over_every_close_since_the_start() -> None:
    chance, prices = random.Random(1), walk(4000)
    trades: list[tuple[int, int, float]] = []  # by id: two of most bars, none of some
    for bar in range(1500):
        for _ in range(chance.choice([0, 1, 2, 2, 3]) if bar else 1):
            trades.append((len(trades) + 1, bar, prices[len(trades)]))
    # Some come late, by up to a few bars; the first, with which it begins, does not.
    order = [0, *sorted(range(1, len(trades)), key=lambda at: at + (chance.random() < 0.02) * chance.random() * 60)]
    market, seen = market_of("1m"), dict[int, tuple[int, float]]()  # the last trade of a bar, by its id
    newest, asked = 0, 0
    for count, at in enumerate(order):
        number, bar, price = trades[at]
        market.feed([trade(number, bar, price)])
        if bar not in seen or number > seen[bar][0]:
            seen[bar] = number, price
        newest = max(newest, bar)
        if newest and (count % 37 == 0 or count == len(order) - 1):
            closes = np.empty(newest)
            for each in range(newest):
                closes[each] = round(seen[each][1], 2) if each in seen else closes[each - 1]
            stream = market.find(STREAM)
            assert equal(stream.closed[:, 3], closes[-900:])
            assert equal(values_of(stream), batch(closes)[-900:])
            asked += 1
    assert newest > 1400
    assert asked > 50
    assert market.find(STREAM).counts.late > 10


def test_candles_that_correct_and_fill_bars_have_all_behind_them_computed_anew() -> None:
    market, closes = market_of("1m"), walk(1300)
    present = np.ones(1300, bool)
    present[[100, 700, 701, 1100]] = False
    for bar in np.flatnonzero(present).tolist():
        give(market, bar, closes[bar : bar + 1])
        if bar % 211 == 0:
            values_of(market.find(STREAM))
    stream = market.find(STREAM)

    def expected() -> Floats:
        return batch(np.where(present, closes, np.nan)[:1299])[-900:]  # the newest is open

    assert equal(values_of(stream), expected())
    for bar in (1298, 1200, 700, 450):
        closes[bar], present[bar] = closes[bar] * 1.5, True
        give(market, bar, closes[bar : bar + 1])
        assert equal(values_of(stream), expected())


def test_after_a_restart_they_are_those_over_the_kept_closes_and_near_those_before(tmp_path: Path) -> None:
    market, closes = market_of("1m"), walk(3000)
    give(market, 0, closes[:2501])
    write(tmp_path / "state", b"1", map(pack, market.dump()))
    again = market_of("1m")
    assert again.load(read(tmp_path / "state", b"1")) == 1
    stream = again.find(STREAM)
    assert equal(values_of(stream), batch(closes[1600:2500]))
    for first in range(2501, 3000, 20):
        give(again, first, closes[first : first + 20])
        give(market, first, closes[first : first + 20])
    kept = closes[2099:2999]
    assert equal(stream.closed[:, 3], kept)
    assert equal(values_of(stream), batch(closes[1600:2999])[-900:])
    assert equal(values_of(market.find(STREAM)), batch(closes[:2999])[-900:])
    # What float32 hides.
    difference = np.abs(Handles().fill(closes[1600:2999]) - Handles().fill(closes[:2999])[1600:])
    assert 0 < difference[370:].max() < 1e-9
