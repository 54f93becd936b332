"""Make up a market: a capture of raw messages as Coinbase's Advanced Trade feed sends them, and candles from before it.

    python3 examples/made_market.py market

writes ``market/capture.jsonl``, ``market/BTC-USD.csv`` and ``market/ETH-USD.csv``. Nothing in them was ever traded.
What goes wrong in life is in them: the newest trades come first, a message is lost, the connection breaks and its
successor repeats trades, the exchange reports an error, and one line is no JSON.
"""

from __future__ import annotations

import argparse
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PRODUCTS = {"BTC-USD": 65_000.0, "ETH-USD": 1_900.0}
BAR = 300
CANDLES = 620
# The feed begins in the middle of a bar, and goes on for six more.
BEGIN = 1_772_600_400 + 130
SECONDS = 6 * BAR + 40
LOST, BROKEN = 700, 1_100  # at which second


class Product:
    """A price that walks at random, and the trades that made it so."""

    def __init__(self, name: str, price: float) -> None:
        self.name = name
        self.price = price
        self.trades: list[dict[str, str]] = []
        self._ticks = 0  # of the newest trade, in microseconds
        self._random = random.Random(name)  # noqa: S311 - a walk, and no secret
        self._id = self._random.randrange(10**6, 10**7)

    def candles(self) -> list[str]:
        """Return rows of the candles when the feed begins, the newest first, which is that of the open bar."""
        rows = []
        open_bar = BEGIN - BEGIN % BAR
        for start in range(open_bar - CANDLES * BAR, open_bar + 1, BAR):
            walk = [self._move() for _ in range(40)]
            volume = self._random.lognormvariate(2, 0.6)
            rows.append(f"{start},{walk[0]},{max(walk)},{min(walk)},{walk[-1]},{volume:.4f}")
        return rows[::-1]

    def trade(self, second: int) -> None:
        """Trade once, some time in that second of the feed."""
        # Those of one second one after the other.
        ticks = max(self._ticks, (BEGIN + second) * 10**6) + self._random.randrange(1, 200_000)
        self._ticks = min(ticks, (BEGIN + second + 1) * 10**6 - 1)
        time = datetime.fromtimestamp(self._ticks // 10**6, UTC)
        self._id += 1
        self.trades.append(
            {
                "product_id": self.name,
                "trade_id": str(self._id),
                "price": str(self._move()),
                "size": f"{self._random.lognormvariate(-3, 1):.6f}",
                "time": f"{time:%Y-%m-%dT%H:%M:%S}.{self._ticks % 10**6:06}Z",
                "side": self._random.choice(("BUY", "SELL")),
            }
        )

    def _move(self) -> float:
        self.price = round(self.price * (1 + self._random.gauss(0, 1e-4)), 2)
        return self.price


def messages(products: list[Product]) -> list[str]:
    """Return the lines of the capture."""
    chance = random.Random("messages")  # noqa: S311 - as above
    lines: list[str] = []
    sequence = 0

    def say(channel: str, second: int, events: list[dict[str, Any]]) -> None:
        nonlocal sequence
        now = datetime.fromtimestamp(BEGIN + second, UTC)
        message = {"channel": channel, "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.950000000Z", "sequence_num": sequence}
        sequence += 1
        if second != LOST:
            lines.append(json.dumps(message | {"events": events}, separators=(",", ":")))

    def snapshot(second: int, count: int) -> None:
        trades = [trade for product in products for trade in product.trades[: -count - 1 : -1]]
        say("market_trades", second, [{"type": "snapshot", "trades": trades}])

    for second in range(-60, 0):
        for product in products:
            product.trade(second)
    snapshot(0, 20)
    say("subscriptions", 0, [{"subscriptions": {"market_trades": [product.name for product in products]}}])
    lines.append(json.dumps({"type": "error", "message": "failure to subscribe"}))
    for second in range(1, SECONDS):
        traded = [product for product in products if chance.random() < 0.2 or second == LOST]
        for product in traded:
            for _ in range(chance.randrange(1, 4)):
                product.trade(second)
        if second == BROKEN:
            lines.append('{"channel":"market_trades","timestamp":"20')
            sequence = 0
            snapshot(second, 30)
        elif traded:
            newest = [trade for product in traded for trade in product.trades[:-4:-1] if _second(trade) == second]
            say("market_trades", second, [{"type": "update", "trades": newest}])
        if second % 5 == 0:
            say("heartbeats", second, [{"current_time": "now", "heartbeat_counter": second}])
    return lines


def _second(trade: dict[str, str]) -> int:
    return int(datetime.fromisoformat(trade["time"]).timestamp()) - BEGIN


def write(folder: Path) -> None:
    """Write the capture and the candles into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    products = [Product(name, price) for name, price in PRODUCTS.items()]
    for product in products:
        rows = ["unix,open,high,low,close,volume", *product.candles()]
        (folder / f"{product.name}.csv").write_text("\n".join(rows) + "\n")
    (folder / "capture.jsonl").write_text("\n".join(messages(products)) + "\n")


def main() -> None:
    """Write into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
