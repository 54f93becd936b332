"""What can be asked of the service and what it answers, typed.

A protocol makes the one of bytes, and bytes of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


class WindowSource(Protocol):
    """A window in the form in which it came, which is read when the model, and so its shape, is known."""

    def window(self, context: int, channels: int) -> NDArray[np.float32]:
        """Return [context, channels], oldest row first; raises InvalidShapeError or InvalidValueError with a path."""


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
    """A window to forecast: ``source``, or the name of the ``stream`` that holds it.

    Attributes:
        source: the window.
        stream: the name of a stream.
        model: the name of a model; None for the default.
        targets: names or indices of channels; None for all.
        deadline: the moment of ``time.monotonic`` after which the answer is not wanted.
    """

    source: WindowSource | None = None
    stream: str | None = None
    model: str | None = None
    targets: Sequence[str | int] | None = None
    deadline: float | None = None


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
    """Glyphs to recognize, in exactly one of both forms, and how many labels to return for each."""

    grids: GridSource | None = None
    rasters: RasterSource | None = None
    normalize: bool = False
    topk: int = 5
    model: str | None = None


@dataclass(slots=True)
class Result:
    """What an op answers: its fields are those of the reply. An op that reports answers a mapping instead."""


@dataclass(slots=True)
class Computed(Result):
    """What a model has computed, and how long that took; times in seconds.

    Attributes:
        model: its name.
        inference_seconds: the infer() calls alone.
        queue_seconds: from the decoded request to its start.
    """

    model: str
    inference_seconds: float
    queue_seconds: float


@dataclass(slots=True)
class StreamPosition:
    """Where a stream stood when its window was taken."""

    newest_timestamp_ms: int | None
    rows_since_newest: int


@dataclass(slots=True)
class Forecasted(Computed):
    """A forecast, in the units of the input.

    Attributes:
        points: float32 [horizon, targets].
        quantiles: by their levels, each float32 [horizon, targets]; None where none were asked for.
        timestamps_ms: of the horizon's steps, where they are known.
        position: of the stream that the window is from; None for any other window.
    """

    points: NDArray[np.float32]
    quantiles: Mapping[float, NDArray[np.float32]] | None = None
    timestamps_ms: Sequence[int] | None = None
    position: StreamPosition | None = None


@dataclass(slots=True)
class Candidate:
    """A label that a glyph may have, its base character, and its probability among all labels; rank 1 is the best."""

    rank: int
    label: str
    base: str
    prob: float


@dataclass(slots=True)
class Recognized(Computed):
    """The ranked labels of each glyph, and what looks wrong with which raster."""

    results: Sequence[Sequence[Candidate]]
    warnings: Sequence[str] = ()


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
