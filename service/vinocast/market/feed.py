"""All market streams of a service: raw messages in, bars and counts out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vinocast.errors import (
    InvalidRequestError,
    InvalidShapeError,
    InvalidValueError,
    OverloadedError,
    RequestError,
    UnknownStreamError,
    describe,
    quote,
)
from vinocast.market.connection import Connection
from vinocast.market.counts import Counts
from vinocast.market.messages import CANDLE_SECONDS, Kind, read, sequence_num_of
from vinocast.market.product import Product

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from vinocast.market.bars import Bar, MarketStream
    from vinocast.market.lengths import BarLength

# As --max-steps-ahead has it.
STEPS_AHEAD = 100_000


class ClosedBar(NamedTuple):
    """A bar that has closed, and the name of its stream."""

    stream: str
    bar: Bar


class Fed(NamedTuple):
    """What came of messages or candles.

    Attributes:
        closed: the bars that closed, as they are after the last message, stream by stream, oldest first; of each stream
            at most those that are kept.
        counts: what was counted on the way, by name, without zeros; ``missed_trades`` is below 0 where more of them
            came after all than went missing.
    """

    closed: list[ClosedBar]
    counts: dict[str, int]


class Market:
    """The market streams of a service.

    Args:
        bars: the lengths of bars that are kept of each product.
        products: the products that are kept; None for all that appear.
        limit: the most streams.
        steps_ahead: bars of the shortest length that a time may lie ahead of the newest of its product.
    """

    def __init__(
        self,
        bars: Sequence[BarLength],
        products: Collection[str] | None,
        limit: int,
        steps_ahead: int = STEPS_AHEAD,
    ) -> None:
        self._lengths, self._limit, self._steps_ahead = tuple(bars), limit, steps_ahead
        self._allowed = None if products is None else frozenset(products)
        self._connection, self._products = Connection(), dict[str, Product]()
        self.counts = Counts()

    @property
    def streams(self) -> list[MarketStream]:
        """All streams, in the order in which their products appeared."""
        return [stream for product in self._products.values() for stream in product.streams]

    def find(self, name: str) -> MarketStream:
        """Return a stream by its name, such as ``BTC-USD@5m``; raises UnknownStreamError."""
        product = self._products.get(name.partition("@")[0])
        for stream in product.streams if product else ():
            if stream.name == name:
                return stream
        raise UnknownStreamError(
            f"stream: expected a market stream that has been fed, such as BTC-USD@5m, got {quote(name)}", "stream"
        )

    def connect(self) -> None:
        """A new connection has begun: sequence numbers start anew, trade ids do not."""
        self._connection.begin()

    def feed(self, messages: Sequence[object]) -> Fed:
        """Take raw messages of either feed, as JSON has them, in their order; what is refused is counted."""
        before = self.counts.values()
        touched: list[Product] = []
        for message in messages:
            try:
                touched += self._take(message)
            except RequestError:
                self.counts.refused += 1
        return self._fed(touched, before)

    def feed_one(self, message: object) -> Fed:
        """Take one raw message.

        Raises:
            InvalidRequestError, InvalidValueError: it is no object, or of a known type with a broken field; the path is
                relative to the message.
            TimestampAheadError, StaleTimestampError: its time is out of reach.
            OverloadedError: there are too many streams for those of another product.
        """
        before = self.counts.values()
        try:
            touched = self._take(message)
        except RequestError:
            self.counts.refused += 1
            raise
        return self._fed(touched, before)

    def history(self, name: str, candles: NDArray[np.float64]) -> Fed:
        """Take candles [n, 6] of a stream, in any order: time, low, high, open, close, volume.

        Raises:
            UnknownStreamError: such bars, or such a product, are not kept.
            InvalidShapeError: another number of columns.
            InvalidValueError: a number that a candle cannot have.
            OverloadedError: there are too many streams for those of another product.
        """
        product_name, _, length = name.partition("@")
        seconds = next((each.seconds for each in self._lengths if each.text == length), None)
        if seconds is None or (self._allowed is not None and product_name not in self._allowed):
            raise UnknownStreamError(
                f"stream: expected one that is kept (--bars, --products), got {quote(name)}", "stream"
            )
        if candles.ndim != 2 or candles.shape[1] != 6:
            raise InvalidShapeError("candles: expected rows of time, low, high, open, close, volume", "candles")
        if not np.isfinite(candles).all():
            raise InvalidValueError("candles: expected finite numbers", "candles")
        before = self.counts.values()
        if not len(candles):
            return Fed([], {})
        product = self._product(product_name)
        ordered = candles[np.argsort(candles[:, 0], kind="stable")]
        rows = [(int(t), o, h, low, c, v) for t, low, h, o, c, v in ordered.tolist()]
        product.take_candles(rows, seconds)
        return self._fed([product], before)

    def _product(self, name: str) -> Product:
        """Return a product by name, new on first use; raises OverloadedError."""
        product = self._products.get(name)
        if product is None:
            if (len(self._products) + 1) * len(self._lengths) > self._limit:
                raise OverloadedError(
                    f"there are {len(self._products) * len(self._lengths)} market streams already, and {name} would "
                    f"have {len(self._lengths)} more than there may be (--max-streams, {self._limit})"
                )
            product = Product(name, self._lengths, self._connection, self.counts, self._steps_ahead)
            self._products[name] = product
        return product

    def _take(self, message: object) -> Sequence[Product]:
        """Take a message; return the products whose bars it may have closed. Raises as :meth:`feed_one` does."""
        counts = self.counts
        counts.seen += 1
        if type(message) is not dict:
            raise InvalidRequestError(f"expected a raw message, which is a JSON object, got {describe(message)}")
        if "channel" in message:
            number = sequence_num_of(message)
            if number is not None:
                counts.missed_messages += self._connection.number(number)
        kind, content = read(message)
        if kind is Kind.TRADES or kind is Kind.CANDLES:
            return self._take_all(kind, content)
        if kind is Kind.HEARTBEAT:
            product = self._products.get(content.product)
            if product is not None:
                product.heartbeat(content.last_trade_id, content.seconds)
                return (product,)
        elif kind is Kind.IGNORED:
            counts.ignored += 1
        elif kind is Kind.ERROR:
            counts.errors += 1
        return ()

    def _take_all(self, kind: Kind, content: dict[str, list[Any]]) -> Sequence[Product]:
        allowed = self._allowed
        products = []
        for name, items in content.items():
            if allowed is None or name in allowed:
                product = self._product(name)
                if len(items) > 1:
                    items.sort()
                if kind is Kind.TRADES:
                    product.check(min(items, key=_time)[3], max(items, key=_time)[3], newest=False)
                else:
                    product.check(items[0][0], items[-1][0], newest=False)
                products.append(product)
        if not products:
            self.counts.ignored += 1
        for product in products:
            if kind is Kind.TRADES:
                product.take_trades(content[product.name])
            else:
                product.take_candles(content[product.name], CANDLE_SECONDS)
        return products

    def _fed(self, products: Sequence[Product], before: tuple[int, ...]) -> Fed:
        closed = []
        for product in products:
            for stream in product.streams:
                if stream.closed_since >= 0:
                    closed += [ClosedBar(stream.name, bar) for bar in stream.closed_bars(stream.closed_since)]
                    stream.closed_since = -1
        return Fed(closed, self.counts.told(before))


def _time(trade: tuple[int, float, float, int]) -> int:
    return trade[3]
