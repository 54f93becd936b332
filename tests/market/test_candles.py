"""Candles: the last of each bucket is its bar, holes are missing; of trades they fill what is not whole."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from market_support import CONNECT, START, Message, candle, candles, market_of, match, restarted, states, take, told
from vinocast.market.feed import Market

NUMBERS = ("10 11 9 10.5 5", "10 11 9 10.5 5", "10 11 9 10 6", "10.5 12 10 11 4", "10 10 10 10 0")
ITEM = st.tuples(st.integers(0, 9), st.sampled_from(NUMBERS))
MESSAGE = st.lists(ITEM, min_size=1, max_size=5, unique_by=lambda item: item[0])
STREAM = "AAA-USD@5m"


def fed(*messages: Message) -> Market:
    return take(market_of("5m"), messages)


@given(
    st.lists(st.lists(ITEM, min_size=1, max_size=5, unique_by=lambda item: item[0]), min_size=1, max_size=8), st.data()
)
def test_bars_are_the_last_candles_of_their_buckets(messages: list[list[tuple[int, str]]], data: st.DataObject) -> None:
    market, counts = market_of("5m"), Counter[str]()
    for number, items in enumerate(messages):
        message = candles(*(candle(300 * bucket, numbers) for bucket, numbers in items), sequence_num=number)
        counts.update(market.feed([message]).counts)
        if data.draw(st.booleans()):
            market = restarted(market, market_of("5m"))
    last = {bucket: numbers for items in messages for bucket, numbers in items}
    expected = []
    for bucket in range(min(last), max(last) + 1):
        numbers = [float(each) for each in last.get(bucket, "0 0 0 0 0").split()]
        state = "open" if bucket == max(last) else "complete" if numbers[4] else "filled"
        expected.append([300 * bucket, *numbers, state] if bucket in last else [300 * bucket, *[None] * 5, "missing"])
    assert told(market.find(STREAM)) == expected
    assert counts["used"] + counts["duplicates"] + counts["re_sent_closed_bucket"] == sum(map(len, messages))
    assert counts["used"] >= len(last)


def test_a_candle_of_a_bucket_before_the_first_is_put_there() -> None:
    market = fed(candles(candle(900, "10 11 9 10 5")), candles(candle(0, "8 9 7 8 1")))
    assert states(market.find(STREAM)) == ["complete", "missing", "missing", "open"]
    assert market.counts.told() == {"seen": 2, "used": 2}


def test_the_last_candle_of_a_bar_may_have_been_lost_with_a_message() -> None:
    first, later = candles(candle(0, "10 11 9 10 5")), candles(candle(300, "10 11 9 10 5"), sequence_num=2)
    market = fed(first, later)
    assert market.counts.missed_messages == 1
    assert states(market.find(STREAM)) == ["incomplete", "open"]
    assert market.find(STREAM).holes() == [(START, START + 300)]
    # A candle of it makes the bar whole, be it the same.
    take(market, [candles(candle(0, "10 11 9 10 5"), sequence_num=3)])
    assert states(market.find(STREAM)) == ["complete", "open"]
    assert market.counts.duplicates == 1


def test_the_last_candle_of_a_bar_may_have_been_lost_between_two_connections() -> None:
    first, later = candles(candle(0, "10 11 9 10 5")), candles(candle(300, "10 11 9 10 5"))
    assert states(fed(first, CONNECT, later).find(STREAM)) == ["incomplete", "open"]
    assert states(fed(first, candles(candle(0, "10 11 9 10 6")), later).find(STREAM)) == ["complete", "open"]


def test_a_snapshot_that_a_connection_was_lost_in_the_middle_of_knows_of_the_next_loss() -> None:
    market, empty = fed(candles(candle(0, "10 11 9 10 5"))), market_of("5m")
    records = market.dump()
    first = next(records)
    take(market, [CONNECT, candles(candle(0, "10 11 9 10 6"))])
    empty.load([first, *records])
    take(empty, [CONNECT, candles(candle(300, "10 11 9 10 5"))])
    assert states(empty.find(STREAM)) == ["incomplete", "open"]


def test_trades_make_a_bar_and_candles_fill_only_what_is_not_whole() -> None:
    trades = [match(1, 10, "10"), match(2, 310, "11"), match(3, 610, "12"), match(9, 1210, "13"), match(10, 1510, "14")]
    market = fed(*trades)
    stream = market.find(STREAM)
    assert states(stream) == ["incomplete", "complete", "incomplete", "incomplete", "incomplete", "open"]
    numbers = [(bucket, f"{20 + bucket} 30 5 {20 + bucket} 7") for bucket in range(6)]
    counts = market.feed([candles(*(candle(300 * bucket, each) for bucket, each in numbers))]).counts
    assert counts == {"seen": 1, "used": 4, "duplicates": 2}
    assert told(stream) == [
        [0, 20, 30, 5, 20, 7, "complete"],
        [300, 11, 11, 11, 11, 1, "complete"],
        [600, 22, 30, 5, 22, 7, "complete"],
        [900, 23, 30, 5, 23, 7, "complete"],
        [1200, 24, 30, 5, 24, 7, "complete"],
        [1500, 14, 14, 14, 14, 1, "open"],
    ]
    # A trade that was missed is in the candle already.
    assert market.feed([match(4, 620, "99")]).counts == {"seen": 1, "late": 1, "missed_trades": -1}
    assert told(stream)[2] == [600, 22, 30, 5, 22, 7, "complete"]


def test_trades_take_over_an_open_bar_that_a_candle_began() -> None:
    market = fed(candles(candle(0, "10 11 9 10 5")), candles(candle(300, "10 11 9 10 5")), match(1, 310, "12", "2"))
    assert told(market.find(STREAM))[1] == [300, 12, 12, 12, 12, 2, "incomplete"]
    take(market, [candles(candle(300, "1 20 1 7 9"))])
    assert market.counts.duplicates == 1
    take(market, [match(2, 600, "13"), candles(candle(300, "10 12 9 12 7"))])
    assert told(market.find(STREAM))[1:] == [
        [300, 10, 12, 9, 12, 7, "complete"],
        [600, 13, 13, 13, 13, 1, "open"],
    ]


def test_bars_that_a_candle_closed_are_known_once_a_later_trade_has_come() -> None:
    market = fed(match(1, 10, "10"), match(2, 310, "11"), candles(candle(1200, "11 11 11 11 1")))
    assert states(market.find(STREAM)) == ["incomplete", "complete", "missing", "missing", "open"]
    take(market, [match(3, 1230, "12")])
    assert told(market.find(STREAM))[2:] == [
        [600, 11, 11, 11, 11, 0, "filled"],
        [900, 11, 11, 11, 11, 0, "filled"],
        [1200, 12, 12, 12, 12, 1, "open"],
    ]


def test_candles_that_no_stream_can_take_are_ignored() -> None:
    market = take(market_of("1m", "7m"), [candles(candle(0, "10 11 9 10 5"))])
    assert (market.counts.told(), market.streams) == ({"seen": 1, "ignored": 1}, [])


@given(st.lists(MESSAGE, min_size=1, max_size=8), st.data())
def test_longer_bars_are_folded_from_what_the_candles_make(
    messages: list[list[tuple[int, str]]], data: st.DataObject
) -> None:
    lengths = data.draw(st.sampled_from([("15m",), ("5m", "15m"), ("30s", "15m", "1h")]))
    market, counts = market_of(*lengths), Counter[str]()
    for number, items in enumerate(messages):
        message = candles(*(candle(300 * bucket, numbers) for bucket, numbers in items), sequence_num=number)
        counts.update(market.feed([message]).counts)
        if data.draw(st.booleans()):
            market = restarted(market, market_of(*lengths))
    last = {bucket: [float(each) for each in numbers.split()] for items in messages for bucket, numbers in items}
    expected = []
    for start in range(min(last) // 3, max(last) // 3 + 1):
        parts = [last[bucket] for bucket in range(3 * start, 3 * start + 3) if bucket in last]
        numbers: list[float | None] = [None] * 5
        state = "open" if start == max(last) // 3 else "missing" if not parts else "incomplete"
        if parts:
            opened, highs, lows, closes, volumes = zip(*parts, strict=True)
            numbers = [opened[0], max(highs), min(lows), closes[-1], sum(volumes)]
            if state != "open" and len(parts) == 3:
                state = "complete" if sum(volumes) else "filled"
        expected.append([900 * start, *numbers, state])
    assert told(market.find("AAA-USD@15m")) == expected
    assert counts["used"] + counts["duplicates"] + counts["re_sent_closed_bucket"] == sum(map(len, messages))


def test_a_longer_bar_that_trades_tore_is_filled_by_candles_of_all_of_it() -> None:
    market = take(market_of("15m"), [match(1, 400, "10"), match(2, 900, "11")])
    take(market, [candles(*(candle(300 * bucket, "10 11 9 10.5 5") for bucket in (1, 2)))])
    assert states(market.find("AAA-USD@15m")) == ["incomplete", "open"]
    take(market, [candles(candle(0, "12 13 8 10 5"))])
    assert told(market.find("AAA-USD@15m")) == [
        [0, 12, 13, 8, 10.5, 15, "complete"],
        [900, 11, 11, 11, 11, 1, "open"],
    ]


def test_a_candle_that_is_not_kept_for_longer_bars_to_be_folded_from_is_late_for_these() -> None:
    market = take(market_of("5m", "4h"), [candles(candle(at, "10 11 9 10 5")) for at in (300 * 2000, 0)])
    assert [stream.counts.told() for stream in market.streams] == [{"used": 1, "late": 1}] * 2
