"""Messages of both feeds, as JSON has them, and markets that take them in one way or another."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from support import SHARED_DATA
from vinocast.market.bars import MarketStream
from vinocast.market.feed import Fed, Market
from vinocast.market.lengths import BarLength
from vinocast.markets import Bar

Message = dict[str, Any]
CONNECT: Message = {"connect": True}
START = 1_772_600_400  # 2026-03-04T05:00:00Z
FAULTS_PATH = SHARED_DATA / "coinbase" / "feed_faults.json"


def faults() -> dict[str, Any]:
    """Return the sequences of the shared data by name; none where it is not there."""
    return json.loads(FAULTS_PATH.read_text()) if FAULTS_PATH.exists() else {}


def market_of(*lengths: str, limit: int = 1000, products: Sequence[str] | None = None, **extra: Any) -> Market:
    return Market([BarLength.read(length) for length in lengths], products, limit, **extra)


def time_of(seconds: float) -> str:
    """Return a time as the exchange writes it, to microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def match(number: int, seconds: float, price: object = "10", size: object = "1", product: str = "AAA-USD") -> Message:
    """Return a trade of the Exchange feed, so many seconds after START."""
    return {
        "type": "match", "trade_id": number, "maker_order_id": "m", "taker_order_id": "t", "side": "sell", "size": size,
        "price": price, "product_id": product, "sequence": 3 * number, "time": time_of(START + seconds),
    }  # fmt: skip


def advanced(channel: str, events: list[Any], sequence_num: int = 0) -> Message:
    """Return a message of the Advanced Trade feed."""
    return {"channel": channel, "timestamp": time_of(START), "sequence_num": sequence_num, "events": events}


def market_trades(matches: Sequence[Message], sequence_num: int = 0) -> Message:
    """Return the same trades as a message of Advanced Trade, newest first."""
    trades = [
        {
            "product_id": each["product_id"], "trade_id": str(each["trade_id"]), "price": each["price"],
            "size": each["size"], "time": each["time"], "side": "BUY",
        }
        for each in reversed(matches)
    ]  # fmt: skip
    return advanced("market_trades", [{"type": "update", "trades": trades}], sequence_num)


def candle(seconds: int, numbers: str, product: str = "AAA-USD") -> Message:
    """Return a candle, so many seconds after START, of which the numbers are open, high, low, close and volume."""
    names = ("open", "high", "low", "close", "volume")
    return {"start": str(START + seconds), "product_id": product, **dict(zip(names, numbers.split(), strict=True))}


def candles(*items: Message, sequence_num: int = 0) -> Message:
    return advanced("candles", [{"type": "update", "candles": list(items)}], sequence_num)


def heartbeat(last_trade_id: int, seconds: float, product: str = "AAA-USD") -> Message:
    return {
        "type": "heartbeat", "sequence": 1, "last_trade_id": last_trade_id, "product_id": product,
        "time": time_of(START + seconds),
    }  # fmt: skip


def take(market: Market, messages: Iterable[Message]) -> Market:
    """Feed messages one by one, connections among them; return the market."""
    for message in messages:
        if message == CONNECT:
            market.connect()
        else:
            market.feed_one(message)
    return market


def fed_at_once(market: Market, messages: Sequence[Message]) -> Iterator[Fed]:
    """Feed as many messages at once as stand between two connections."""
    waiting: list[Message] = []
    for message in messages:
        if message == CONNECT:
            yield market.feed(waiting)
            market.connect()
            waiting = []
        else:
            waiting.append(message)
    yield market.feed(waiting)


def restarted(market: Market, empty: Market) -> Market:
    """Return a market that has loaded what another dumped."""
    empty.load([copy.deepcopy(record) for record in market.dump()])
    return empty


def told(stream: MarketStream) -> list[list[Any]]:
    """Return all bars with their starts in seconds after START."""
    return [[bar.start - START, *bar[1:]] for bar in stream.bars(901)]


def states(stream: MarketStream) -> list[str]:
    return [bar.state for bar in stream.bars(901)]


def same(left: Sequence[Bar], right: Sequence[Bar]) -> bool:
    return [tuple(bar) for bar in left] == [tuple(bar) for bar in right]


def count_calls(work: Callable[[], object]) -> int:
    """Return how many functions are called by some work."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def count_lines(work: Callable[[], object]) -> int:
    """Return how many lines of Python run in some work, those of a generator each time that it is asked."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
