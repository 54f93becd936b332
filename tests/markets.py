"""A market of our own making: trades with contiguous ids, as either feed of Coinbase sends them, bars, and candles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

Message = dict[str, Any]
# 2026-03-04 05:00:00 UTC, a multiple of an hour.
START = 1_772_600_400


@dataclass(frozen=True)
class Trade:
    """Price in cents and size in thousandths, so that sums of them are exact."""

    product: str
    number: int
    micros: int
    cents: int
    thousandths: int

    @property
    def moment(self) -> str:
        return moment(self.micros)

    @property
    def price(self) -> str:
        return f"{self.cents // 100}.{self.cents % 100:02}"

    @property
    def size(self) -> str:
        return f"{self.thousandths / 1000:g}"


def moment(micros: int) -> str:
    """A time of the feeds, with six digits of a second."""
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def make_trades(
    product: str, seconds: int, *, seed: int = 0, start: int = START, first: int = 1000, rate: float = 1.0
) -> list[Trade]:
    """Trades of so many seconds, at random moments, ``rate`` a second; several may share a time, ids ascend."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    micros = np.sort(rng.integers(0, seconds * 1_000_000, count)) + start * 1_000_000
    cents = 6_500_000 + rng.integers(-300, 301, count).cumsum()
    sizes = rng.integers(1, 2000, count)
    return [
        Trade(product, first + place, int(micros[place]), int(cents[place]), int(sizes[place]))
        for place in range(count)
    ]


def bars_of(trades: Sequence[Trade], seconds: int) -> dict[int, list[float]]:
    """By its start: open, high, low, close, volume of each bucket that has trades; by no rule but the ids' order."""
    bars = {}
    ordered = sorted(trades, key=lambda trade: trade.number)
    for start, group in itertools.groupby(ordered, key=lambda trade: trade.micros // 1_000_000 // seconds * seconds):
        cents, sizes = zip(*((trade.cents, trade.thousandths) for trade in group), strict=True)
        bars[start] = [*(cent / 100 for cent in (cents[0], max(cents), min(cents), cents[-1])), sum(sizes) / 1000]
    return bars


def by_second(trades: Sequence[Trade]) -> Iterator[tuple[int, list[Trade]]]:
    """Each second from the first trade to the last, with its trades."""
    found = {second: list(group) for second, group in itertools.groupby(trades, lambda each: each.micros // 1_000_000)}
    for second in range(min(found), max(found) + 1):
        yield second, found.get(second, [])


def exchange_match(trade: Trade, kind: str = "match") -> Message:
    return {
        "type": kind,
        "trade_id": trade.number,
        "side": "sell",
        "size": trade.size,
        "price": trade.price,
        "product_id": trade.product,
        "sequence": 5 * trade.number,
        "time": trade.moment,
    }


def exchange_messages(trades: Sequence[Trade]) -> list[Message]:
    """A match for each trade, and a heartbeat a second for each product."""
    messages: list[Message] = []
    last: dict[str, int] = {}
    for second, group in by_second(sorted(trades, key=lambda trade: trade.micros)):
        for trade in group:
            messages.append(exchange_match(trade))
            last[trade.product] = trade.number
        for product, number in last.items():
            messages.append(
                {
                    "type": "heartbeat",
                    "sequence": 5 * number + 1,
                    "last_trade_id": number,
                    "product_id": product,
                    "time": moment((second + 1) * 1_000_000),
                }
            )
    return messages


def advanced_trades(trades: Sequence[Trade], kind: str, micros: int) -> Message:
    """Trades of one product, oldest first, as a message: newest first."""
    rows = [
        {
            "product_id": trade.product,
            "trade_id": str(trade.number),
            "price": trade.price,
            "size": trade.size,
            "time": trade.moment,
            "side": "BUY",
        }
        for trade in reversed(trades)
    ]
    return {"channel": "market_trades", "timestamp": moment(micros), "events": [{"type": kind, "trades": rows}]}


def advanced_messages(trades: Sequence[Trade]) -> list[Message]:
    """For each second and product a message of its trades, and a heartbeat; ``sequence_num`` is the server's."""
    messages: list[Message] = []
    ordered = sorted(trades, key=lambda trade: trade.micros)
    for counter, (second, group) in enumerate(by_second(ordered)):
        end = (second + 1) * 1_000_000
        for product in sorted({trade.product for trade in group}):
            of_product = [trade for trade in group if trade.product == product]
            messages.append(advanced_trades(of_product, "update", end))
        beat = {"current_time": f"{moment(end)[:-1]} +0000 UTC m=+{counter}.5", "heartbeat_counter": counter}
        messages.append({"channel": "heartbeats", "timestamp": moment(end), "events": [beat]})
    return messages


def write_candles(path: Path, count: int, *, step: int = 3600, start: int = START) -> Path:
    """Hours of a random walk, newest first, behind a banner."""
    rng = np.random.default_rng(3)
    closes = 100 + rng.standard_normal(count).cumsum()
    lines = ["A banner,https://example.com", "unix,symbol,open,high,low,close,Volume BTC,Volume USD"]
    for place in reversed(range(count)):
        first, last = closes[max(place - 1, 0)], closes[place]
        high, low = max(first, last) + 0.5, min(first, last) - 0.5
        lines.append(f"{start + step * place},BTCUSD,{first:.4f},{high:.4f},{low:.4f},{last:.4f},{1 + place % 7},9")
    path.write_text("\r\n".join(lines) + "\r\n")
    return path
