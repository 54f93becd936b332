"""The faults of a feed, each with the bars and the counts that are right: feed_faults.json of the shared data.

Each again in other pieces, twice over, and with a restart at every place.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from market_support import CONNECT, Message, faults, fed_at_once, market_of, restarted, take
from vinocast.market.feed import Market

pytestmark = pytest.mark.shared_data
FAULTS = faults()
of_each = pytest.mark.parametrize("name", FAULTS)


def market_for(name: str) -> Market:
    return market_of(f"{FAULTS[name]['bar_seconds']}s")


def check(market: Market, name: str) -> None:
    """Compare the bars with those of the file."""
    fault = FAULTS[name]
    stream = market.find(f"{fault['product']}@{fault['bar_seconds']}s")
    expected = [[*bar[:6], bar[6].partition(":")[0]] for bar in fault["bars"]]
    assert [list(bar) for bar in stream.bars(900)] == expected


def check_counts(counts: dict[str, int], name: str) -> None:
    """Compare counts with those of the file, which tells all but how much came at all."""
    assert {name: count for name, count in counts.items() if name not in ("seen", "used")} == FAULTS[name]["counts"]


def split(message: Message, *, oldest_first: bool) -> list[Message]:
    """Return a message with one of its trades in each."""
    if message.get("channel") != "market_trades":
        return [message]
    event = message["events"][0]
    trades = event["trades"][::-1] if oldest_first else event["trades"]
    return [message | {"events": [event | {"trades": [trade]}]} for trade in trades]


@of_each
def test_a_fault_gives_its_bars_and_counts(name: str) -> None:
    market = take(market_for(name), FAULTS[name]["messages"])
    check(market, name)
    check_counts(market.counts.told(), name)
    assert market.counts.seen == sum(message != CONNECT for message in FAULTS[name]["messages"])


@of_each
def test_a_fault_is_the_same_fed_at_once(name: str) -> None:
    market = market_for(name)
    counts: Counter[str] = Counter()
    closed: list[Any] = []
    for fed in fed_at_once(market, FAULTS[name]["messages"]):
        counts.update(fed.counts)
        closed += fed.closed
    check(market, name)
    check_counts(counts, name)
    one_by_one = market_for(name)
    starts = []
    for message in FAULTS[name]["messages"]:
        if message == CONNECT:
            one_by_one.connect()
        else:
            starts += [(each.stream, each.bar.start) for each in one_by_one.feed_one(message).closed]
    assert sorted((each.stream, each.bar.start) for each in closed) == sorted(starts)


@of_each
@pytest.mark.parametrize("oldest_first", [True, False])
def test_a_fault_is_the_same_with_one_trade_in_each_message(name: str, oldest_first: bool) -> None:
    messages = [each for message in FAULTS[name]["messages"] for each in split(message, oldest_first=oldest_first)]
    market = take(market_for(name), messages)
    check(market, name)
    counts = market.counts.told()
    if not oldest_first:  # a trade that came behind one of a later bar is late
        counts.pop("late", None)
    check_counts(counts, name)


@of_each
def test_the_whole_of_a_fault_again_changes_no_bar(name: str) -> None:
    fault = FAULTS[name]
    market = take(market_for(name), fault["messages"])
    used = market.counts.used
    take(market, fault["messages"])
    check(market, name)
    counts = market.counts.told()
    assert counts.get("missed_trades", 0) == fault["counts"].get("missed_trades", 0)
    if name != "candles_upsert_and_hole":
        assert counts["used"] == used
        assert counts["duplicates"] == used + 2 * fault["counts"].get("duplicates", 0)


@of_each
def test_a_restart_at_any_place_changes_nothing(name: str) -> None:
    messages = FAULTS[name]["messages"]
    for place in range(len(messages) + 1):
        market = restarted(take(market_for(name), messages[:place]), market_for(name))
        check(take(market, messages[place:]), name)
        check_counts(market.counts.told(), name)
