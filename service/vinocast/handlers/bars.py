"""The closed bars of a market stream as the window of a forecast, and the model that forecasts them."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import InvalidValueError, NotFoundError, UnknownStreamError
from vinocast.forecast.followed import Followed
from vinocast.forecast.kind import FORECASTER
from vinocast.forecast.stream import Expected
from vinocast.forecast.streams import NO_STREAMS
from vinocast.forecast.targets import name_columns
from vinocast.market import channels
from vinocast.market.fields import NAME as PRODUCT
from vinocast.market.lengths import LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast import requests
    from vinocast.dataplane import DataPlane
    from vinocast.forecast.kind import ServedForecaster
    from vinocast.forecast.market import Market as MarketSection
    from vinocast.market.bars import MarketStream
    from vinocast.market.feed import Market

COLUMNS = name_columns(channels.CHANNELS)
OF_NUMBERS = 4  # close, high, low and volume
NO_INDICATORS = (
    "stream: its forecast takes TA-Lib, which the service cannot import; 'vinocast doctor' there says how to install it"
)


class ClosedBars:
    """The closed bars of a market stream, as they are now: what is asked of any stream that a forecast is of.

    Args:
        plane: that keeps the stream.
        stream: the stream, which takes nothing in while these are asked.
        first: the place of the first of them, its start divided by the length of a bar.
        behind: the place behind the newest.
    """

    rows_since_newest = 0

    def __init__(self, plane: DataPlane, stream: MarketStream, first: int, behind: int) -> None:
        self._plane = plane
        self._stream = stream
        self._first = first
        self._behind = behind

    @property
    def _count(self) -> int:
        return self._behind - self._first

    @property
    def name(self) -> str:
        """Of the stream."""
        return self._stream.name

    def up_to(self, start: int) -> ClosedBars:
        """Return those of them that start then, in seconds, or before."""
        behind = min(max(start // self._stream.seconds + 1, self._first), self._behind)
        return ClosedBars(self._plane, self._stream, self._first, behind)

    @property
    def newest_ms(self) -> int | None:
        """The start of the newest."""
        return (self._behind - 1) * self._stream.seconds * 1000 if self._count else None

    def times(self, steps: int) -> Sequence[int] | None:
        """Return the starts of so many bars behind them, in milliseconds."""
        step, newest = self._stream.seconds * 1000, self.newest_ms
        return None if newest is None else list(range(newest + step, newest + (steps + 1) * step, step))

    def warnings(self, model: ServedForecaster) -> list[str]:
        """Return what makes a forecast of them by a model less than it could be."""
        market = model.manifest.market
        if market is None or market.seconds == self._stream.seconds:
            return []
        return [f"stream: expected bars of {market.bar}, which model {model.label} was trained on, got {self.name}"]

    def window(self, context: int, _columns: int, *, fewer: bool = False, gaps: bool = False) -> NDArray[np.float32]:
        """Return the newest rows [context, 7] of the channels; with ``fewer`` those that there are.

        Raises:
            NotEnoughHistoryError: there are too few bars.
            InvalidValueError: a bar is missing and ``gaps`` are not taken, or a value is beyond float32.
        """
        closes, indicators = self._closes(), self._stream.indicators
        later = len(closes) - self._count
        values = indicators.values(closes, context + later)[: -later or None]
        rows = len(values)
        if rows < context or isnan(values[0, 0]):
            values = indicators.values(closes)[: self._count]
            rows = channels.known_rows(closes[: self._count], values, context, fewer=fewer)
        window = self._seven(self._behind - rows, values[len(values) - rows :])
        if np.isfinite(window).all():
            return window
        if np.isinf(window).any():
            raise InvalidValueError("stream: its values spread too far for a forecast in float32", "stream")
        missing = np.isnan(window).any(axis=1)
        if missing.any() and not gaps:
            start = (self._behind - len(window) + int(missing.argmax())) * self._stream.seconds
            raise InvalidValueError(
                f"stream: expected every bar of the last {len(window)}, the one that starts at {start} is missing, the "
                f'first of {int(missing.sum())}; "missing": "interpolate" fills them, op "history" mends them',
                "stream",
            )
        return window

    def rows(self, place: int) -> NDArray[np.float32]:
        """Return the channels [rows, 7] of the bars from a place on, as far as they are kept."""
        first = max(self._first, min(self._behind, place))
        closes = self._closes()
        values = self._stream.indicators.newest(closes, self._first + len(closes) - first)
        return self._seven(first, values[: self._behind - first])

    def _closes(self) -> NDArray[np.float64]:
        """Return those [n] of all bars that are kept, as indicators run over later ones too."""
        closes: NDArray[np.float64] = self._stream.columns(1, self._first, self._first + self._stream.rows)[0]
        return closes

    def _seven(self, first: int, indicators: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the channels [n, 7] of bars from a place on, given the indicators [n, 3] of each."""
        return channels.seven(self._stream.columns(OF_NUMBERS, first, first + len(indicators)), indicators)

    def tell(self, followed: Followed, start: int) -> None:
        """Have the bars from a start on, in seconds, be outcomes of the forecasts before them."""
        place = max(start // self._stream.seconds, self._first)
        for index, row in enumerate(followed.since(place)):
            followed.observe(place + index, row)

    def expect(self, model: str, horizon: int, market: MarketSection | None) -> Expected | None:
        """Return where a forecast of them waits for its outcomes; None where none are kept."""
        most, stream, plane = self._plane.stream_residuals, self._stream, self._plane
        if not most or not self._count:
            return None
        followed = plane.followed.get(stream.name)
        columns = len(channels.CHANNELS if market is None else market.outputs)
        if (
            followed is None
            or followed.stream is not stream  # one of that name, before it was dropped
            or (followed.model == model and not followed.outcomes.fits(horizon, columns))
        ):

            def since(position: int) -> NDArray[np.float32]:
                rows = closed_bars(plane, stream).rows(position)
                return rows if market is None else market.outcomes(rows)

            followed = Followed(model, horizon, most, columns, stream, since)
            plane.followed[stream.name] = followed
        return Expected(followed, followed.outcomes, self._behind) if followed.model == model else None


def is_market(name: str) -> bool:
    """Return whether a name is one of a market stream: a product, @ and the length of a bar."""
    product, at, length = name.rpartition("@")
    return bool(at and PRODUCT.fullmatch(product) and LENGTH.fullmatch(length))


def find_market(plane: DataPlane) -> Market:
    """Return the market streams; raises NotFoundError where none are kept."""
    if plane.market is None:
        raise NotFoundError(NO_STREAMS, "stream")
    return plane.market


def find_bars(plane: DataPlane, name: str) -> ClosedBars:
    """Return the closed bars of a stream; raises UnknownStreamError, and NotFoundError where none has indicators."""
    if plane.market is None:
        raise UnknownStreamError(NO_STREAMS, "stream")
    return closed_bars(plane, plane.market.find(name))


def closed_bars(plane: DataPlane, stream: MarketStream) -> ClosedBars:
    """Return the closed bars of a stream as they are now; raises NotFoundError where no stream has indicators."""
    if channels.find_fault() is not None:
        raise NotFoundError(NO_INDICATORS, "stream")
    first = stream.since // stream.seconds
    return ClosedBars(plane, stream, first, first + stream.rows)


def market_model(plane: DataPlane, request: requests.Forecast, bars: ClosedBars) -> ServedForecaster:
    """Return the model that forecasts a market stream.

    That is the one that is named; else, unless one was named for everything, a market model, best of bars of that
    length; else that of any columns.
    """
    if request.model is None and not plane.default_named:
        of_markets = [each for each in plane.repository.answering_of(FORECASTER) if each.manifest.market is not None]
        if of_markets:
            return min(of_markets, key=lambda model: bool(bars.warnings(model)))
    return plane.repository.find(FORECASTER, request.model, general=True)
