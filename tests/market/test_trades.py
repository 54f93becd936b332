"""Bars of trades against those that are plainly right, however the trades are lost, doubled, reordered and cut."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from market_support import START, Message, market_of, market_trades, match, restarted, states, take, told
from vinocast.market.channels import Indicators

LENGTHS = ("10s", "1m")


@dataclass
class Arrival:
    """Trades in one message, in no order; and what happens before."""

    trades: list[Message]
    restart: bool
    connect: bool
    feed_ends: bool


def seconds_of(trade: Message) -> int:
    return int(np.datetime64(trade["time"].rstrip("Z"), "s").astype(int)) - START


def plain_bars(trades: list[Message], length: int) -> list[list[Any]]:
    """Return the bars of trades: each as [start, open, high, low, close, volume, state]."""
    by_id = {trade["trade_id"]: trade for trade in trades}
    ids = sorted(by_id)
    bucket_of = {number: seconds_of(trade) // length for number, trade in by_id.items()}
    first, newest = min(bucket_of.values()), max(bucket_of.values())
    torn = {first}
    for before, behind in itertools.pairwise(ids):
        if behind > before + 1:
            edges = sorted((bucket_of[before], bucket_of[behind]))
            torn.update(range(edges[0], edges[1] + 1))
    bars: list[list[Any]] = []
    close = math.nan
    for bucket in range(first, newest + 1):
        inside = [by_id[number] for number in ids if bucket_of[number] == bucket]
        if inside:
            prices = [float(trade["price"]) for trade in inside]
            volume = math.fsum(float(trade["size"]) for trade in inside)
            numbers = [prices[0], max(prices), min(prices), prices[-1], volume]
            state = "incomplete" if bucket in torn else "open" if bucket == newest else "complete"
        else:
            numbers = [close, close, close, close, 0.0]
            state = "incomplete" if bucket in torn else "filled"
        close = numbers[3]
        bars.append([bucket * length, *numbers, state])
    return bars


GAPS = st.sampled_from([0, 0, 0, 1, 3, 9, 10, 29, 60, 61, 150, 700])
PRICES = st.sampled_from(["10", "10.1", "9.97", "0.30000001", "1e2"])
SIZES = st.sampled_from(["1", "0.1", "0.2", "0.00000003", "123.456", "0"])


@st.composite
def arrivals(draw: st.DrawFn, jitter: int = 0) -> list[Arrival]:
    """Trades of contiguous ids of which some are lost, some come again, and some in another order."""
    seconds, trades = 0, []
    for number in range(draw(st.integers(1, 25))):
        seconds += draw(GAPS)
        back = draw(st.integers(0, jitter))
        trades.append(match(100 + number, max(seconds - back, 0), draw(PRICES), draw(SIZES)))
    order = draw(st.permutations(range(len(trades)))) if draw(st.booleans()) else range(len(trades))
    come = [trades[index] for index in order for _ in range(draw(st.sampled_from([1, 1, 1, 1, 0, 2])))]
    messages: list[Arrival] = []
    while come:
        size = draw(st.integers(1, 4))
        messages.append(Arrival(come[:size], *(draw(st.sampled_from([False, False, True])) for _ in range(3))))
        come = come[size:]
    return messages


def check(messages: list[Arrival]) -> None:
    market, counts = market_of(*LENGTHS), Counter[str]()
    closed: dict[str, list[int]] = {f"AAA-USD@{length}": [] for length in LENGTHS}
    waiting: list[Message] = []
    for index, arrival in enumerate(messages):
        waiting.append(arrival.trades[0] if len(arrival.trades) == 1 else market_trades(arrival.trades))
        if not (arrival.feed_ends or index == len(messages) - 1):
            continue
        fed = market.feed(waiting)
        waiting = []
        counts.update(fed.counts)
        for each in fed.closed:
            closed[each.stream].append(each.bar.start - START)
        if arrival.connect:
            market.connect()
        if arrival.restart:
            market = restarted(market, market_of(*LENGTHS))
    trades = [trade for arrival in messages for trade in arrival.trades]
    ids = {trade["trade_id"] for trade in trades}
    assert counts["used"] + counts["late"] == len(ids)
    assert counts["duplicates"] == len(trades) - len(ids)
    assert counts["missed_trades"] == max(ids) - min(ids) + 1 - len(ids)
    assert counts["seen"] == len(messages)
    for length, seconds in zip(LENGTHS, (10, 60), strict=True):
        stream = market.find(f"AAA-USD@{length}")
        expected = plain_bars(trades, seconds)
        assert told(stream) == expected
        starts = closed[stream.name]  # each that closed is told once; what came before the first, late, is not
        assert starts == [bar[0] for bar in expected[:-1]][len(expected) - 1 - len(starts) :]
        values = stream.indicators.values(stream.closed[:, 3])
        assert np.array_equal(values, Indicators().values(stream.closed[:, 3]), equal_nan=True)
        torn = [bar[0] for bar in expected[:-1] if bar[6] == "incomplete"]
        assert [start - START for span in stream.holes() for start in range(*span, seconds)] == torn


@given(arrivals())
def test_bars_are_those_of_the_trades_that_came(messages: list[Arrival]) -> None:
    if messages:
        check(messages)


@given(arrivals(jitter=90))
def test_bars_are_those_of_the_trades_that_came_whatever_the_clock_says(messages: list[Arrival]) -> None:
    if messages:
        check(messages)


def test_a_bar_is_whole_once_an_earlier_trade_has_come_whether_or_not_it_was_read_before() -> None:
    for reads in (False, True):
        market = take(market_of("1m", "5m"), [match(3, 35)])
        market.forget("AAA-USD@1m")  # the ids go on
        take(market, [match(4, 105), match(5, 175)])
        if reads:
            assert states(market.find("AAA-USD@1m")) == ["incomplete", "open"]
        take(market, [match(1, 35)])
        assert states(market.find("AAA-USD@1m")) == ["incomplete", "complete", "open"]
