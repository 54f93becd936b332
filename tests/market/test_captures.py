"""Real captures of both feeds, and longer ones made of them: every message counted, and the bars those of the trades.

The bars are computed again from the trades by other means: sorted by numpy, and grouped.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from market_support import Message, market_of, restarted
from support import SHARED_DATA
from vinocast.market.feed import Market

pytestmark = pytest.mark.shared_data
CAPTURES = {
    name: [json.loads(line) for line in path.read_text().splitlines()]
    for name in ("exchange", "advanced_trade")
    if (path := SHARED_DATA / "coinbase" / f"{name}_sample.jsonl").exists()
}
LENGTHS = {"1s": 1, "1m": 60, "5m": 300}


def trades_of(messages: list[Message]) -> dict[str, list[tuple[int, float, float, float]]]:
    """Return the trades of a capture by product: id, seconds, price, size; each once."""
    found: dict[str, dict[int, tuple[int, float, float, float]]] = {}
    for message in messages:
        items = [message] if message.get("type") in ("match", "last_match") else []
        for event in message.get("events", []):
            items += event.get("trades", [])
        for item in items:
            seconds = datetime.fromisoformat(item["time"][:26].rstrip("Z") + "+00:00").timestamp()
            trade = (int(item["trade_id"]), seconds, float(item["price"]), float(item["size"]))
            found.setdefault(item["product_id"], {})[trade[0]] = trade
    return {name: list(trades.values()) for name, trades in found.items()}


def bars_of(trades: list[tuple[int, float, float, float]], length: int) -> dict[int, tuple[float, ...]]:
    """Return open, high, low, close and volume by the start of each bar in which something was traded."""
    table = np.array(trades)[np.argsort([trade[0] for trade in trades])]
    starts = (table[:, 1] // length * length).astype(np.int64)
    bars: dict[int, tuple[float, ...]] = {}
    for start in np.unique(starts):
        inside = table[starts == start]
        prices = inside[:, 2]
        bars[int(start)] = (prices[0], prices.max(), prices.min(), prices[-1], math.fsum(inside[:, 3]))
    return bars


def again(messages: list[Message], number: int, seconds: int) -> list[Message]:
    """Return a capture with ids and times so much later that it stands behind the same capture before."""
    text = json.dumps(messages)
    trades = trades_of(messages)
    offsets = {name: max(each)[0] - min(each)[0] + 1 for name, each in trades.items()}
    later: list[Message] = json.loads(text)

    def shift(item: Message) -> None:
        if "time" in item:
            moment = datetime.fromisoformat(item["time"][:26].rstrip("Z") + "+00:00").timestamp() + number * seconds
            item["time"] = datetime.utcfromtimestamp(moment).isoformat() + "Z"
        if "trade_id" in item:
            identity = int(item["trade_id"]) + number * offsets[item["product_id"]]
            item["trade_id"] = identity if isinstance(item["trade_id"], int) else str(identity)

    for message in later:
        for item in (message, *(item for event in message.get("events", []) for item in event.get("trades", []))):
            if item.get("product_id") in offsets:
                shift(item)
        for event in message.get("events", []):
            event.pop("candles", None)
    return [each for each in later if each.get("channel") != "candles"]


def check_counts(counts: Counter[str], messages: list[Message]) -> None:
    kinds = Counter(message.get("channel", message.get("type")) for message in messages)
    assert counts["seen"] == len(messages)
    assert counts["ignored"] == kinds["ticker"] + kinds["ticker_batch"]
    assert counts["refused"] == counts["errors"] == 0


def check_bars(market: Market, messages: list[Message]) -> None:
    for product, trades in trades_of(messages).items():
        for text, length in LENGTHS.items():
            stream, expected = market.find(f"{product}@{text}"), bars_of(trades, length)
            bars = stream.bars(901)
            assert [bar.start for bar in bars] == list(range(bars[0].start, bars[-1].start + 1, length))
            for bar in bars:
                if bar.start in expected:
                    assert tuple(bar[1:6]) == expected[bar.start]
                else:
                    assert bar.state in ("filled", "incomplete", "missing")
            assert bars[-1].start == max(expected)


@pytest.mark.parametrize("name", CAPTURES)
def test_bars_of_a_capture_are_those_of_its_trades(name: str) -> None:
    messages = [message for message in CAPTURES[name] if message.get("channel") != "candles"]
    market = market_of(*LENGTHS)
    counts = Counter(market.feed(messages).counts)
    check_counts(counts, messages)
    check_bars(market, messages)
    numbers = [message["sequence_num"] for message in messages if "sequence_num" in message]
    assert counts["missed_messages"] == (numbers[-1] + 1 - len(numbers) if numbers else 0)
    assert counts["used"] + counts["late"] == sum(map(len, trades_of(messages).values()))
    assert counts["late"] == counts["missed_trades"] == 0


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_in_pieces_twice_over_with_restarts_gives_the_same_bars(name: str) -> None:
    messages = [message for message in CAPTURES[name] if message.get("channel") != "candles"]
    market, counts = market_of(*LENGTHS), Counter[str]()
    for number, message in enumerate(messages + messages):
        counts.update(market.feed_one(message).counts)
        if number % 10 == 0:
            market = restarted(market, market_of(*LENGTHS))
    check_counts(counts, messages + messages)
    check_bars(market, messages)
    unique = sum(map(len, trades_of(messages).values()))
    every = sum(len(event.get("trades", [])) for each in messages for event in each.get("events", []))
    every = every or sum(message["type"] in ("match", "last_match") for message in messages)
    assert (counts["used"], counts["duplicates"]) == (unique, 2 * every - unique)


@pytest.mark.parametrize(("name", "seconds"), [("exchange", 120), ("advanced_trade", 60)])
def test_a_longer_capture_made_of_one_has_the_bars_of_its_trades(name: str, seconds: int) -> None:
    messages: list[Message] = []
    for number in range(12):
        messages += again(CAPTURES[name], number, seconds)
    market = market_of(*LENGTHS)
    counts = Counter[str]()
    for at in range(0, len(messages), 37):
        counts.update(market.feed(messages[at : at + 37]).counts)
    check_counts(counts, messages)
    check_bars(market, messages)
    assert counts["missed_trades"] == 0


def test_candles_of_a_capture_make_what_its_trades_have_not() -> None:
    market = market_of("5m")
    counts = Counter(market.feed(CAPTURES["advanced_trade"]).counts)
    check_counts(counts, CAPTURES["advanced_trade"])
    last: dict[tuple[str, int], list[Any]] = {}
    for message in CAPTURES["advanced_trade"]:
        for event in message["events"]:
            for item in event.get("candles", []):
                numbers = [float(item[key]) for key in ("open", "high", "low", "close", "volume")]
                last[item["product_id"], int(item["start"])] = numbers
    for product in ("BTC-USD", "ETH-USD"):
        bars = market.find(f"{product}@5m").bars(901)
        # The snapshot of the trades begins in the bar before the open one, which a candle fills.
        assert bars[-1].state == "open"
        assert tuple(bars[-1][1:6]) == bars_of(trades_of(CAPTURES["advanced_trade"])[product], 300)[bars[-1].start]
        assert sum(bar.state == "missing" for bar in bars) == len(bars) - 100
        for bar in bars[:-1]:
            assert list(bar[1:6]) == last.get((product, bar.start), [None] * 5)
