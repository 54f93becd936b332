"""Market streams in JSON: requests and replies. Raw messages pass through untouched, to who knows their feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, InstanceOf, StrictBool, StrictInt, WithJsonSchema

from vinocast import markets, requests
from vinocast.errors import InvalidRequestError, InvalidShapeError, InvalidValueError, describe
from vinocast.markets import MOST_CANDLES, MOST_MESSAGES
from vinocast.protocols.fields import MOST, Levels, StreamName, Targets, Text
from vinocast.protocols.replies import Described, Reply
from vinocast.protocols.schemas import Envelope, sorted_levels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# Closed bars that a stream keeps, and the open one.
MOST_BARS = 901
TERMS = ("model", "targets", "prediction_length", "quantile_levels", "missing", "encoding_format")
PLAIN, OPS_OF_FEED = frozenset(("op", "request_id", "message", "on_bar")), (None, "feed")
CANDLE = ("time", "low", "high", "open", "close", "volume")
NAME = "a non-empty string of at most 256 characters, PRODUCT@BAR, such as BTC-USD@5m"
RawMessage = Annotated[InstanceOf[object], WithJsonSchema({"type": "object"})]
RawMessages = Annotated[InstanceOf[list[Any]], WithJsonSchema({"type": "array", "items": {"type": "object"}})]
Candles = Annotated[
    InstanceOf[list[Any]],
    WithJsonSchema(
        {"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 6, "maxItems": 6}}
    ),
]


class OnBar(Envelope):
    """What may close bars, and what to forecast then."""

    on_bar: StrictBool | None = Field(
        default=None, description="true or false: whether a forecast is pushed for each bar that closes"
    )
    model: Text | None = Field(default=None, description="a string, the name of a model; beside on_bar")
    targets: Targets | None = Field(
        default=None, description="a non-empty array of channel names or indices; beside on_bar"
    )
    prediction_length: Annotated[StrictInt, Field(ge=1)] | None = Field(
        default=None, description="an integer >= 1: how many steps are wanted; beside on_bar"
    )
    quantile_levels: Levels | None = Field(
        default=None, description="an array of 1 to 99 numbers from 0 to 1, each once; beside on_bar"
    )
    missing: Literal["refuse", "interpolate"] | None = Field(
        default=None, description='"refuse" or "interpolate": what becomes of bars that are missing; beside on_bar'
    )

    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description='"float" or "base64": how numbers are pushed; beside on_bar'
    )

    def wanted(self) -> requests.Forecast | None:
        """Return what to forecast when a bar closes; raises InvalidRequestError for terms of nothing."""
        if not self.on_bar:
            for name in TERMS:
                if getattr(self, name) is not None:
                    raise InvalidRequestError(f'{name}: expected beside "on_bar": true alone', name)
            return None
        return requests.Forecast(
            model=self.model,
            targets=self.targets,
            prediction_length=self.prediction_length,
            quantile_levels=sorted_levels(self.quantile_levels),
            missing=self.missing or "refuse",
            in_base64=self.encoding_format == "base64",
        )


class FeedRequest(OnBar):
    """Raw messages of an exchange, one or several."""

    op: Literal["feed"] | None = Field(default=None, description='"feed", or nothing on the route of its own')
    message: RawMessage | None = Field(default=None, description="an object: a raw message as the exchange sent it")
    messages: RawMessages | None = Field(
        default=None, description=f"an array of at most {MOST_MESSAGES} raw messages, in the order in which they came"
    )
    connected: StrictBool | None = Field(
        default=None, description="true or false: whether these are the first of a new connection"
    )

    @classmethod
    def plain(cls, fields: Mapping[str, Any]) -> markets.Feed | None:
        """Return what one message asks that comes with a ``request_id`` and ``on_bar`` at most."""
        message, request_id, on_bar = fields.get("message"), fields.get("request_id"), fields.get("on_bar")
        if (
            type(message) is dict
            and fields.keys() <= PLAIN
            and fields.get("op") in OPS_OF_FEED
            and (on_bar is None or type(on_bar) is bool)
            and (type(request_id) is int or request_id is None or (type(request_id) is str and len(request_id) <= MOST))
        ):
            return markets.Feed((message,), single=True, on_bar=requests.Forecast() if on_bar else None)
        return None

    def ask(self, text: bytes, received: float) -> markets.Feed:  # noqa: ARG002 - the base's signature
        """Return what is asked; raises InvalidRequestError for none or both forms."""
        if (self.message is None) == (self.messages is None):
            raise InvalidRequestError("expected exactly one of message and messages", "message")
        wanted = self.wanted()
        if self.messages is None:
            return markets.Feed((self.message,), single=True, connected=bool(self.connected), on_bar=wanted)
        return markets.Feed(self.messages, connected=bool(self.connected), on_bar=wanted)


class BarsRequest(Envelope):
    """The last bars of a market stream."""

    op: Literal["bars"] | None = Field(default=None, description='"bars", or nothing on the route of its own')
    stream: StreamName = Field(description=NAME)
    last: Annotated[StrictInt, Field(ge=1, le=MOST_BARS)] = Field(
        default=MOST_BARS, description=f"an integer from 1 to {MOST_BARS}: how many bars are wanted; default: all kept"
    )

    def ask(self, text: bytes, received: float) -> markets.Bars:  # noqa: ARG002 - the base's signature
        """Return what is asked."""
        return markets.Bars(self.stream, self.last)


class HistoryRequest(OnBar):
    """Candles of a market stream, in any order."""

    op: Literal["history"] | None = Field(default=None, description='"history", or nothing on the route of its own')
    stream: StreamName = Field(description=NAME)
    candles: Annotated[Candles, Field(min_length=1)] = Field(
        description=f"a non-empty array of at most {MOST_CANDLES} candles, each [{', '.join(CANDLE)}], with time in "
        "unix seconds"
    )

    def ask(self, text: bytes, received: float) -> markets.History:  # noqa: ARG002 - the base's signature
        """Return what is asked."""
        return markets.History(self.stream, JsonCandles(self.candles), self.wanted())


class JsonCandles:
    """Candles as parsed JSON."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def candles(self) -> NDArray[np.float64]:
        """Return [n, 6]; raises InvalidShapeError for another form, InvalidValueError for what is no finite number."""
        for index, row in enumerate(self._values):
            if type(row) is not list or len(row) != len(CANDLE):
                path = f"candles[{index}]"
                got = f"{len(row)} of them" if type(row) is list else describe(row)
                raise InvalidShapeError(f"{path}: expected [{', '.join(CANDLE)}], got {got}", path)
            for place, value in enumerate(row):
                if type(value) not in (int, float):
                    path = f"candles[{index}][{place}]"
                    raise InvalidValueError(f"{path}: expected a number, got {describe(value)}", path)
        return np.array(self._values, np.float64).reshape(-1, len(CANDLE))


