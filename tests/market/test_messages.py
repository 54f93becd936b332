"""What a raw message may hold: a broken field of any known type is refused by code and path, and all else goes on."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from market_support import START, Message, advanced, candle, candles, heartbeat, market_of, market_trades, match, take
from vinocast.errors import RequestError
from vinocast.market.fields import seconds_of
from vinocast.market.messages import read

TICKER = {"type": "ticker", "product_id": "AAA-USD", "price": "10", "sequence": 1, "time": "2026-03-04T05:00:00Z"}
TICKERS = advanced("ticker", [{"type": "update", "tickers": [{"product_id": "AAA-USD", "price": "10"}]}])
HEARTBEATS = advanced("heartbeats", [{"current_time": "2026-03-04 05:01:01 +0000 UTC m=+7", "heartbeat_counter": 7}])
GOOD: dict[str, Message] = {
    "match": match(1, 0),
    "last_match": match(1, 0) | {"type": "last_match"},
    "heartbeat": heartbeat(1, 0),
    "ticker": TICKER,
    "market_trades": market_trades([match(1, 0), match(2, 0)]),
    "candles": candles(candle(0, "10 11 9 10.5 5"), candle(300, "10 11 9 10.5 5")),
    "tickers": TICKERS,
    "ticker_batch": TICKERS | {"channel": "ticker_batch"},
    "heartbeats": HEARTBEATS,
}
NO_TEXT: tuple[Any, ...] = (None, True, [], {})
NO_NUMBER = (*NO_TEXT, "", "x", "NaN", "nan", "inf", "Infinity", "-Infinity", "1e999", "-1", "1_000", " 1", "1,5", "٣",
             1e39, 10**400, float("nan"), float("inf"), -1, "0x1", "1e40", "--1", "e", ".")  # fmt: skip
NO_PRICE = (*NO_NUMBER, "0", 0, "0.0", "1e-400")
NO_ID = (*NO_TEXT, "", "x", "1.0", 1.0, -1, "-1", 2**63, 10**400, "9" * 19, "9" * 5000, "+1", " 1", "1_0", "٣")
NO_NAME = (*NO_TEXT, 5, "", "A/B", "A@5m", "x" * 41, "Ä-USD", "-USD", "A\nB")
NO_TIME = (*NO_TEXT, 5, "", "now", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z",
           "2026-03-04T05:00:00", "2026-03-04", "2026-13-04T05:00:00Z", "2026-02-30T05:00:00Z", "2026-03-04T25:00:00Z",
           "2026-03-04T05:00:61Z", "2026-03-04T05:00:00.Z", "2026-03-04T05:00:00.1234567890Z", "2026-03-04T05:00:00.٣Z",
           "2026-03-04T05:00:0٣Z", "2026-03-04T05:00:00ZZ", "2026-03-04 05:01:01.5 +0000 UTC m=+7.5",
           "Z" * 10_000)  # fmt: skip
NO_ARRAY: tuple[Any, ...] = (None, True, {}, "x", 5)
NO_OBJECT: tuple[Any, ...] = (None, True, [], "x", 5)

BROKEN: list[tuple[str, str, tuple[Any, ...]]] = [
    *(
        (kind, field, values)
        for kind in ("match", "last_match")
        for field, values in (
            ("trade_id", NO_ID), ("price", NO_PRICE), ("size", NO_NUMBER), ("time", NO_TIME), ("product_id", NO_NAME),
        )
    ),
    ("heartbeat", "last_trade_id", NO_ID),
    ("heartbeat", "time", NO_TIME),
    ("heartbeat", "product_id", NO_NAME),
    ("ticker", "product_id", NO_NAME),
    ("ticker", "price", NO_PRICE),
    *((kind, "events", NO_ARRAY) for kind in ("market_trades", "candles", "tickers", "ticker_batch", "heartbeats")),
    *((kind, "events[0]", NO_OBJECT) for kind in ("market_trades", "candles", "tickers", "heartbeats")),
    *((kind, "sequence_num", NO_ID) for kind in ("market_trades", "candles", "tickers", "heartbeats")),
    ("heartbeats", "events[0].heartbeat_counter", NO_ID),
    ("tickers", "events[0].tickers", NO_ARRAY),
    ("tickers", "events[0].tickers[0]", NO_OBJECT),
    ("tickers", "events[0].tickers[0].product_id", NO_NAME),
    ("ticker_batch", "events[0].tickers[0].price", NO_PRICE),
    ("market_trades", "events[0].trades", NO_ARRAY),
    ("market_trades", "events[0].trades[1]", NO_OBJECT),
    ("market_trades", "events[0].trades[1].product_id", NO_NAME),
    ("market_trades", "events[0].trades[1].trade_id", NO_ID),
    ("market_trades", "events[0].trades[1].price", NO_PRICE),
    ("market_trades", "events[0].trades[1].size", NO_NUMBER),
    ("market_trades", "events[0].trades[0].time", NO_TIME),
    ("candles", "events[0].candles", NO_ARRAY),
    ("candles", "events[0].candles[0]", NO_OBJECT),
    ("candles", "events[0].candles[1].product_id", NO_NAME),
    ("candles", "events[0].candles[1].start", (*NO_ID, str(2**40))),
    *(("candles", f"events[0].candles[1].{name}", NO_PRICE) for name in ("open", "high", "low", "close")),
    ("candles", "events[0].candles[1].volume", NO_NUMBER),
]  # fmt: skip


def put(message: Message, path: str, value: object) -> Message:
    """Return a message with another value at a path."""
    changed = copy.deepcopy(message)
    keys = [int(key) if key.isdigit() else key for key in path.replace("[", ".").replace("]", "").split(".")]
    holder: Any = changed
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    return changed


@pytest.mark.parametrize(("kind", "path", "values"), BROKEN, ids=[f"{kind} {path}" for kind, path, _ in BROKEN])
def test_a_broken_field_is_refused_by_code_and_path(kind: str, path: str, values: tuple[Any, ...]) -> None:
    market = take(market_of("5m"), [match(1, 0)])
    before = list(market.streams[0].bars(9))
    for value in values:
        if path == "sequence_num" and value is None:
            continue
        with pytest.raises(RequestError) as caught:
            market.feed_one(put(GOOD[kind], path, value))
        assert caught.value.field == path, value
        assert caught.value.code in ("invalid_request", "invalid_value")
        assert caught.value.code == "invalid_request" or isinstance(value, str | int | float)
        assert caught.value.message.startswith(f"{path}: expected ")
    refused = market.counts.refused
    assert refused == market.counts.seen - 1 > 0
    assert market.streams[0].bars(9) == before
    assert market.feed([put(GOOD[kind], path, values[1])]).counts == {"seen": 1, "refused": 1}


@pytest.mark.parametrize("kind", GOOD)
def test_a_field_that_is_missing_is_refused(kind: str) -> None:
    needed = {path for each, path, _ in BROKEN if each == kind and "[" not in path and path != "sequence_num"}
    for name in needed:
        with pytest.raises(RequestError) as caught:
            read({key: value for key, value in GOOD[kind].items() if key != name})
        assert (caught.value.field, caught.value.code) == (name, "invalid_request")


NO_MESSAGE: tuple[Any, ...] = (None, True, 5, "x", [], [match(1, 0)], {}, {"type": 5}, {"channel": None})


@pytest.mark.parametrize("message", NO_MESSAGE)
def test_what_is_no_message_is_refused(message: object) -> None:
    market = market_of("5m")
    with pytest.raises(RequestError) as caught:
        market.feed_one(message)
    assert caught.value.code == "invalid_request"
    path = f"{caught.value.field}: " if caught.value.field else ""
    assert caught.value.message.startswith(f"{path}expected ")
    assert market.feed([message]).counts == {"seen": 1, "refused": 1}


def test_a_candle_whose_numbers_contradict_each_other_is_refused() -> None:
    for numbers in ("10 9 8 9 1", "10 11 10.5 11 1", "10 11 9 8 1", "10 11 9 12 1"):
        with pytest.raises(RequestError, match="low <= open, close <= high") as caught:
            market_of("5m").feed_one(candles(candle(0, numbers)))
        assert caught.value.field == "events[0].candles[0].low"


IGNORED = [
    {"type": "auction", "product_id": 5}, {"type": "l2update"}, {"channel": "l2_data"},
    {"channel": "status", "events": 5}, {"channel": "user", "sequence_num": 3}, {"type": "snapshot"}, {"type": ""},
    TICKER, TICKERS,
]  # fmt: skip


@pytest.mark.parametrize("message", IGNORED)
def test_what_makes_no_bar_is_ignored_and_counted(message: Message) -> None:
    assert market_of("5m").feed([message]).counts == {"seen": 1, "ignored": 1}


def test_a_refused_message_of_a_connection_is_not_missed() -> None:
    market = market_of("5m")
    broken = put(GOOD["market_trades"], "events", 5)
    messages = [broken | {"sequence_num": number} for number in (1, 2)]
    messages = [GOOD["market_trades"], *messages, HEARTBEATS | {"sequence_num": 3}]
    assert market.feed(messages).counts == {"seen": 4, "refused": 2, "used": 2}


def test_a_number_below_the_last_is_of_a_new_connection_and_a_repeated_one_of_the_same() -> None:
    numbers = [5, 6, 6, 9, 0, 1, 4, 2, 3, 3]
    counts = market_of("5m").feed([HEARTBEATS | {"sequence_num": number} for number in numbers]).counts
    assert counts == {"seen": 10, "missed_messages": 2 + 2}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-04T05:00:00Z", START), ("2026-03-04T05:00:59.9999999Z", START + 59),
        ("2026-03-04T05:00:00.77Z", START), ("2026-03-04T05:00:00.123456789Z", START),
        ("2026-03-04T06:00:00+01:00", START), ("2026-03-04T05:00:00z", START), ("2026-03-04T00:30:00.5-04:30", START),
        ("1970-01-01T00:00:00Z", 0), ("2261-12-31T23:59:59Z", 9_214_646_399),
        ("2024-02-29T23:59:59Z", 1_709_251_199),
    ],
)  # fmt: skip
def test_times_are_read_as_rfc_3339_has_them(text: str, seconds: int) -> None:
    assert [seconds_of(text, "time") for _ in range(3)] == [seconds] * 3


def test_numbers_of_json_are_taken_as_well_as_texts() -> None:
    market = take(market_of("5m"), [match(1, 0, 10.5, 2), match("2", 1, "1.05e1", "1e-8")])  # type: ignore[arg-type]
    assert tuple(market.streams[0].bars(1)[0])[1:6] == (10.5, 10.5, 10.5, 10.5, 2 + 1e-8)


ATOMS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(["events", "trades", "time"])
JSON = st.recursive(
    ATOMS | st.sampled_from(NO_TIME[-5:]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
PATHS = sorted({path for _, path, _ in BROKEN} | {"type", "channel", "x"})


@given(st.lists(st.tuples(st.sampled_from(sorted(GOOD)), st.sampled_from(PATHS), JSON), max_size=8))
def test_whatever_a_field_holds_the_feed_goes_on_and_counts_it(changes: list[tuple[str, str, object]]) -> None:
    market = market_of("5m", "1m")
    messages = []
    for kind, path, value in changes:
        try:
            messages.append(put(GOOD[kind], path, value))
        except (KeyError, IndexError, TypeError):
            messages.append(GOOD[kind])
    counts = market.feed(messages).counts
    assert counts.get("seen", 0) == len(messages)
    counts = market.feed([match(2**62, 601), match(2**62 + 1, 602)]).counts
    assert counts["used"] > 0
    for stream in market.streams:
        json.dumps([list(bar) for bar in stream.bars(900)], allow_nan=False)


def test_prices_and_sizes_at_the_edge_of_float32_make_finite_bars() -> None:
    market = take(market_of("5m"), [match(number, number, "3.4e38", "3.4e38") for number in range(100)])
    assert tuple(market.streams[0].bars(1)[0])[1:6] == (3.4e38, 3.4e38, 3.4e38, 3.4e38, 3.4e40)
