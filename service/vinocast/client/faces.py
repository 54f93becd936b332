"""What a client can be asked, whatever the way to its service: the same methods, sync and async."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vinocast.client import calls
from vinocast.client.market import AsyncMarketService, MarketService
from vinocast.client.retries import retrying, retrying_async
from vinocast.data.frames import Columns, is_frame, window_of
from vinocast.errors import ServiceUnreachableError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Unpack

    from numpy.typing import ArrayLike

    from vinocast.client.calls import Call
    from vinocast.data.given import Frame, OneOfMany, ServiceTerms
    from vinocast.requests import Forgotten, Observed, Recognized
    from vinocast.results import Forecast

T = TypeVar("T")


class _Owned:
    """What belongs to the process that made it: a forked one shares its connections, and would read other's answers."""

    def __init__(self) -> None:
        self._owner = os.getpid()

    def _is_owned(self) -> bool:
        return os.getpid() == self._owner

    def _check_owner(self) -> None:
        if not self._is_owned():
            raise ServiceUnreachableError("the client belongs to another process: make one here", unsent=True)


class Service(_Owned, MarketService):
    """A service that answers from wherever it runs. For any thread, and for several at once.

    Every method raises the exception that the service's error stands for, a subclass of ``RequestError``, and
    ``ServiceUnreachableError`` where there is no answer.
    """

    def __init__(self, retries: int, *, reconnects: bool = True) -> None:
        """Set how often to ask again, and whether that may help where the service has not been reached."""
        super().__init__()
        self._retries = retries
        self._reconnects = reconnects

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End what leads to the service; safe to repeat."""

    @abstractmethod
    def _ask(self, call: Call[T], after: float) -> T:
        """Ask once, so many seconds after the request was first made."""

    def forecast(
        self,
        window: ArrayLike | Frame | None = None,
        targets: Sequence[str | int] | None = None,
        *,
        stream: str | None = None,
        **terms: Unpack[ServiceTerms],
    ) -> Forecast:
        """Forecast a window, or that of a stream.

        Args:
            window: [rows, channels], oldest row first, or a frame of pandas or polars.
            targets: names or indices of the channels that are wanted; None for all.
            stream: the name of a stream, instead of a window.
            terms: see ``ServiceTerms``.
        """
        asked: Mapping[str, Any] = terms
        if is_frame(window):
            window, asked = window_of(window, terms, lambda: calls.channels_of(self.ping(), terms.get("model")))
        return self._do(calls.forecast(window, targets, stream, asked))

    def forecast_series(
        self,
        inputs: Mapping[Any, ArrayLike] | Sequence[OneOfMany] | Frame,
        *,
        id_column: str = Columns.item_id,
        time_column: str = Columns.timestamp,
        target_column: str = Columns.target,
        **terms: Unpack[ServiceTerms],
    ) -> list[Forecast]:
        """Forecast single series, each of its own length, of which the latest points count.

        Args:
            inputs: arrays of numbers, oldest first; or such by their ``item_id``; or mappings of ``item_id``,
                ``target`` and ``start``; or a long frame of pandas or polars.
            id_column: of a frame: what tells the series apart; without it the frame is one.
            time_column: of a frame: dates or times; without it the order of rows counts.
            target_column: of a frame: the numbers.
            terms: see ``ServiceTerms``; ``channels`` and ``start`` are for windows.

        Returns:
            One forecast for each series, [steps], in their order.
        """
        return self._do(calls.series(inputs, Columns(id_column, time_column, target_column), terms))

    def observe(
        self, stream: str, values: ArrayLike, *, timestamp_ms: int | None = None, model: str | None = None
    ) -> Observed:
        """Append a row, [channels], or several, [rows, channels], oldest first, to a stream.

        ``timestamp_ms`` is that of the last row. It is asked again only where it is certain that the service has not
        taken it.
        """
        return self._do(calls.observe(stream, values, timestamp_ms, model))

    def forget(self, stream: str) -> Forgotten:
        """Drop a stream."""
        return self._do(calls.forget(stream))

    def glyphs(
        self,
        rasters: Sequence[bytes] | None = None,
        *,
        grids: ArrayLike | None = None,
        topk: int | None = None,
        normalize: bool | None = None,
        model: str | None = None,
    ) -> Recognized:
        """Recognize glyphs: PNGs of 128x128 pixels, or grids [n, 16, 16] of primitive ids."""
        return self._do(calls.glyphs(rasters, grids, topk, normalize, model))

    def ping(self) -> Mapping[str, Any]:
        """Return version, models and readiness."""
        return self._do(calls.ping())

    def _do(self, call: Call[T]) -> T:
        """Ask, and again where it may help."""
        self._check_owner()
        if not self._retries:
            return self._ask(call, 0.0)
        begun = time.monotonic()
        return retrying(call, self._retries, reconnects=self._reconnects)(
            lambda: self._ask(call, time.monotonic() - begun)
        )


class AsyncService(_Owned, AsyncMarketService):
    """The same for ``asyncio``: each method is a coroutine. For one event loop, and for many tasks at once."""

    def __init__(self, retries: int) -> None:
        super().__init__()
        self._retries = retries

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None:
        """End what leads to the service; safe to repeat."""

    @abstractmethod
    async def _ask(self, call: Call[T], after: float) -> T:
        """Ask once, so many seconds after the request was first made."""

    async def forecast(
        self,
        window: ArrayLike | Frame | None = None,
        targets: Sequence[str | int] | None = None,
        *,
        stream: str | None = None,
        **terms: Unpack[ServiceTerms],
    ) -> Forecast:
        """Forecast a window, or that of a stream; see :meth:`Service.forecast`."""
        asked: Mapping[str, Any] = terms
        if is_frame(window):
            known: Sequence[str] = ()
            if terms.get("channels") is None:
                known = calls.channels_of(await self.ping(), terms.get("model"))
            window, asked = window_of(window, terms, lambda: known)
        return await self._do(calls.forecast(window, targets, stream, asked))

    async def forecast_series(
        self,
        inputs: Mapping[Any, ArrayLike] | Sequence[OneOfMany] | Frame,
        *,
        id_column: str = Columns.item_id,
        time_column: str = Columns.timestamp,
        target_column: str = Columns.target,
        **terms: Unpack[ServiceTerms],
    ) -> list[Forecast]:
        """Forecast single series; see :meth:`Service.forecast_series`."""
        return await self._do(calls.series(inputs, Columns(id_column, time_column, target_column), terms))

    async def observe(
        self, stream: str, values: ArrayLike, *, timestamp_ms: int | None = None, model: str | None = None
    ) -> Observed:
        """Append rows to a stream; see :meth:`Service.observe`."""
        return await self._do(calls.observe(stream, values, timestamp_ms, model))

    async def forget(self, stream: str) -> Forgotten:
        """Drop a stream."""
        return await self._do(calls.forget(stream))

    async def glyphs(
        self,
        rasters: Sequence[bytes] | None = None,
        *,
        grids: ArrayLike | None = None,
        topk: int | None = None,
        normalize: bool | None = None,
        model: str | None = None,
    ) -> Recognized:
        """Recognize glyphs; see :meth:`Service.glyphs`."""
        return await self._do(calls.glyphs(rasters, grids, topk, normalize, model))

    async def ping(self) -> Mapping[str, Any]:
        """Return version, models and readiness."""
        return await self._do(calls.ping())

    async def _do(self, call: Call[T]) -> T:
        """Ask, and again where it may help."""
        self._check_owner()
        if not self._retries:
            return await self._ask(call, 0.0)
        begun = time.monotonic()

        async def ask() -> T:
            return await self._ask(call, time.monotonic() - begun)

        return await retrying_async(call, self._retries)(ask)
