"""The faults of a feed, each with the bars and the counts that are right: feed_faults.json of the shared data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import SHARED_DATA
from vinocast.market.feed import Market
from vinocast.market.lengths import BarLength

pytestmark = pytest.mark.shared_data
PATH = SHARED_DATA / "coinbase" / "feed_faults.json"
FAULTS: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}


def market_of(fault: dict[str, Any]) -> tuple[Market, str]:
    length = BarLength(f"{fault['bar_seconds']}s", fault["bar_seconds"])
    return Market([length], None, 100), length.stream(fault["product"])


def bars_of(fault: dict[str, Any]) -> list[list[Any]]:
    return [[*bar[:6], bar[6].partition(":")[0]] for bar in fault["bars"]]


def counts_of(market: Market) -> dict[str, int]:
    """Return the counts that the file tells: all but how much came at all."""
    return {name: count for name, count in market.counts.told().items() if name not in ("seen", "used")}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_gives_its_bars_and_counts(name: str) -> None:
    fault = FAULTS[name]
    market, stream = market_of(fault)
    for message in fault["messages"]:
        if message == {"connect": True}:
            market.connect()
        else:
            market.feed_one(message)
    assert [list(bar) for bar in market.find(stream).bars(900)] == bars_of(fault)
    assert counts_of(market) == fault["counts"]
