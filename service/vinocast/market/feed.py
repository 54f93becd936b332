"""All market streams of a service: raw messages in, bars and counts out."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from vinocast.errors import (
    InvalidRequestError,
    OverloadedError,
    RequestError,
    TimestampAheadError,
    UnknownStreamError,
    describe,
    quote,
)
from vinocast.market.changes import change_all
from vinocast.market.closing import MOST_CLOSING, check_closing, closed_enough
from vinocast.market.connection import Connection
from vinocast.market.counts import Counts
from vinocast.market.fields import NAME, id_of
from vinocast.market.history import candles_of
from vinocast.market.messages import CANDLE_SECONDS, Kind, read
from vinocast.market.product import Product
from vinocast.market.ring import KEPT
from vinocast.markets import ClosedBar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vinocast.market.bars import MarketStream
    from vinocast.market.lengths import BarLength
    from vinocast.market.messages import Candle, Trade

log = logging.getLogger(__name__)
# As --max-steps-ahead has it.
STEPS_AHEAD = 100_000
# Stands among messages where a new connection has begun.
CONNECT = {"connect": True}
# Of refused messages that are told one by one.
MOST_REFUSED = 16
# Of a reply, 110 bytes each.
MOST_CLOSED = 100_000


class Fed(NamedTuple):
    """What came of messages or candles.

    Attributes:
        closed: the bars that closed, as they are after the last message, stream by stream, oldest first; of each stream
            at most those that are kept, and of all the first MOST_CLOSED.
        counts: what was counted on the way, by name, without zeros; ``missed_trades`` is below 0 where more of them
            came after all than went missing.
        refused: the first messages that were refused, by their index, and why.
        starts: of all the bars that closed and are kept, in seconds since 1970, by the names of their streams.
    """

    closed: list[ClosedBar]
    counts: dict[str, int]
    refused: Sequence[tuple[int, RequestError]]
    starts: Mapping[str, range]

    @property
    def more(self) -> int:
        """How many bars have closed beside those in ``closed``."""
        return sum(map(len, self.starts.values())) - len(self.closed)


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
        """All streams that have been fed, in the order in which their products appeared."""
        return [stream for product in self._products.values() for stream in product.streams if stream.begun]

    def find(self, name: str) -> MarketStream:
        """Return a stream by its name, such as ``BTC-USD@5m``; raises UnknownStreamError."""
        product = self._products.get(name.partition("@")[0])
        for stream in product.streams if product else ():
            if stream.name == name and stream.begun:
                return stream
        raise UnknownStreamError(
            f"stream: expected a market stream that has been fed, such as BTC-USD@5m, got {quote(name)}", "stream"
        )

    def forget(self, name: str) -> MarketStream:
        """Drop a stream and return what it was; with the last of a product go its ids. Raises UnknownStreamError."""
        stream = self.find(name)
        product = self._products[stream.product]
        product.forget(stream)
        if not any(each.begun for each in product.streams):
            del self._products[stream.product]
        return stream

    def connect(self) -> None:
        """A new connection has begun: sequence numbers start anew, trade ids do not."""
        self._connection.begin()

    def feed(self, messages: Sequence[object]) -> Fed:
        """Take raw messages of either feed, as JSON has them, in their order; what is refused is counted."""
        before = self.counts.values()
        touched: list[Product] = []
        refused: list[tuple[int, RequestError]] = []
        connection, closed = self._connection, self._connection.closed
        for index, message in enumerate(messages):
            try:
                # That a connection has begun closes nothing, and what comes behind it is numbered anew.
                if connection.closed - closed >= MOST_CLOSING and message != CONNECT:
                    self.counts.seen += 1
                    raise closed_enough(connection.closed - closed)
                touched += self._take(message)
            except RequestError as error:
                self.counts.refused += 1
                if len(refused) < MOST_REFUSED:
                    refused.append((index, error.without_frames()))
        return self._fed(touched, before, refused)

    def feed_one(self, message: object) -> Fed:
        """Take one raw message.

        Raises:
            InvalidRequestError, InvalidValueError: it is no object, or of a known type with a broken field; the path is
                relative to the message. The latter as well where the id of its last trade is out of reach.
            TimestampAheadError, StaleTimestampError: its time is out of reach.
            PayloadTooLargeError: it may close too many bars.
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
        """Take candles [n, 6] of a stream, in any order: time, low, high, open, close, volume; shorter ones are folded.

        Of several with one time the last is taken. They make a bar, or fill it where it is missing or incomplete. A
        candle without volume says that nothing was traded: its bar is ``filled``.

        Raises:
            UnknownStreamError: such bars, or such a product, are not kept.
            InvalidShapeError: another number of columns.
            InvalidValueError: a number that a candle cannot have; the path is that of its row.
            TimestampAheadError: the newest is out of reach.
            OverloadedError: there are too many streams for those of another product.
            PayloadTooLargeError: they may close too many bars.
        """
        product_name, _, length = name.partition("@")
        if (
            all(each.text != length for each in self._lengths)
            or not NAME.fullmatch(product_name)
            or not self._allows(product_name)
        ):
            raise UnknownStreamError(
                f"stream: expected one that is kept (--bars, --products), such as BTC-USD@{self._lengths[0].text}, got "
                f"{quote(name)}",
                "stream",
            )
        rows = candles_of(candles)
        before = self.counts.values()
        if not rows:
            return Fed([], {}, (), {})
        product = self._products.get(product_name) or self._new(product_name, len(self._products))
        stream = next(each for each in product.streams if each.name == name)
        check_closing(product.closing([row[0] for row in rows], [stream]))
        try:
            change_all([product], lambda each: each.check_history(rows[-1][0]))
        except TimestampAheadError as error:
            path = f"candles[{int(candles[:, 0].argmax())}][0]"
            raise TimestampAheadError(f"{path}: {error.message}", path) from None
        self._products[product_name] = product
        product.take_candles(stream, rows)
        return self._fed([product], before)

    def _allows(self, product: str) -> bool:
        return self._allowed is None or product in self._allowed

    def _new(self, name: str, count: int) -> Product:
        """Return a new product, which is not kept yet, beside so many others; raises OverloadedError."""
        lengths = self._lengths
        if (count + 1) * len(lengths) > self._limit:
            raise OverloadedError(
                f"there are {count * len(lengths)} market streams already; {name} would have {len(lengths)} more, and "
                f"{self._limit} is the most there may be (--max-streams)"
            )
        return Product(name, lengths, self._connection, self.counts, self._steps_ahead)

    def _take(self, message: object) -> Sequence[Product]:
        """Take a message; return the products whose bars it may have closed. Raises as :meth:`feed_one` does."""
        counts = self.counts
        if message == CONNECT:
            self.connect()
            return ()
        counts.seen += 1
        if type(message) is not dict:
            raise InvalidRequestError(f"expected a raw message, which is a JSON object, got {describe(message)}")
        if "sequence_num" in message:
            missed = self._connection.number(id_of(message["sequence_num"], "sequence_num"))
            if missed:
                counts.add("missed_messages", missed)
        kind, content = read(message)
        if kind is Kind.TRADES:
            return self._take_trades(content)
        if kind is Kind.CANDLES:
            return self._take_candles(content)
        if kind is Kind.HEARTBEAT:
            product = self._products.get(content.product)
            if product is not None:
                product.take_heartbeat(content)
                return (product,)
            if not self._allows(content.product):
                counts.ignored += 1
        elif kind is Kind.IGNORED:
            counts.ignored += 1
        elif kind is Kind.ERROR:
            counts.errors += 1
        return ()

    def _take_trades(self, content: dict[str, list[Trade]]) -> Sequence[Product]:
        products = self._products_of(content)
        for product in products:
            trades = content[product.name]
            if len(trades) > 1:
                trades.sort()
        self._check_size(products, content, 3)
        change_all(products, lambda each: each.check_trades(content[each.name]))
        for product in products:
            self._products[product.name] = product
            product.take_trades(content[product.name])
        return products

    def _take_candles(self, content: dict[str, list[Candle]]) -> Sequence[Product]:
        if all(length.seconds % CANDLE_SECONDS for length in self._lengths):
            content = {}
        products = self._products_of(content)
        self._check_size(products, content, 0)
        change_all(products, lambda each: each.check_candles(content[each.name]))
        for product in products:
            self._products[product.name] = product
            product.take_fed_candles(content[product.name])
        return products

    def _check_size(self, products: Sequence[Product], content: Mapping[str, Sequence[Any]], at: int) -> None:
        """Refuse the trades or candles of a message, whose times stand at a place of each, if they close too much."""
        if sum(map(len, content.values())) * len(self._lengths) * KEPT > MOST_CLOSING:
            moments = {name: [one[at] for one in each] for name, each in content.items()}
            check_closing(sum(product.closing(moments[product.name], product.streams) for product in products))

    def _products_of(self, content: dict[str, Any]) -> list[Product]:
        """Return a message's products that are kept, of which new ones are not yet; one of none counts as ignored.

        Raises OverloadedError.
        """
        products: list[Product] = []
        known, new = self._products, 0
        for name in content:
            product = known.get(name)
            if product is None:
                if not self._allows(name):
                    continue
                product = self._new(name, len(known) + new)
                new += 1
            products.append(product)
        if not products:
            self.counts.ignored += 1
        return products

    def _fed(
        self, products: Sequence[Product], before: tuple[int, ...], refused: Sequence[tuple[int, RequestError]] = ()
    ) -> Fed:
        closed: list[ClosedBar] = []
        starts: dict[str, range] = {}
        for product in products:
            for stream in product.streams:
                if stream.closed_since >= 0:
                    name, since = stream.name, stream.closed_since
                    starts[name] = stream.closed_starts(since)
                    room = MOST_CLOSED - len(closed)
                    closed += [ClosedBar(name, bar) for bar in stream.closed_bars(since, room)]
                    stream.closed_since = -1
        return Fed(closed, self.counts.told(before), refused, starts)

    def dump(self) -> Iterator[dict[str, Any]]:
        """Yield the state as records of plain values and arrays: one of all products, then one of each.

        Each is as it is when it is asked for; others may change between them.
        """
        last, gaps = self._connection.last, self._connection.gaps
        yield {"counts": list(self.counts.values()), "last": last, "gaps": gaps}
        for product in list(self._products.values()):
            yield product.dump()

    def load(self, records: Iterable[dict[str, Any]]) -> int:
        """Become what :meth:`dump` gave, all or nothing, in the streams that are kept still; return how many there are.

        Raises KeyError, TypeError or ValueError for what it cannot have given.
        """
        connection, counts, products = Connection(), Counts(), dict[str, Product]()
        rest, dumped = iter(records), 0
        for first in islice(rest, 1):
            counts, connection.last, connection.gaps = Counts.load(first["counts"]), first["last"], first["gaps"]
        for record in rest:
            name = record["product"]
            dumped += sum(stream["newest"] >= 0 for stream in record["streams"])
            if self._allows(name) and (len(products) + 1) * len(self._lengths) <= self._limit:
                products[name] = Product(name, self._lengths, connection, counts, self._steps_ahead)
                products[name].load(record)
        self._connection, self.counts, self._products = connection, counts, products
        kept = sum(stream.newest >= 0 for stream in self.streams)
        if kept < dumped:
            log.warning(
                "%d market streams of before are dropped: other bars or products are kept (--bars, --products), or "
                "fewer streams (--max-streams)",
                dumped - kept,
            )
        return kept
