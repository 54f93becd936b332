"""Candles of the past: in any order and pieces, folded where they are shorter, and only where bars are not whole."""

from __future__ import annotations

import csv
import math
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from market_support import CONNECT, START, candle, candles, market_of, match, restarted, states, take, told
from numpy.typing import NDArray
from support import SHARED_DATA
from vinocast.errors import InvalidShapeError, InvalidValueError, OverloadedError, UnknownStreamError
from vinocast.market.ring import KEPT

STREAM = "AAA-USD@1m"


def rows_of(*rows: str) -> NDArray[np.float64]:
    """Return candles given as "seconds open high low close volume", in the order of the endpoint."""
    numbers = np.array([row.split() for row in rows], np.float64).reshape(-1, 6)
    numbers[:, 0] += START
    return numbers[:, [0, 3, 2, 1, 4, 5]]


def second_candles(count: int, seed: int) -> NDArray[np.float64]:
    """Return candles of seconds, of which a third are missing, as nothing was traded."""
    rng = np.random.default_rng(seed)
    closes = np.round(65_000 + rng.standard_normal(count + 1).cumsum(), 2)
    wicks = np.round(rng.exponential(1, (2, count)), 2)
    high, low = np.maximum(closes[1:], closes[:-1]) + wicks[0], np.minimum(closes[1:], closes[:-1]) - wicks[1]
    volume = np.round(rng.exponential(0.1, count), 8)
    rows = np.column_stack((START + np.arange(count), low, high, closes[:-1], closes[1:], volume))
    return rows[rng.random(count) < 0.67]


def minutes_of(rows: NDArray[np.float64], seconds: int = 60) -> list[list[Any]]:
    """Return the bars of shorter candles, computed plainly; the newest is open."""
    bars = []
    starts = rows[:, 0] // seconds
    for start in np.arange(starts.min(), starts.max() + 1):
        inside = rows[starts == start]
        inside = inside[np.argsort(inside[:, 0])]
        numbers: list[Any] = [None] * 5
        if len(inside):
            prices = [inside[0, 3], inside[:, 2].max(), inside[:, 1].min(), inside[-1, 4]]
            numbers = [*map(float, prices), math.fsum(inside[:, 5])]
        state = "open" if start == starts.max() else "complete" if len(inside) else "missing"
        bars.append([int(start * seconds) - START, *numbers, state])
    return bars


