"""Messages of our own making, as an exchange sends them, and candles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

# 2026-03-04 05:00, which begins an hour.
NOON = 1_772_600_400
STREAM = "AAA-USD@5m"
Candle = list[float]
Message = dict[str, Any]


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def match(trade_id: int, seconds: float, price: float, size: float = 1, product: str = "AAA-USD") -> Message:
    """A trade as the Exchange feed tells of it."""
    return {
        "type": "match",
        "trade_id": trade_id,
        "side": "sell",
        "size": str(size),
        "price": str(price),
        "product_id": product,
        "sequence": 10 * trade_id,
        "time": stamp(seconds),
    }


def trades(*each: tuple[int, float, float], number: int, product: str = "AAA-USD") -> Message:
    """Several as Advanced Trade does, newest first."""
    told = [
        {"product_id": product, "trade_id": str(i), "price": str(price), "size": "1", "time": stamp(at), "side": "BUY"}
        for i, at, price in each
    ]
    return {
        "channel": "market_trades",
        "timestamp": stamp(max(at for _, at, _ in each)),
        "sequence_num": number,
        "events": [{"type": "update", "trades": told[::-1]}],
    }


def candles(count: int, seconds: int = 300, start: int = NOON, seed: int = 1) -> list[Candle]:
    """Candles as the exchange's endpoint has them, newest first: each bar begins where one ended."""
    random = np.random.default_rng(seed)
    closes = (65_000 * np.exp(random.normal(0, 1e-3, count + 1).cumsum())).round(2)
    wicks = random.uniform(0, 20, (count, 2)).round(2)
    volumes = random.uniform(0.5, 9, count).round(8)
    rows = []
    for index in range(count):
        opened, close = closes[index], closes[index + 1]
        low, high = min(opened, close) - wicks[index, 0], max(opened, close) + wicks[index, 1]
        at = start + index * seconds
        rows.append([at, *(round(float(each), 8) for each in (low, high, opened, close, volumes[index]))])
    return rows[::-1]


def closes_of(rows: Sequence[Candle]) -> list[float]:
    """The closes of candles, oldest first."""
    return [row[4] for row in sorted(rows)]
