"""What a market stream is sent costs the same whatever it holds, and whatever was missed before."""

from __future__ import annotations

import numpy as np
import pytest
from market_support import (
    Message,
    candle,
    candles,
    count_calls,
    count_lines,
    market_of,
    market_trades,
    match,
    states,
    take,
)
from vinocast.errors import (
    OverloadedError,
    PayloadTooLargeError,
)
from vinocast.market.closing import MOST_CLOSING
from vinocast.market.feed import CONNECT
from vinocast.market.folds import fold
from vinocast.market.ring import KEPT
from vinocast.market.trade_ids import MOST_HOLES

STREAM = "AAA-USD@1m"
SOUND = [match(number, 20 * number) for number in range(1, 400)]


def test_a_quiet_time_costs_the_same_whatever_was_missed_before_it() -> None:
    def silence(step: int) -> int:
        market = market_of("1s")
        take(market, [match(1 + step * number, 0) for number in range(MOST_HOLES)])
        end = match(2 + step * (MOST_HOLES - 1), KEPT)
        return count_calls(lambda: market.feed([end]))

    # Each hole is looked at a few times, and not for each of the bars.
    assert silence(2) < silence(1) + 5 * MOST_HOLES


def test_what_was_missed_for_days_is_found_at_once() -> None:
    market = take(market_of("1m"), [*SOUND[:50], match(900_000, 40_000), match(900_001, 40_060)])
    assert market.counts.missed_trades == 900_000 - 51
    assert states(market.find(STREAM))[-3:] == ["incomplete", "incomplete", "open"]


def test_bars_that_nobody_reads_are_not_looked_at_again_with_each_that_closes() -> None:
    def calls(messages: list[Message]) -> int:
        market = take(market_of("1s"), [match(1, 0), *(match(1000 + 2 * at, at) for at in range(1, 1500))])
        return count_calls(lambda: market.feed(messages))

    new = [match(4000 + 2 * at, at) for at in range(1500, 1700)]
    late = [match(2 + at, 700 + at) for at in range(200)]  # of the oldest bars, in a hole that touches all
    both = [each for pair in zip(late, new, strict=True) for each in pair]
    assert calls(both) < 3 * (calls(new) + calls(late))


def test_a_candle_costs_longer_bars_the_same_however_many_bars_there_are() -> None:
    def calls(bars: int, *messages: list[int]) -> int:
        """Return what messages of candles of some bars cost, each counted from the newest on, where so many came."""
        market = take(
            market_of("15m", "1h"), [candles(*(candle(300 * at, "10 11 9 10 5") for at in range(3000 - bars, 3000)))]
        )
        old = [candles(*(candle(300 * (2999 - at), "10 11 9 10 6") for at in each)) for each in messages]
        return count_calls(lambda: market.feed(old))

    assert calls(1000, *[[890]] * 20) < calls(100, *[[80]] * 20) + 100
    assert calls(1000, *[[20, 890]] * 20) < calls(100, *[[20, 80]] * 20) + 100
    assert calls(1000, [*range(2000, 2500)]) < calls(100, [*range(2000, 2500)]) + 100  # which are not kept


def test_a_candle_that_comes_alone_costs_nothing_but_what_it_is_compared_by() -> None:
    alone = [(0, 10.0, 11.0, 9.0, 10.0, 5.0)]
    held = fold(alone, 0)
    # That fold, the comparison, and what makes a tuple with names.
    assert count_calls(lambda: fold(alone, 0).is_as(held)) <= 4


def test_what_is_sent_costs_the_same_however_many_holes_there_are_and_however_long_they_are() -> None:
    def lines(holes: int, last: int) -> tuple[int, int]:
        """Return what candles of bars of trades, and trades behind a hole each, cost where so many holes were before.

        Each of the holes, which are in the first bar, and of those behind them reaches up to another bar.
        """
        market = market_of("5m", "4h")
        trades = [*range(1, 2 * holes + 1, 2), *range(2 * holes + 1, 2 * holes + 601)]
        take(market, [match(number, 300 * max(number - 2 * holes, 0)) for number in trades])
        again = [candles(candle(300 * at, "10 11 9 10 5")) for at in range(100, 200)]
        behind = [match(10_000 + 2 * at, 300 * (600 - at % 2 * last)) for at in range(300)]
        return count_lines(lambda: market.feed(again)), count_lines(lambda: market.feed(behind))

    few, many, long = lines(1, 1), lines(MOST_HOLES - 1, 1), lines(1, 590)
    assert many[0] < 1.5 * few[0]
    assert long[1] < 1.5 * few[1]


def test_no_more_bars_close_with_one_request_than_are_gone_through_in_a_moment() -> None:
    jumps = [match(number, 901 * number) for number in range(1200)]
    market = market_of("1s")
    fed = market.feed(jumps)
    taken = -(-MOST_CLOSING // KEPT) + 1
    assert fed.counts == {"seen": 1200, "refused": 1200 - taken, "used": taken}
    assert isinstance(fed.refused[0][1], OverloadedError)
    assert market.feed(jumps[taken:]).counts == {"seen": 1200 - taken, "used": 1200 - taken}
    # A connection that begins among what is refused has begun: its numbers are compared with no earlier one's.
    market = market_of("1s")
    assert market.feed([{"channel": "status", "sequence_num": 0}, *jumps, CONNECT]).counts["refused"] == 1200 - taken
    assert "missed_messages" not in market.feed([{"channel": "status", "sequence_num": 900}]).counts
    # Of one message, or of candles, all is refused.
    with pytest.raises(PayloadTooLargeError):
        market_of("1s").feed_one(market_trades(jumps))
    with pytest.raises(PayloadTooLargeError):
        market_of("5m").feed_one(candles(*(candle(300_000 * at, "10 11 9 10 5") for at in range(1200))))
    with pytest.raises(PayloadTooLargeError):
        market_of("1s").history("AAA-USD@1s", np.array([[901 * at, 9, 11, 10, 10, 5] for at in range(1200)], float))
