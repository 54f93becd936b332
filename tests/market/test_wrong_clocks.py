"""No time, however wrong, ends a market stream or costs it its history."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from market_support import (
    START,
    Message,
    candle,
    candles,
    heartbeat,
    market_of,
    market_trades,
    match,
    restarted,
    states,
    take,
    told,
)
from vinocast.errors import (
    StaleTimestampError,
    TimestampAheadError,
)
from vinocast.market.ring import KEPT

STREAM = "AAA-USD@1m"
YEAR = 366 * 86_400
WRONG = [match(7, 200 * YEAR), heartbeat(3, 200 * YEAR), candles(candle(200 * YEAR // 300 * 300, "10 11 9 10 5"))]


def test_a_time_far_ahead_is_refused_once_and_taken_if_the_next_is_as_far() -> None:
    market = take(market_of("1m"), [match(1, 0), match(2, 60)])
    with pytest.raises(TimestampAheadError, match="--max-steps-ahead"):
        market.feed_one(match(3, 100 * YEAR))
    take(market, [match(4, 61), match(5, 120)])  # one wrong clock
    assert states(market.find(STREAM)) == ["incomplete", "incomplete", "open"]
    with pytest.raises(TimestampAheadError):
        market.feed_one(match(6, 2 * YEAR))
    take(market, [match(7, 2 * YEAR + 60)])  # a long night
    assert states(market.find(STREAM)) == ["incomplete"] * (KEPT + 1)
    assert market.counts.told() == {"seen": 7, "used": 5, "refused": 2, "missed_trades": 2}


def test_a_time_far_behind_is_refused_once_and_begins_the_product_anew_if_the_next_is_as_far() -> None:
    market = take(market_of("1m"), [match(1, 2 * YEAR), match(2, 2 * YEAR)])
    with pytest.raises(StaleTimestampError):
        market.feed_one(match(3, 0))
    take(market, [match(4, 2 * YEAR + 1)])
    with pytest.raises(StaleTimestampError):
        market.feed_one(match(5, 0, "3"))
    take(market, [match(6, 10, "4")])
    assert told(market.find(STREAM)) == [[0, 4, 4, 4, 4, 1, "incomplete"]]
    # What is only old, and was told before, is a duplicate.
    market = take(market_of("1m"), [match(1, 0), match(2, 0), *(match(3 + n, n * YEAR / 20) for n in range(100))])
    assert market.feed([match(1, 0), match(2, 0)]).counts == {"seen": 2, "duplicates": 2}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("leap", [901, 5000, 99_000])
def test_one_time_ahead_of_all_bars_costs_a_stream_none_of_its_history(leap: int, restarts: bool) -> None:
    right = [match(number, 60 * number, str(number)) for number in range(1, 1000)]
    market = take(market_of("1m"), right[:990])
    kept = told(market.find(STREAM))
    market.feed([match(991, 60 * (990 + leap), "7")])
    refused = []
    for each in right[991:]:
        if restarts:
            market = restarted(market, market_of("1m"))
        refused.append(market.feed([each]).counts.get("refused", 0))
    # The first that comes behind it may itself be wrong; with the second the stream is as it was before.
    assert refused == [1, *[0] * 7]
    bars = told(market.find(STREAM))
    assert [bar for bar in bars if bar[0] < 60 * 990] == kept[9:-1]
    assert [bar[-1] for bar in bars[-10:]] == [*["incomplete"] * 4, *["complete"] * 5, "open"]
    assert bars[-1][3] == 999
    # Where the next is as far, it was a silence.
    market = take(market_of("1m"), [match(1, 0), match(2, 60), match(3, 60 * leap), match(4, 60 * leap + 1)])
    assert market.feed([match(5, 60 * leap + 60)]).counts == {"seen": 1, "used": 1}
    assert states(market.find(STREAM)) == [*["filled"] * 899, "complete", "open"]


def test_what_was_before_a_leap_is_kept_until_it_is_known_for_a_silence_and_of_candles_never() -> None:
    def grown(begin: list[Message], *later: list[Message]) -> list[float]:
        """Return by how many bytes 20 products have grown, each, with each list of messages behind the first."""
        market = market_of("5m")
        tracemalloc.start()
        try:
            sizes = []
            for messages in (begin, *later):
                market.feed(messages)
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
            return [(size - sizes[0]) / 20 for size in sizes[1:]]
        finally:
            tracemalloc.stop()

    names, far = [f"P{number}-USD" for number in range(20)], 2000 * 300
    first, leapt, confirmed = (
        [match(number, at, product=name) for name in names for number in numbers]
        for at, numbers in ((0, (1, 2)), (far, (3,)), (far + 1, (4,)))
    )
    while_in_doubt, after = grown(first, leapt, confirmed)
    assert while_in_doubt > 50_000
    assert after < 20_000  # what rows of trades take beside their numbers
    first, leapt = ([candles(candle(at, "10 11 9 10 5", name)) for name in names] for at in (0, far))
    (of_candles,) = grown(first, leapt)
    assert of_candles < 10_000


def test_history_far_ahead_is_refused_once_by_its_row_and_taken_if_it_comes_again() -> None:
    market = take(market_of("1m"), [match(1, 0), match(2, 60)])
    before = told(market.find(STREAM))
    rows = np.array([[START + at, 9, 11, 10, 10, 5] for at in (60, 100 * YEAR // 60 * 60, 0)], np.float64)
    with pytest.raises(
        TimestampAheadError, match=r"candles\[1\]\[0\]: expected a time within .*--max-steps-ahead"
    ) as raised:
        market.history(STREAM, rows)
    assert raised.value.field == "candles[1][0]"
    assert told(market.find(STREAM)) == before
    market.history(STREAM, rows)
    assert market.find(STREAM).newest * 60 == START + 100 * YEAR // 60 * 60
    # Of a product that has none yet any history is taken, and what is older than what is kept is late.
    market = market_of("1m")
    market.history(STREAM, rows)
    assert market.history(STREAM, rows[::2]).counts == {"late": 2}


def test_a_message_that_is_refused_for_one_product_changes_no_other() -> None:
    market = take(market_of("1m"), [match(1, 2 * YEAR), match(1, 0, product="BBB-USD")])
    before = told(market.find(STREAM))
    with pytest.raises(StaleTimestampError):
        market.feed_one(match(2, 0))
    with pytest.raises(TimestampAheadError):
        market.feed_one(market_trades([match(2, 2 * YEAR, product="BBB-USD"), match(3, 1)]))
    assert told(market.find(STREAM)) == before
    market.feed_one(match(4, 2))  # as it would have been taken before
    assert told(market.find(STREAM)) == [[0, 10, 10, 10, 10, 1, "incomplete"]]


def test_several_products_of_one_message_go_on_together_after_a_long_silence() -> None:
    names = [f"P{number}-USD" for number in range(5)]
    market = take(market_of("1m"), [match(1, 0, product=name) for name in names])
    later = [market_trades([match(number, 2 * YEAR, product=name) for name in names]) for number in (2, 3)]
    assert [market.feed([each]).counts for each in later] == [
        {"seen": 1, "refused": 1},
        {"seen": 1, "used": 5, "missed_trades": 5},
    ]


@pytest.mark.parametrize("wrong", WRONG, ids=["match", "heartbeat", "candle"])
def test_a_message_with_a_wrong_clock_ends_no_stream(wrong: Message) -> None:
    market = take(market_of("5m"), [match(1, 0), match(2, 300), match(3, 301)])
    assert market.feed([wrong]).counts == {"seen": 1, "refused": 1}
    fed = market.feed([match(4, 302), match(5, 600)])
    assert [(each.bar.start - START, each.bar.state) for each in fed.closed] == [(300, "complete")]


@pytest.mark.parametrize("wrong", [-20 * YEAR, 2 * 86_400, 200 * YEAR])
def test_a_product_that_began_with_a_wrong_clock_goes_on_by_the_right_one(wrong: int) -> None:
    market = market_of("1m")
    market.feed([market_trades([match(1, wrong), match(2, 0)])])
    refused = sum(market.feed([match(3 + number, 60 * number)]).counts.get("refused", 0) for number in range(5))
    assert refused == (wrong > 0)
    assert [bar[0] for bar in told(market.find(STREAM))][-2:] == [180, 240]
