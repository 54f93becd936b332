"""What a forecast is in Python, the same from a model in this process, over HTTP and from a child process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from vinocast.extras import missing_extra
from vinocast.pictures import MOST_PANELS, Panel, pairs, to_figure

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    import polars as pl
    from numpy.typing import ArrayLike, DTypeLike, NDArray


@dataclass(frozen=True, eq=False, repr=False)
class Forecast(NDArrayOperatorsMixin):
    """A forecast, in the units of its input.

    To numpy it is its ``predictions``: it can be indexed, iterated over, reckoned with and handed to a function of
    numpy, each of which gives a plain array, and it has the attributes and methods of one (``shape``, ``mean()``, …).
    What asks for a ``numpy.ndarray`` by name is given ``predictions``.

    Attributes:
        predictions: float32 [steps, targets]; of several windows [n, steps, targets], of one of many series [steps].
        channels: the names of the targets, in the order of the last axis; none for one of many series.
        model: the name of the model that made it.
        quantiles: by level, ascending, each of the shape of ``predictions``; empty where none were asked for.
        timestamps: of the steps: milliseconds, or texts in the form of the ``start`` that was given; else None.
        item_id: of one of many series, as it was given.
        filled: how many values were missing and were interpolated.
        padded: how many rows were put before a series that was shorter than the context.
        rollout: whether steps beyond the horizon were forecast from forecasts.
        inference_time_ms: the ``infer()`` calls alone, of all that was computed for this request.
        queue_time_ms: how long the request waited in the service; 0 in process.
        newest_timestamp_ms: of a stream alone: of its newest row, None where no row came with one.
        rows_since_newest: of a stream alone: the rows that have come since without a timestamp.
        warnings: of a market stream alone: what makes the forecast less than it could be.
        quantiles_from: of a stream whose outcomes are kept: where its quantiles are from, "stream", "model" or "both".
    """

    predictions: NDArray[np.float32]
    channels: tuple[str, ...]
    model: str
    quantiles: Mapping[float, NDArray[np.float32]] = field(default_factory=dict)
    timestamps: Sequence[int] | Sequence[str] | None = None
    item_id: str | int | None = None
    filled: int = 0
    padded: int = 0
    rollout: bool = False
    inference_time_ms: float = 0.0
    queue_time_ms: float = 0.0
    newest_timestamp_ms: int | None = None
    rows_since_newest: int | None = None
    quantiles_from: str | None = None
    warnings: Sequence[str] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of ``predictions``."""
        return self.predictions.shape

    @property
    def ndim(self) -> int:
        """Of ``predictions``."""
        return self.predictions.ndim

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Of ``predictions``."""
        return self.predictions.dtype

    def __len__(self) -> int:
        return len(self.predictions)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.predictions)

    def __getitem__(self, key: Any) -> Any:
        return self.predictions[key]

    def __setitem__(self, key: Any, value: ArrayLike) -> None:
        self.predictions[key] = value

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.predictions, dtype=dtype, copy=copy)

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Have a function of numpy reckon with the predictions."""
        if "out" in options:
            options["out"] = tuple(map(_plain, options["out"]))
        return getattr(function, method)(*map(_plain, inputs), **options)

    if not TYPE_CHECKING:  # to a checker of types, an attribute that a forecast does not have is a mistake

        def __getattr__(self, name: str) -> Any:
            """Return what an array has under that name."""
            if name.startswith("_") or name in type(self).__dataclass_fields__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(self.predictions, name)

    def __repr__(self) -> str:
        parts = [f"model={self.model!r}", f"predictions=float32 {list(self.shape)}"]
        if self.channels:
            parts.append(f"channels={self.channels!r}")
        if self.item_id is not None:
            parts.append(f"item_id={self.item_id!r}")
        if self.quantiles:
            parts.append(f"quantiles={list(self.quantiles)}")
        if self.timestamps:
            parts.append(f"timestamps={self.timestamps[0]!r} to {self.timestamps[-1]!r}")
        parts += [f"{name}={value}" for name in ("filled", "padded", "rollout") if (value := getattr(self, name))]
        return f"Forecast({', '.join(parts)})"

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame of pandas: ``timestamp`` where it is known, a column a channel, and one a channel and level.

        Raises:
            ModuleNotFoundError: pandas is not installed.
            ValueError: a forecast of several windows.
        """
        import pandas as pd  # noqa: PLC0415 - no dependency

        return pd.DataFrame(self._columns())

    def to_polars(self) -> pl.DataFrame:
        """Return a frame of polars; see :meth:`to_pandas`."""
        import polars as pl  # noqa: PLC0415 - no dependency

        return pl.DataFrame(self._columns())

    def plot(self, history: ArrayLike | None = None) -> go.Figure:
        """Return a figure of plotly: the forecast of each channel with bands between its outer quantiles.

        Args:
            history: [rows, targets] or, of one target, [rows]: what is drawn before the forecast.

        Raises:
            SetupError: plotly is not installed; the message says how to install it.
            ValueError: a forecast of several windows, or a history of another number of columns.
        """
        points = self._by_channel(self.predictions)
        past = None if history is None else np.asarray(history, np.float64)
        if past is not None:
            past = past.reshape(len(past), -1)
            if past.shape[1] != points.shape[1]:
                raise ValueError(f"history: expected {points.shape[1]} columns, got {past.shape[1]}")
        names = self._names()
        if len(names) > MOST_PANELS:
            raise ValueError(f"expected at most {MOST_PANELS} targets to plot, got {len(names)}")
        steps = _moments(self.timestamps) if self.timestamps else list(range(1, len(points) + 1))
        before = [] if past is None else _before(steps, len(past))
        levels = list(self.quantiles)
        bounds = [self._by_channel(self.quantiles[level]) for level in levels]
        panels = [
            Panel(
                name,
                before,
                np.empty(0) if past is None else past[:, channel],
                steps,
                points[:, channel],
                [
                    (
                        f"{levels[low]:g} to {levels[high]:g}",
                        np.stack((bounds[low][:, channel], bounds[high][:, channel])),
                    )
                    for low, high in pairs(levels)
                ],
            )
            for channel, name in enumerate(names)
        ]
        try:
            return to_figure(self.model, panels, together=True)
        except ModuleNotFoundError as error:
            raise missing_extra("plot", error) from error

    def _names(self) -> list[str]:
        return list(self.channels) or ["forecast" if self.item_id is None else str(self.item_id)]

    def _by_channel(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return [steps, targets]; raises ValueError for several windows."""
        if values.ndim > 2:
            raise ValueError(f"expected the forecast of one window, got {len(values)}")
        return values.reshape(len(values), -1)

    def _columns(self) -> dict[str, Any]:
        columns: dict[str, Any] = {"timestamp": _moments(self.timestamps)} if self.timestamps else {}
        columns |= dict(zip(self._names(), self._by_channel(self.predictions).T, strict=True))
        for level, values in self.quantiles.items():
            names = (f"{name}_{level:g}" for name in self._names())
            columns |= dict(zip(names, self._by_channel(values).T, strict=True))
        return columns


def _plain(value: Any) -> Any:
    return value.predictions if isinstance(value, Forecast) else value


def _moments(timestamps: Sequence[int] | Sequence[str]) -> list[Any]:
    """Return moments that frames and plots know, in UTC where they differ in their offsets; else texts as they are."""
    try:
        moments = [
            datetime.fromisoformat(each) if isinstance(each, str) else datetime.fromtimestamp(each / 1e3, UTC)
            for each in timestamps
        ]
    except (OverflowError, ValueError):
        return list(timestamps)
    if len({each.utcoffset() for each in moments}) > 1:
        moments = [each.astimezone(UTC) for each in moments]
    return moments


def _before(steps: Sequence[Any], count: int) -> list[Any]:
    """Return so many places before the first step, at the distance of the first two."""
    if isinstance(steps[0], str):
        return list(range(-count, 0))
    step = steps[1] - steps[0] if len(steps) > 1 else steps[0] - steps[0]
    return [steps[0] - step * (count - index) for index in range(count)]
