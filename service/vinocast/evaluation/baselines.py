"""Forecasts that need no model, to compare one with: pure functions of arrays, time being the last axis.

``history`` is [..., points] without gaps, and what is returned [..., steps], in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

# Origins within a history at which a baseline is tried, to see how far off it is.
ORIGINS = 60
# Of the autocorrelation of the differences: what a season has at least, beside four deviations of what chance gives.
LEAST_CORRELATION = 0.15
CHANCE = 4.0
# How near to the highest peak an earlier one must come to be the season: multiples of a season are peaks as well.
NEARLY = 0.85


def last_value(history: ArrayLike, steps: int) -> NDArray[np.float64]:
    """Return the last point again and again."""
    return np.repeat(np.asarray(history, np.float64)[..., -1:], steps, axis=-1)


def seasonal_naive(history: ArrayLike, steps: int, season: int) -> NDArray[np.float64]:
    """Return the last season again and again; with a season of 1 it is the last value. It has at least one season."""
    past = np.asarray(history, np.float64)
    return past[..., past.shape[-1] - season + np.arange(steps) % season]


def drift(history: ArrayLike, steps: int) -> NDArray[np.float64]:
    """Return the line through the first and the last point, drawn further; a single point stays as it is."""
    past = np.asarray(history, np.float64)
    slope = (past[..., -1:] - past[..., :1]) / max(1, past.shape[-1] - 1)
    line: NDArray[np.float64] = past[..., -1:] + slope * np.arange(1, steps + 1)
    return line


def residual_quantiles(
    baseline: Callable[[NDArray[np.float64], int], NDArray[np.float64]],
    history: ArrayLike,
    steps: int,
    levels: Sequence[float],
    least: int = 2,
) -> NDArray[np.float64]:
    """Return quantiles of a baseline's forecast, float64 [levels, ..., steps], by how far off it was in the history.

    It forecasts from at most ORIGINS points of each history, evenly spread, and what was observed less what it said is
    added to the forecast. Where a history is too short for two origins, all quantiles are the forecast.

    Args:
        baseline: a function of a history and a number of steps.
        history: [..., points].
        steps: to forecast.
        levels: each in 0..1.
        least: points that the baseline needs.
    """
    past = np.asarray(history, np.float64)
    points = baseline(past, steps)
    last = past.shape[-1] - steps
    if last <= least:
        return np.broadcast_to(points, (len(levels), *points.shape)).copy()
    origins = np.unique(np.linspace(least, last, min(ORIGINS, last - least + 1)).astype(int)).tolist()
    residuals = np.stack(
        [past[..., origin : origin + steps] - baseline(past[..., :origin], steps) for origin in origins]
    )
    return points + np.quantile(residuals, levels, axis=0)


def find_season(history: ArrayLike) -> int:
    """Return after how many points the series [..., points] repeat themselves; 1 where they do not.

    It is the lag of the first peak of the autocorrelation that comes near the highest one; of the differences, as a
    trend would drown it. All series are taken together, and a season must fit three times.
    """
    past = np.asarray(history, np.float64)
    moves = np.diff(past.reshape(-1, past.shape[-1]), axis=-1)
    moves = moves - moves.mean(axis=-1, keepdims=True)
    moves = moves[moves.any(axis=-1)]
    points = moves.shape[-1]
    most = (points + 1) // 3
    if not len(moves) or most < 2:
        return 1
    moves = moves / np.sqrt(np.square(moves).mean(axis=-1, keepdims=True))
    power = np.square(np.abs(np.fft.rfft(moves, 2 * points, axis=-1))).mean(axis=0)
    correlation = np.fft.irfft(power)[: most + 2]
    # As if each lag had as many pairs: without it long seasons would weigh less.
    correlation = correlation / (points - np.arange(len(correlation)))
    inner = correlation[1:-1]
    peaks = (inner > correlation[:-2]) & (inner >= correlation[2:])
    peaks[0] = False  # a lag of 1 is no season
    pairs = (points - np.arange(1, len(correlation) - 1)) * len(moves)
    peaks &= inner >= np.maximum(LEAST_CORRELATION, CHANCE / np.sqrt(pairs))
    if not peaks.any():
        return 1
    return int(np.nonzero(peaks & (inner >= NEARLY * inner[peaks].max()))[0][0]) + 1
