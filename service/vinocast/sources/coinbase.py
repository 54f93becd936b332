"""The two feeds of Coinbase: where they are, how they are subscribed to, and what in a message is of its connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FeedName = Literal["exchange", "advanced-trade"]

CANDLES_URL = "https://api.exchange.coinbase.com"
# The channel of candles has buckets of five minutes alone.
CANDLE_SECONDS = 300


@dataclass(frozen=True)
class Feed:
    """A feed.

    Attributes:
        name: what an option calls it.
        url: its address.
        channels: what makes bars, and heartbeats.
        together: whether one message subscribes to all channels.
    """

    name: FeedName
    url: str
    channels: tuple[str, ...]
    together: bool

    def subscriptions(self, products: Sequence[str], seconds: int) -> list[str]:
        """Return the messages that subscribe to some products for bars of so many seconds."""
        subscribe: dict[str, Any] = {"type": "subscribe", "product_ids": list(products)}
        if self.together:
            return [_text(subscribe | {"channels": self.channels})]
        channels = [*self.channels, *(["candles"] if seconds == CANDLE_SECONDS else [])]
        return [_text(subscribe | {"channel": channel}) for channel in channels]


FEEDS = {
    feed.name: feed
    for feed in (
        Feed("advanced-trade", "wss://advanced-trade-ws.coinbase.com", ("heartbeats", "market_trades"), together=False),
        Feed("exchange", "wss://ws-feed.exchange.coinbase.com", ("heartbeat", "matches"), together=True),
    )
}


def is_heartbeat(message: Mapping[str, Any]) -> bool:
    """Whether a message of either feed says that the connection lives."""
    return message.get("type") == "heartbeat" or message.get("channel") == "heartbeats"


def products_of(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the products that a message has trades or candles of, by the names it gives them.

    They need not be those subscribed to: BTC-USDC brings BTC-USD.
    """
    events = message.get("events")
    for event in events if isinstance(events, list) else [message]:
        if isinstance(event, dict):
            rows = event.get("trades") or event.get("candles") or [event]
            # The rows of an event are of one product.
            if (
                isinstance(rows, list)
                and isinstance(rows[0], dict)
                and isinstance(name := rows[0].get("product_id"), str)
            ):
                yield name


def _text(message: Mapping[str, Any]) -> str:
    # websockets sends a str as text, which the feeds want, and bytes as a binary message.
    return orjson.dumps(message).decode()
