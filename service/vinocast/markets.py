"""What can be asked of market streams and what they answer, typed; the rest of what can be asked is in ``requests``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from vinocast.requests import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vinocast.errors import RequestError
    from vinocast.requests import Forecast

# Of a request. They are gone through in one piece, in which nothing else is answered: some 0.1 s of trades
# (docs/bars.md says more).
MOST_MESSAGES = 10_000
MOST_CANDLES = 10_000
State: TypeAlias = Literal["open", "complete", "filled", "incomplete", "missing"]


class Bar(NamedTuple):
    """A bar of a market stream.

    Attributes:
        start: unix seconds.
        open, high, low, close, volume: None where the bar is missing.
        state: how far it can be trusted.
    """

    start: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    state: State


class ClosedBar(NamedTuple):
    """A bar that has closed, and the name of its stream."""

    stream: str
    bar: Bar


class CandleSource(Protocol):
    """Candles in the form in which they came."""

    def __len__(self) -> int:
        """Return how many there are."""

    def candles(self) -> NDArray[np.float64]:
        """Return [n, 6]: time, low, high, open, close, volume; raises InvalidShapeError or InvalidValueError."""


@dataclass(slots=True)
class Feed:
    """Raw messages of an exchange.

    Attributes:
        messages: in their order, each as parsed JSON.
        single: whether there is one that is refused by itself, and not among others.
        connected: whether a new connection has begun with them.
        on_bar: what to forecast whenever a bar closes, but for the stream; None for nothing.
    """

    messages: Sequence[object]
    single: bool = False
    connected: bool = False
    on_bar: Forecast | None = None


@dataclass(slots=True)
class Bars:
    """The last bars of a stream, the open one among them."""

    stream: str
    last: int


@dataclass(slots=True)
class History:
    """Candles of a stream; ``on_bar`` as in :class:`Feed`."""

    stream: str
    source: CandleSource
    on_bar: Forecast | None = None


@dataclass(slots=True)
class Fed(Result):
    """What came of messages or candles.

    Attributes:
        closed: the bars that have closed, in their order.
        counts: what was seen, and what became of it, by name; what is 0 is absent.
        warnings: what was refused, and why.
    """

    closed: Sequence[ClosedBar] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(slots=True)
class HeldBars(Result):
    """Bars of a stream, oldest first, and what was counted since it began."""

    stream: str
    bars: Sequence[Bar]
    counts: Mapping[str, int]


class Pushed(NamedTuple):
    """A forecast that nobody has asked for by a request of its own: a bar of the stream has closed.

    Attributes:
        stream: its name.
        newest_ms: the start of the bar in milliseconds; None where it is about several.
        outcome: the forecast, or why there is none.
        in_base64: whether its numbers are to be base64.
    """

    stream: str
    newest_ms: int | None
    outcome: Result | Mapping[str, Any] | RequestError
    in_base64: bool = False