BarReply = tuple[
    Annotated[int, Field(description="start, unix seconds")],
    Annotated[float | None, Field(description="open; null where the bar is missing, and so the others")],
    Annotated[float | None, Field(description="high")],
    Annotated[float | None, Field(description="low")],
    Annotated[float | None, Field(description="close")],
    Annotated[float | None, Field(description="volume")],
    markets.State,
]
Counts = dict[
    Literal[
        "seen",
        "used",
        "duplicates",
        "late",
        "missed_trades",
        "missed_messages",
        "ignored",
        "errors",
        "refused",
        "re_sent_closed_bucket",
    ],
    int,
]


class ClosedBarReply(Described):
    """A bar that has closed."""

    stream: str
    bar: BarReply


class FeedReply(Reply):
    """What came of messages or candles."""

    closed: list[ClosedBarReply] = Field(description="the bars that have closed, in their order")
    counts: Counts = Field(description="what became of what was sent; what is 0 is absent")
    warnings: list[str] = Field(default=[], description="what was refused, and why; absent when nothing was")


class BarsReply(Reply):
    """The last bars of a stream."""

    stream: str
    bars: list[BarReply] = Field(description="oldest first, the open one last")
    counts: Counts = Field(description="since the stream began; what is 0 is absent")


def described(result: markets.Fed | markets.HeldBars) -> Mapping[str, Any]:
    """Return the fields of a reply that a result makes."""
    if isinstance(result, markets.Fed) and not result.closed and not result.warnings:
        return {"closed": (), "counts": result.counts}
    if isinstance(result, markets.HeldBars):
        return {"stream": result.stream, "bars": [list(bar) for bar in result.bars], "counts": result.counts}
    closed = [{"stream": stream, "bar": list(bar)} for stream, bar in result.closed]
    reply: dict[str, Any] = {"closed": closed, "counts": result.counts}
    if result.warnings:
        reply["warnings"] = result.warnings
    return reply
