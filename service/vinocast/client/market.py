"""Market streams as clients ask of them: raw messages in, bars and pushed forecasts out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypedDict, TypeVar

import numpy as np
import orjson

from vinocast.client.calls import IN_BASE64, Call, forecast_of
from vinocast.data.given import as_fields
from vinocast.errors import InvalidShapeError, RequestError, from_body
from vinocast.markets import Bar, ClosedBar, Fed, HeldBars

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Unpack

    from numpy.typing import ArrayLike

    from vinocast.results import Forecast

    # As the exchange sends it, parsed or not.
    RawMessage: TypeAlias = str | bytes | Mapping[str, Any]

T = TypeVar("T")


class OnBarTerms(TypedDict, total=False):
    """What is pushed whenever a bar closes; ``docs/protocol.md`` says more of each.

    Attributes:
        on_bar: whether a forecast is; the others go with it.
        model: the name of a model.
        targets: names or indices of the channels that are wanted.
        prediction_length: how many steps are wanted.
        quantile_levels: each in 0..1.
        missing: what becomes of bars that are missing.
    """

    on_bar: bool
    model: str | None
    targets: Sequence[str | int] | None
    prediction_length: int | None
    quantile_levels: Sequence[float] | None
    missing: Literal["refuse", "interpolate"] | None


@dataclass(frozen=True)
class Event:
    """What a service has pushed: a bar of a stream has closed.

    Attributes:
        stream: its name.
        forecast: that was made of its bars; None where there is none.
        error: why there is none.
        newest_timestamp_ms: the start of the bar; None where the error is about several.
        lost: how many events before this one did not reach this client, which has taken too few too slowly.
        id: of the event over HTTP, behind which to go on.
    """

    stream: str
    forecast: Forecast | None
    error: RequestError | None
    newest_timestamp_ms: int | None
    lost: int = 0
    id: str | None = None


def read_event(fields: Mapping[str, Any], lost: int = 0, event_id: str | None = None) -> Event:
    """Return the event that a pushed line holds; raises KeyError, TypeError or ValueError for what is none."""
    if isinstance(body := fields.get("error"), dict):
        return Event(fields["stream"], None, from_body(body), fields["newest_timestamp_ms"], lost, event_id)
    forecast = forecast_of(fields)
    return Event(fields["stream"], forecast, None, forecast.newest_timestamp_ms, lost, event_id)


def feed(messages: RawMessage | Sequence[RawMessage], terms: Mapping[str, Any], *, connected: bool) -> Call[Fed]:
    """Hand in raw messages, one or several."""
    fields = _terms(terms)
    if connected:
        fields["connected"] = True
    if isinstance(messages, str | bytes | Mapping):
        fields["message"] = _parsed(messages)
    else:
        fields["messages"] = [_parsed(each) for each in messages]
    return Call("feed", _fed, fields, repeatable=False)


def bars(stream: str, last: int | None) -> Call[HeldBars]:
    """Ask for the last bars of a stream."""
    return Call("bars", _held, as_fields({"stream": stream, "last": last}))


def history(stream: str, candles: ArrayLike, terms: Mapping[str, Any]) -> Call[Fed]:
    """Hand in candles, [n, 6]; raises InvalidShapeError."""
    values = np.ascontiguousarray(candles, np.float64)
    if values.ndim != 2 or values.shape[1] != 6:
        raise InvalidShapeError(f"candles: expected [n, 6], got {list(values.shape)}", "candles")
    return Call("history", _fed, {**_terms(terms), "stream": stream, "candles": values}, repeatable=False)


def _terms(terms: Mapping[str, Any]) -> dict[str, Any]:
    return as_fields({**terms, **IN_BASE64}) if terms.get("on_bar") else as_fields(terms)


def _parsed(message: RawMessage) -> Any:
    """Return a message as JSON holds it; what is no JSON is a text, which the service refuses and counts."""
    if isinstance(message, Mapping):
        return message
    try:
        return orjson.loads(message)
    except orjson.JSONDecodeError:
        return message if isinstance(message, str) else message.decode(errors="replace")


def _fed(reply: Mapping[str, Any]) -> Fed:
    closed = [ClosedBar(each["stream"], Bar(*each["bar"])) for each in reply["closed"]]
    return Fed(closed, reply["counts"], reply.get("warnings", ()))


def _held(reply: Mapping[str, Any]) -> HeldBars:
    return HeldBars(reply["stream"], [Bar(*each) for each in reply["bars"]], reply["counts"])


class Events(Iterator[Event], ABC):
    """What a service pushes, from the moment on at which this was made. To be iterated over, and closed.

    It ends when the service ends in good order, and raises ``ServiceUnreachableError`` where it does not.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Listen no more; safe to repeat."""


class AsyncEvents(AsyncIterator[Event], ABC):
    """The same for ``asyncio``: it listens once its ``async with`` is entered."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None:
        """Listen no more; safe to repeat."""


class MarketService(ABC):
    """What a service can be asked of market streams."""

    @abstractmethod
    def _do(self, call: Call[T]) -> T: ...

    @abstractmethod
    def events(self) -> Events:
        """Listen to the forecasts that are pushed when bars close, from now on."""

    def feed(
        self,
        messages: RawMessage | Sequence[RawMessage],
        *,
        connected: bool = False,
        **terms: Unpack[OnBarTerms],
    ) -> Fed:
        """Hand in raw messages of Coinbase, of either feed: one, or several in the order in which they came.

        A single one that the service refuses raises its error; among several, ``counts`` and ``warnings`` tell of it.
        They are handed in again only where it is certain that the service has not taken them.

        Args:
            messages: each as text or parsed.
            connected: whether these are the first of a new connection.
            terms: see ``OnBarTerms``.

        Returns:
            The bars that have closed, and what became of the messages.
        """
        return self._do(feed(messages, terms, connected=connected))

    def bars(self, stream: str, last: int | None = None) -> HeldBars:
        """Return the last bars of a market stream such as ``BTC-USD@5m``, oldest first; by default all."""
        return self._do(bars(stream, last))

    def history(self, stream: str, candles: ArrayLike, **terms: Unpack[OnBarTerms]) -> Fed:
        """Hand in candles [n, 6] of a market stream: time (unix seconds), low, high, open, close, volume, in any order.

        They fill what is missing or incomplete; where trades have made a bar, that one stays.
        """
        return self._do(history(stream, candles, terms))


class AsyncMarketService(ABC):
    """The same for ``asyncio``."""

    @abstractmethod
    async def _do(self, call: Call[T]) -> T: ...

    @abstractmethod
    def events(self) -> AsyncEvents:
        """Listen to the forecasts that are pushed when bars close."""

    async def feed(
        self,
        messages: RawMessage | Sequence[RawMessage],
        *,
        connected: bool = False,
        **terms: Unpack[OnBarTerms],
    ) -> Fed:
        """Hand in raw messages; see :meth:`MarketService.feed`."""
        return await self._do(feed(messages, terms, connected=connected))

    async def bars(self, stream: str, last: int | None = None) -> HeldBars:
        """Return the last bars of a market stream; see :meth:`MarketService.bars`."""
        return await self._do(bars(stream, last))

    async def history(self, stream: str, candles: ArrayLike, **terms: Unpack[OnBarTerms]) -> Fed:
        """Hand in candles; see :meth:`MarketService.history`."""
        return await self._do(history(stream, candles, terms))
