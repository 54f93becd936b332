"""Generated windows of several kinds, which a model and its source are compared on; the same on every call."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)

SEED = 20240119
KINDS = ("noise", "walk", "seasonal", "constant", "huge", "tiny", "level")


def generated_series(kind: str, count: int, context: int) -> NDArray[np.float32]:
    """Return [count, context] series of one of KINDS, the same on every call.

    ``huge`` are random walks of steps of 1e6, ``tiny`` of 1e-6 (so that the scaler's floor decides), ``constant`` never
    move, ``level`` are deviations of 1 around 1e4, as prices are.
    """
    random = np.random.default_rng([SEED, KINDS.index(kind)])
    noise = random.standard_normal((count, context))
    period = random.uniform(4, context, (count, 1))
    series = {
        "noise": noise,
        "walk": noise.cumsum(1),
        "seasonal": 3 * np.sin(2 * np.pi * (np.arange(context) + noise[:, :1]) / period) + 0.1 * noise,
        "constant": np.repeat(np.resize([0.0, 1.0, -0.75], (count, 1)), context, 1),
        "huge": 1e6 * noise.cumsum(1),
        "tiny": 1e-6 * noise.cumsum(1),
        "level": 1e4 + noise,
    }[kind]
    return series.astype(np.float32)


def golden_series(count: int, context: int, kinds: tuple[str, ...] = KINDS) -> NDArray[np.float32]:
    """Return [count, context] series, the kinds in turn but for those whose forecasts have few exact digits."""
    turns = [kind for kind in ("walk", "seasonal", "constant", "huge", "tiny") if kind in kinds]
    each = -(-count // len(turns))
    return np.stack([generated_series(kind, each, context) for kind in turns], 1).reshape(-1, context)[:count]


def as_windows(series: NDArray[Float], channels: int) -> NDArray[Float]:
    """Return [n / channels, steps, channels] of series [n, steps]."""
    return np.ascontiguousarray(series.reshape(-1, channels, series.shape[1]).transpose(0, 2, 1))


def as_series(windows: NDArray[Float]) -> NDArray[Float]:
    """Return [b * channels, steps, …] of windows [b, steps, channels, …]."""
    return np.moveaxis(windows, 2, 1).reshape(-1, windows.shape[1], *windows.shape[3:])
