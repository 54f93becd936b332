"""What can be asked of the service and what it answers, typed.

A protocol makes the one of bytes, and bytes of the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


# Both, where there are enough outcomes of some steps alone.
QuantilesFrom = Literal["stream", "model", "both"]


class WindowSource(Protocol):
    """A window in the form in which it came, which is read when the model, and so its shape, is known."""

    @property
    def field(self) -> str:
        """What the request calls it."""

    def window(self, context: int, channels: int, *, fewer: bool = False, gaps: bool = False) -> NDArray[np.float32]:
        """Return [context, channels], oldest row first; raises InvalidShapeError or InvalidValueError with a path.

        With ``fewer`` there may be fewer rows, one at least; with ``gaps`` a value may be missing, and is NaN.
        """


@dataclass(slots=True)
class Series:
    """One of several series.

    Attributes:
        values: float32 [points], oldest first, one at least; NaN where one is missing.
        item_id: what the sender calls it.
        start: the time of its first point.
    """

    values: NDArray[np.float32]
    item_id: str | int | None = None
    start: str | None = None


class WindowsSource(Protocol):
    """Several windows in the form in which they came, each of which is read when its turn comes.

    Attributes:
        field: what the request calls them, for the paths of faults.
        nbytes: of the memory that they take at most.
    """

    field: str
    nbytes: int

    def __len__(self) -> int:
        """Return how many there are."""

    @property
    def path(self) -> Callable[[int], str]:
        """What returns the path of one."""

    def check(self, context: int, channels: int, *, fewer: bool) -> None:
        """Raise InvalidShapeError where they are not [context, channels], or with ``fewer`` of fewer rows."""

    def window(self, index: int, *, gaps: bool) -> NDArray[np.float32]:
        """Return one, oldest row first; see :class:`WindowSource`."""


class SeriesSource(Protocol):
    """Series in the form in which they came, which are read in parts.

    Attributes:
        nbytes: of the memory that they take at most until all are read.
    """

    nbytes: int

    def __len__(self) -> int:
        """Return how many there are."""

    @property
    def path(self) -> Callable[[int], str]:
        """What returns the path of the numbers of one, and keeps nothing of the request."""

    def read(self, *, gaps: bool = False) -> Iterator[Series]:
        """Return the series in their order, each read when it is asked for.

        With ``gaps`` a value may be missing, and is NaN. Raises InvalidJsonError, InvalidRequestError,
        InvalidShapeError or InvalidValueError with a path.
        """


class RowsSource(Protocol):
    """Rows of a stream in the form in which they came."""

    def rows(self, channels: int) -> NDArray[np.float32]:
        """Return [rows, channels], oldest row first; raises InvalidShapeError or InvalidValueError with a path."""


class GlyphSource(Protocol):
    """Glyphs in the form in which they came, each of which is read when its turn comes.

    Attributes:
        field: what the request calls them, for the paths of faults.
        nbytes: of the request that they came in.
        parsed_bytes: of the memory that they take at most.
    """

    field: str
    nbytes: int
    parsed_bytes: int

    def __len__(self) -> int:
        """Return how many there are."""

    def path(self, index: int) -> str:
        """Return the path of one."""


class GridSource(GlyphSource, Protocol):
    """Grids of primitive ids."""

    def grid(self, index: int, side: int, primitives: int) -> NDArray[np.uint16]:
        """Return [side, side] ids below ``primitives``; raises InvalidShapeError or InvalidValueError."""


class RasterSource(GlyphSource, Protocol):
    """Rasters."""

    def png(self, index: int) -> bytes:
        """Return the bytes of a PNG, or of what should be one; raises InvalidValueError."""


@dataclass(slots=True)
class Forecast:
    """What to forecast: the window ``source``, the ``stream`` that holds one, ``windows`` or ``series``.

    Attributes:
        source: a window.
        stream: the name of a stream.
        model: the name of a model; None for the default.
        targets: names or indices of channels; None for all.
        deadline: the moment of ``time.monotonic`` after which the answer is not wanted.
        series: single series, each of its own length.
        windows: several windows, each by itself.
        channels: the names of the columns of ``source``; None where they are the model's.
        prediction_length: how many steps are wanted; None for the model's horizon.
        rollout: whether more steps than the horizon are made by feeding forecasts back.
        quantile_levels: each in 0..1 and once, ascending; None for no quantiles.
        missing: what becomes of values that are missing.
        short: what becomes of fewer points than the model's context.
        start: the time of the first row of ``source``.
        freq: the step between two times, beside ``start`` or those of ``series``.
        step_ms: the step between two times, beside ``timestamp_ms``.
        timestamp_ms: the time of the last row; without ``step_ms`` it says nothing here.
        in_base64: whether the numbers of the reply are to be base64, a quarter of the bytes.
    """

    source: WindowSource | None = None
    stream: str | None = None
    model: str | None = None
    targets: Sequence[str | int] | None = None
    deadline: float | None = None
    series: SeriesSource | None = None
    windows: WindowsSource | None = None
    channels: Sequence[str] | None = None
    prediction_length: int | None = None
    rollout: bool = False
    quantile_levels: Sequence[float] | None = None
    missing: Literal["refuse", "interpolate"] = "refuse"
    short: Literal["refuse", "pad"] = "refuse"
    start: str | None = None
    freq: str | None = None
    step_ms: int | None = None
    timestamp_ms: int | None = None
    in_base64: bool = False

    @property
    def beyond_a_window(self) -> bool:
        """Whether more is asked for than targets of a window that is whole."""
        return (
            self.quantile_levels is not None
            or self.missing != "refuse"
            or self.short != "refuse"
            or self.start is not None
            or self.step_ms is not None
            or self.in_base64
        )


@dataclass(slots=True)
class Observe:
    """Rows to append to a stream; ``timestamp_ms`` is that of the last."""

    stream: str
    source: RowsSource
    timestamp_ms: int | None = None
    model: str | None = None


@dataclass(slots=True)
class Forget:
    """A stream to drop."""

    stream: str


@dataclass(slots=True)
class Glyphs:
    """Glyphs to recognize, in exactly one of both forms, and how many labels to return for each.

    Attributes:
        ids: whether the places of the labels in the model's list are wanted as well.
        deadline: as that of a forecast.
    """

    grids: GridSource | None = None
    rasters: RasterSource | None = None
    normalize: bool = False
    topk: int = 5
    model: str | None = None
    ids: bool = False
    deadline: float | None = None


@dataclass(slots=True)
class Result:
    """What an op answers: its fields are those of the reply. An op that reports answers a mapping instead."""


@dataclass(slots=True)
class Computed(Result):
    """What a model has computed, and how long that took; times in seconds.

    Attributes:
        model: its name, NAME/VERSION where it has several.
        inference_seconds: the infer() calls alone.
        queue_seconds: from the decoded request to its start.
        version: of the model; empty where a reply does not say it.
    """

    model: str
    inference_seconds: float
    queue_seconds: float
    version: str = field(default="", kw_only=True)


@dataclass(slots=True)
class StreamPosition:
    """Where a stream stood when its window was taken."""

    newest_timestamp_ms: int | None
    rows_since_newest: int


@dataclass(slots=True)
class Forecasted(Computed):
    """A forecast of a window, in the units of the input.

    Attributes:
        points: float32 [steps, targets].
        channels: the names of the targets.
        quantiles: by their levels, ascending, each float32 [steps, targets]; None where none were asked for.
        timestamps: of the steps, in milliseconds or in the form of ``start``; None where they are not known.
        filled: how many values were missing and are interpolated.
        padded: how many rows were missing and are made up.
        rollout: whether forecasts were fed back.
        position: of the stream that the window is from; None for any other window.
        quantiles_from: whether quantiles are from outcomes of the stream or from the model; None where streams keep
            no outcomes.
        warnings: what makes the forecast less than it could be.
    """

    points: NDArray[np.float32]
    channels: Sequence[str]
    quantiles: Mapping[float, NDArray[np.float32]] | None = None
    timestamps: Sequence[int] | Sequence[str] | None = None
    filled: int = 0
    padded: int = 0
    rollout: bool = False
    position: StreamPosition | None = None
    quantiles_from: QuantilesFrom | None = None
    warnings: Sequence[str] = ()


@dataclass(slots=True)
class ForecastedWindows(Computed):
    """Forecasts of several windows, in their order; the times of each are those of all.

    Attributes:
        outputs: one for each.
        rollout: whether forecasts were fed back.
    """

    outputs: Sequence[Forecasted]
    rollout: bool = False


@dataclass(slots=True)
class ForecastOfOne:
    """The forecast of one series; see :class:`Forecasted`, of whose arrays each is [steps]."""

    item_id: str | int | None
    points: NDArray[np.float32]
    quantiles: Mapping[float, NDArray[np.float32]] | None = None
    timestamps: Sequence[int] | Sequence[str] | None = None
    filled: int = 0
    padded: int = 0


@dataclass(slots=True)
class ForecastedSeries(Computed):
    """Forecasts of several series, in their order.

    Attributes:
        outputs: one for each.
        rollout: whether forecasts were fed back.
    """

    outputs: Sequence[ForecastOfOne]
    rollout: bool = False


@dataclass(slots=True)
class Candidate:
    """A label that a glyph may have, its base character, and its probability among all labels; rank 1 is the best."""

    rank: int
    label: str
    base: str
    prob: float


@dataclass(slots=True)
class Recognized(Computed):
    """The ranked labels of each glyph, what looks wrong with which raster, and the labels' places where wanted."""

    results: Sequence[Sequence[Candidate]]
    warnings: Sequence[str] = ()
    ids: Sequence[Sequence[int]] = ()


@dataclass(slots=True)
class Observed(Result):
    """What a stream holds after an observation; ``missing`` are rows still to come before it can be forecast."""

    stream: str
    rows: int
    missing: int


@dataclass(slots=True)
class Forgotten(Result):
    """The stream that was dropped, and what it held."""

    stream: str
    rows: int
    newest_timestamp_ms: int | None
