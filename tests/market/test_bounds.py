"""What a market stream holds has a bound: bars, holes, products, memory."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from market_support import (
    START,
    market_of,
    market_trades,
    match,
    states,
    take,
    told,
)
from vinocast.errors import (
    OverloadedError,
    UnknownStreamError,
)
from vinocast.market.feed import MOST_CLOSED, Fed
from vinocast.market.ring import KEPT
from vinocast.market.trade_ids import MOST_HOLES

STREAM = "AAA-USD@1m"


def test_the_newest_bars_are_kept() -> None:
    market = market_of("1s")
    fed = market.feed([match(number, number, str(number + 1)) for number in range(2000)])
    stream = market.find("AAA-USD@1s")
    assert (stream.rows, len(stream.closed), len(fed.closed)) == (KEPT, KEPT, KEPT)
    assert [bar[3] for bar in told(stream)] == list(range(2000 - KEPT, 2001))
    assert [each.bar.close for each in fed.closed] == list(range(2000 - KEPT, 2000))


def test_no_more_bars_are_made_of_what_closes_at_once_than_a_reply_may_hold() -> None:
    def fed_to(products: int) -> tuple[Fed, int]:
        """Return what came of 899 bars each that close with one request, and what that took of memory."""
        market = market_of("1m")
        market.feed([match(1, 0, product=f"P{number}-USD") for number in range(products)])
        tracemalloc.start()
        try:
            fed = market.feed([match(2, 60 * 899, "11", product=f"P{number}-USD") for number in range(products)])
            return fed, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    _, memory = fed_to(120)
    fed, of_more = fed_to(200)
    assert (len(fed.closed), fed.more, fed.counts) == (MOST_CLOSED, 200 * 899 - MOST_CLOSED, {"seen": 200, "used": 200})
    assert of_more < 1.1 * memory
    every = range(START, START + 60 * 899, 60)
    assert fed.starts == {f"P{number}-USD@1m": every for number in range(200)}
    whole, part = divmod(MOST_CLOSED, 899)
    told = [*every] * whole + [*every[:part]]
    assert [each.bar.start for each in fed.closed] == told
    assert [each.stream for each in fed.closed[::899]] == [f"P{number}-USD@1m" for number in range(whole + 1)]


@pytest.mark.parametrize("minutes", [899, 900, 901, 902, 5000, 90_000])
def test_a_long_quiet_time_is_filled_as_far_as_bars_are_kept(minutes: int) -> None:
    market = take(market_of("1m"), [match(1, 0, "5"), match(2, 60, "6"), match(3, 60 * minutes, "7")])
    bars = told(market.find(STREAM))
    assert len(bars) == min(minutes, KEPT) + 1
    assert bars[-2] == [60 * (minutes - 1), 6, 6, 6, 6, 0, "filled"]
    assert {bar[3] for bar in bars[2:-1]} == {6}
    assert bars[0][:2] == (
        [0, 5] if minutes <= KEPT else [60, 6] if minutes == KEPT + 1 else [60 * (minutes - KEPT), 6]
    )


def test_bars_of_a_quiet_time_have_nothing_of_those_whose_rows_they_take() -> None:
    traded = [match(number, number, "5") for number in range(KEPT)]
    market = take(market_of("1s"), [*traded, match(KEPT, 2 * KEPT - 1, "5")])
    bars = told(market.find("AAA-USD@1s"))
    assert bars[0] == [KEPT - 1, 5, 5, 5, 5, 1, "complete"]
    assert bars[1:-1] == [[KEPT + at, 5, 5, 5, 5, 0, "filled"] for at in range(KEPT - 1)]


def test_a_trade_of_a_bar_that_is_not_kept_counts_as_late_and_changes_nothing() -> None:
    market = take(market_of("1m"), [match(10, 0), match(12, 60), match(13, 60 * 2000)])
    before = told(market.find(STREAM))
    assert market.feed([match(5, 0), match(4, 0)]).counts["late"] == 2
    assert told(market.find(STREAM)) == before


def test_the_oldest_of_too_many_holes_is_forgotten_and_its_bars_stay_incomplete() -> None:
    market = market_of("1m")
    take(market, [match(10 * number, 60 * number) for number in range(MOST_HOLES + 100)])
    take(market, [match(10 * (MOST_HOLES + 99) + 1 + number, 60 * (MOST_HOLES + 100 + number)) for number in range(3)])
    stream = market.find(STREAM)
    assert states(stream) == ["incomplete"] * (MOST_HOLES + 100) + ["complete"] * 2 + ["open"]
    assert market.counts.missed_trades == 9 * (MOST_HOLES + 99)
    # Of a hole that is forgotten nothing is known any more: what comes of it is taken for seen.
    assert market.feed([match(5, 30)]).counts == {"seen": 1, "duplicates": 1}
    assert market.feed([match(10 * (MOST_HOLES + 98) + 1, 60 * (MOST_HOLES + 98) + 1)]).counts["late"] == 1


def test_holes_of_bars_that_are_not_kept_are_forgotten() -> None:
    market = take(market_of("1s"), [match(2 * number, 50 * number) for number in range(100)])
    record = list(market.dump())[1]
    assert len(record["ids"]["holes"]) == 1 + KEPT // 50 + 1


def test_products_are_as_many_as_there_may_be_streams() -> None:
    market = market_of("1m", "5m", limit=20)
    with pytest.raises(OverloadedError, match=r"20 market streams already.*--max-streams"):
        take(market, [match(1, 0, product=f"P{number}-USD") for number in range(10_000)])
    fed = market.feed([match(1, 0, product=f"P{number}-USD") for number in range(10_000)])
    assert (len(market.streams), fed.counts) == (20, {"seen": 10_000, "refused": 9_990, "duplicates": 10})
    # What is kept goes on, but for a message that would need another.
    assert market.feed([match(2, 1, product="P0-USD")]).counts == {"seen": 1, "used": 1}
    both = market_trades([match(3, 1, product="P0-USD"), match(1, 1, product="NEW-USD")])
    assert market.feed([both]).counts == {"seen": 1, "refused": 1}
    market.forget("P3-USD@5m")
    assert market.find("P3-USD@1m").rows == 0
    assert market.feed([both]).counts == {"seen": 1, "refused": 1}
    market.forget("P3-USD@1m")
    with pytest.raises(UnknownStreamError):
        market.find("P3-USD@1m")
    assert market.feed([both]).counts == {"seen": 1, "used": 2}


def test_a_thousand_streams_of_all_bars_take_less_than_64_mb_with_their_indicators() -> None:
    market = market_of("1s")

    def filled(names: list[str]) -> int:
        """Return how much memory there is once streams of products have all their bars."""
        for number in range(KEPT + 1):
            market.feed([match(number, number, str(100 + number % 7), "0.1", name) for name in names])
        for stream in market.streams:
            stream.indicators.values(stream.closed[:, 3], 512)
        gc.collect()  # which empties Python's own lists of what is free as well
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = filled(["FIRST-USD"])  # and what is imported
        size = filled([f"P{number}-USD" for number in range(10)]) - before
    finally:
        tracemalloc.stop()
    assert all(stream.rows == KEPT for stream in market.streams)
    # TA-Lib's own memory, which Python does not see, is 0.9 kB for each of three sets of handles.
    assert size / 10 + 2700 < 62_000
