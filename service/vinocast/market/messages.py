"""What a raw message of either feed of Coinbase holds: trades, candles, a heartbeat, an error, or nothing of use."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from vinocast.errors import InvalidRequestError, InvalidValueError, RequestError, describe
from vinocast.market.fields import MOST_SECONDS, below, id_of, items_of, name_of, price_of, seconds_of, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

# The buckets of the channel `candles`.
CANDLE_SECONDS = 300

# Plain tuples, since there may be 50,000 in a second.
# id, price, size, whole seconds since 1970
Trade: TypeAlias = tuple[int, float, float, int]
# start in seconds, open, high, low, close, volume
Candle: TypeAlias = tuple[int, float, float, float, float, float]


class Kind(Enum):
    """What a message is to the bars."""

    TRADES = auto()
    CANDLES = auto()
    # Of the exchange: all trades up to an id and a time have been told.
    HEARTBEAT = auto()
    # Known, and no bar comes of it: subscriptions, heartbeats of a connection.
    CONTROL = auto()
    # Tickers, and whatever is not known.
    IGNORED = auto()
    ERROR = auto()


class Heartbeat(NamedTuple):
    """A heartbeat of the Exchange feed.

    Attributes:
        product: of which it tells.
        last_trade_id: 0 where the exchange does not know.
        seconds: its time, in whole seconds since 1970.
    """

    product: str
    last_trade_id: int
    seconds: int


# Trades and candles by product, in the order of the message.
Content: TypeAlias = "dict[str, list[Trade]] | dict[str, list[Candle]] | Heartbeat | None"
Read: TypeAlias = "tuple[Kind, Any]"


def read(message: dict[str, Any]) -> Read:
    """Return what a message is and what it holds: trades or candles by product, or a heartbeat.

    Raises:
        InvalidRequestError, InvalidValueError: it is of a known type and one of its fields is broken; the path is
            relative to the message.
    """
    channel = message.get("channel")
    if channel is None:
        kind = message.get("type")
        reader = EXCHANGE.get(kind) if type(kind) is str else None
        if reader is None and type(kind) is not str:
            field = "type" if "type" in message else None
            raise InvalidRequestError(
                f"{'type: ' if field else ''}expected a message of Coinbase, with the text type or channel, got type "
                f"{describe(kind)}",
                field,
            )
    elif type(channel) is str:
        reader = ADVANCED.get(channel)
    else:
        raise InvalidRequestError(f"channel: expected a text, got {describe(channel)}", "channel")
    return (Kind.IGNORED, None) if reader is None else reader(message)


def _trade(item: dict[str, Any]) -> Trade:
    return (
        id_of(item.get("trade_id"), "trade_id"),
        price_of(item.get("price"), "price"),
        size_of(item.get("size"), "size"),
        seconds_of(item.get("time"), "time"),
    )


def _match(message: dict[str, Any]) -> Read:
    return Kind.TRADES, {name_of(message.get("product_id"), "product_id"): [_trade(message)]}


def _ticker(message: dict[str, Any]) -> Read:
    name_of(message.get("product_id"), "product_id")
    price_of(message.get("price"), "price")
    return Kind.IGNORED, None


def _heartbeat(message: dict[str, Any]) -> Read:
    return Kind.HEARTBEAT, Heartbeat(
        name_of(message.get("product_id"), "product_id"),
        id_of(message.get("last_trade_id"), "last_trade_id"),
        seconds_of(message.get("time"), "time"),
    )


def _control(_: dict[str, Any]) -> Read:
    return Kind.CONTROL, None


def _error(_: dict[str, Any]) -> Read:
    return Kind.ERROR, None


def _market_trades(message: dict[str, Any]) -> Read:
    products: dict[str, list[Trade]] = {}
    for number, event in enumerate(items_of(message, "events", "")):
        for index, item in enumerate(items_of(event, "trades", f"events[{number}].")):
            try:
                name, trade = name_of(item.get("product_id"), "product_id"), _trade(item)
            except RequestError as error:
                raise below(error, f"events[{number}].trades[{index}].") from None
            if name in products:
                products[name].append(trade)
            else:
                products[name] = [trade]
    return Kind.TRADES, products


def _candles(message: dict[str, Any]) -> Read:
    products: dict[str, dict[int, Candle]] = {}
    for number, event in enumerate(items_of(message, "events", "")):
        for index, item in enumerate(items_of(event, "candles", f"events[{number}].")):
            try:
                name, candle = name_of(item.get("product_id"), "product_id"), _candle(item)
            except RequestError as error:
                raise below(error, f"events[{number}].candles[{index}].") from None
            products.setdefault(name, {})[candle[0]] = candle
    return Kind.CANDLES, {name: sorted(candles.values()) for name, candles in products.items()}


def _candle(item: dict[str, Any]) -> Candle:
    start = id_of(item.get("start"), "start")
    if start > MOST_SECONDS:
        raise InvalidValueError(f"start: expected seconds from 1970 to 2261, got {start}", "start")
    opened, high = price_of(item.get("open"), "open"), price_of(item.get("high"), "high")
    low, close = price_of(item.get("low"), "low"), price_of(item.get("close"), "close")
    if not low <= opened <= high or not low <= close <= high:
        raise InvalidValueError(
            f"low: expected low <= open, close <= high, got {low}, {opened}, {close}, {high}", "low"
        )
    return start, opened, high, low, close, size_of(item.get("volume"), "volume")


def _tickers(message: dict[str, Any]) -> Read:
    for number, event in enumerate(items_of(message, "events", "")):
        for index, item in enumerate(items_of(event, "tickers", f"events[{number}].")):
            try:
                _ticker(item)
            except RequestError as error:
                raise below(error, f"events[{number}].tickers[{index}].") from None
    return Kind.IGNORED, None


def _heartbeats(message: dict[str, Any]) -> Read:
    for number, event in enumerate(items_of(message, "events", "")):
        id_of(event.get("heartbeat_counter"), f"events[{number}].heartbeat_counter")
    return Kind.CONTROL, None


EXCHANGE: dict[str, Callable[[dict[str, Any]], Read]] = {
    "match": _match,
    "last_match": _match,
    "ticker": _ticker,
    "heartbeat": _heartbeat,
    "subscriptions": _control,
    "error": _error,
}
ADVANCED: dict[str, Callable[[dict[str, Any]], Read]] = {
    "market_trades": _market_trades,
    "candles": _candles,
    "ticker": _tickers,
    "ticker_batch": _tickers,
    "heartbeats": _heartbeats,
    "subscriptions": _control,
}