@pytest.mark.parametrize("size", [1, 7, 59, 60, 61, 100, 1000, 5000])
@pytest.mark.parametrize("backwards", [False, True])
def test_candles_of_seconds_fold_into_minutes_exactly_in_any_pieces(size: int, backwards: bool) -> None:
    rows = second_candles(5000, size)
    rows = rows[(rows[:, 0] - START) // 60 != 7]
    market = market_of("1m")
    pieces = [rows[at : at + size] for at in range(0, len(rows), size)]
    for number, piece in enumerate(reversed(pieces) if backwards else pieces):
        market.history(STREAM, piece[::-1] if number % 2 else piece)
        if number % 50 == 3:
            market = restarted(market, market_of("1m"))
    assert told(market.find(STREAM)) == minutes_of(rows)
    assert market.counts.used + market.counts.re_sent_closed_bucket == len(rows)
    if not backwards:
        assert market.counts.told() == {"used": len(rows)}


@pytest.mark.parametrize("size", [60, 100, 5000])
def test_all_of_it_again_changes_nothing(size: int) -> None:
    rows = second_candles(5000, 1)
    market = market_of("1m")
    for _ in range(2):
        for at in range(0, len(rows), size):
            market.history(STREAM, rows[at : at + size])
    assert told(market.find(STREAM)) == minutes_of(rows)
    assert market.counts.told() == {"used": len(rows), "duplicates": len(rows)}


def test_all_of_it_again_is_told_for_what_it_is_however_far_volumes_lie_apart() -> None:
    rows = second_candles(3000, 2)
    rows[:, 5] = np.round(rows[:, 5] * 10.0 ** (np.arange(len(rows)) % 8), 8)
    market = market_of("1m")
    for _ in range(2):
        market.history(STREAM, rows)
    assert market.counts.told() == {"used": len(rows), "duplicates": len(rows)}


def test_history_fills_what_is_missing_or_incomplete_and_nothing_else() -> None:
    market = take(market_of("1m"), [match(1, 10), match(2, 70, "11"), match(5, 190, "12"), match(6, 250, "13")])
    stream = market.find(STREAM)
    assert stream.holes() == [(START, START + 240)]
    rows = [f"{60 * minute} 20 21 19 20 {abs(minute + 2)}" for minute in (-3, -2, 0, 1, 3, 4)]
    fed = market.history(STREAM, rows_of(*rows))
    assert (fed.closed, fed.counts) == ([], {"used": 5, "duplicates": 1})
    assert told(stream) == [
        [-180, 20, 21, 19, 20, 1, "complete"],
        [-120, 20, 21, 19, 20, 0, "filled"],
        [-60, *[None] * 5, "missing"],
        [0, 20, 21, 19, 20, 2, "complete"],
        [60, 20, 21, 19, 20, 3, "complete"],
        [120, 20, 20, 20, 20, 0, "incomplete"],
        [180, 20, 21, 19, 20, 5, "complete"],
        [240, 13, 13, 13, 13, 1, "open"],
    ]


def test_a_candle_without_volume_says_that_nothing_was_traded() -> None:
    market = market_of("1m")
    market.history(STREAM, rows_of("0 10 11 9 10 5", "120 10 11 9 10 5", "180 10 11 9 10 5"))
    assert market.find(STREAM).holes() == [(START + 60, START + 120)]
    market.history(STREAM, rows_of("60 10 10 10 10 0"))
    assert states(market.find(STREAM)) == ["complete", "filled", "complete", "open"]


def test_history_closes_bars_as_messages_do() -> None:
    market = market_of("1m")
    fed = market.history(STREAM, rows_of("0 10 11 9 10 5", "60 10 11 9 10 6", "180 10 12 9 12 7"))
    assert [(each.stream, each.bar.start - START, each.bar.state) for each in fed.closed] == [
        (STREAM, 0, "complete"), (STREAM, 60, "complete"), (STREAM, 120, "missing"),
    ]  # fmt: skip
    assert market.history(STREAM, rows_of()).counts == {}


def test_an_open_bar_of_before_a_connection_is_not_whole_once_it_has_closed() -> None:
    market = market_of("1m")
    market.history(STREAM, rows_of("0 10 11 9 10 5", "60 10 11 9 10 6"))
    take(market, [CONNECT, match(1, 130)])
    assert states(market.find(STREAM)) == ["complete", "incomplete", "incomplete"]
    market.history(STREAM, rows_of("60 10 11 9 10 6.5"))
    assert told(market.find(STREAM))[1] == [60, 10, 11, 9, 10, 6.5, "complete"]


def test_more_history_than_is_kept_leaves_the_newest() -> None:
    market = market_of("1m")
    numbers = range(2000)
    rows = rows_of(*(f"{60 * number} 10 11 9 {9 + number / 1000} 5" for number in numbers))
    fed = market.history(STREAM, rows)
    stream = market.find(STREAM)
    assert (stream.rows, len(fed.closed), fed.counts) == (KEPT, KEPT, {"used": 2000})
    assert stream.closed[:, 3].tolist() == [9 + number / 1000 for number in numbers[-KEPT - 1 : -1]]
    assert market.history(STREAM, rows).counts == {"late": 2000 - KEPT - 1, "duplicates": KEPT + 1}


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [(1, 0, -1), (1, 0, 0.5), (0, 0, 1e10), (0, 0, math.nan), (1, 1, 0), (1, 2, math.inf), (0, 3, -1), (1, 4, 4e38),
     (1, 5, -1), (1, 5, math.nan), (1, 1, 10.5), (0, 2, 9.5)],
)  # fmt: skip
def test_a_number_that_no_candle_has_is_refused_by_its_path(row: int, column: int, value: float) -> None:
    rows = rows_of("0 10 11 9 10 5", "60 10 11 9 10 6")
    rows[row, column] = value
    market = market_of("1m")
    with pytest.raises(InvalidValueError) as caught:
        market.history(STREAM, rows)
    assert caught.value.field == f"candles[{row}][{column}]"
    assert market.streams == []


def test_history_of_what_is_not_kept_is_refused() -> None:
    market, rows = market_of("1m", limit=1, products=["AAA-USD", "BBB-USD"]), rows_of("0 10 11 9 10 5")
    for name in ("AAA-USD@5m", "CCC-USD@1m", "AAA-USD", "", "@1m", "A/B@1m", "AAA-USD@1m@1m"):
        with pytest.raises(UnknownStreamError, match="BTC-USD@1m"):
            market.history(name, rows)
    for shape in ((0,), (6,), (1, 5), (1, 6, 1)):
        with pytest.raises(InvalidShapeError):
            market.history(STREAM, np.ones(shape))
    market.history(STREAM, rows)
    with pytest.raises(OverloadedError):
        market.history("BBB-USD@1m", rows)


def test_candles_of_a_feed_go_on_where_history_ends() -> None:
    market = market_of("5m")
    market.history("AAA-USD@5m", rows_of("0 10 11 9 10 5", "300 10 11 9 10 6"))
    take(market, [candles(candle(300, "10 12 9 11 8")), candles(candle(600, "11 12 9 11 8"))])
    assert told(market.find("AAA-USD@5m"))[1] == [300, 10, 12, 9, 11, 8, "complete"]


@pytest.mark.shared_data
def test_real_candles_are_taken_and_their_holes_are_missing() -> None:
    with (SHARED_DATA / "coinbase" / "BTCUSD_1h.csv").open() as file:
        next(file)
        table = list(csv.DictReader(file))[::-1][:3000]
    moments = [datetime.strptime(row["date"] + " +0000", "%Y-%m-%d %I-%p %z").timestamp() for row in table]
    names = ("low", "high", "open", "close", "volume_btc")
    rows = np.column_stack((moments, *([float(row[name]) for row in table] for name in names)))
    market = market_of("1h")
    market.history("BTC-USD@1h", rows)
    stream = market.find("BTC-USD@1h")
    last = {int(row[0]): row[[3, 2, 1, 4, 5]].tolist() for row in rows}
    newest = max(last)
    for bar in stream.bars(KEPT):
        assert bar.state == ("open" if bar.start == newest else "missing" if bar.start not in last else "complete")
        assert list(bar[1:6]) == last.get(bar.start, [None] * 5)
