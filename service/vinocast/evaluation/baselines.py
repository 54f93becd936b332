"""Forecasts that need no model, to compare one with: pure functions of arrays, time being the last axis.

``history`` is [..., points] without gaps, and what is returned [..., steps], in float64.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.times.days import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from vinocast.data.times.frequency import Frequency

# Origins within a history at which a baseline is tried, to see how far off it is.
ORIGINS = 60
# Numbers that are in memory at a time.
RESIDUALS_TOGETHER = 1 << 22
# Of the autocorrelation of the differences: what a season has at least, beside four deviations of what chance gives.
LEAST_CORRELATION = 0.15
CHANCE = 4.0
# The same for a season that is usual, of which there are few.
LEAST_USUAL, USUAL_CHANCE = 0.08, 2.5
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
    series = past.reshape(-1, past.shape[-1])
    quantiles = np.empty((len(levels), len(series), steps))
    together = max(1, RESIDUALS_TOGETHER // (len(origins) * steps))
    for start in range(0, len(series), together):
        part = series[start : start + together]
        residuals = np.stack(
            [part[:, origin : origin + steps] - baseline(part[:, :origin], steps) for origin in origins]
        )
        quantiles[:, start : start + together] = np.quantile(residuals, levels, axis=0)
    return points + quantiles.reshape(len(levels), *points.shape)


def usual_seasons(frequency: Frequency) -> list[int]:
    """Return how many steps an hour, a day, a week or a year has, as far as that is a whole number above 1."""
    if frequency.business_days:
        lengths = [Fraction(count, frequency.business_days) for count in (5, 21, 260)]
    elif frequency.months:
        lengths = [Fraction(count, frequency.months) for count in (12,)]
    else:
        lengths = [Fraction(count * DAY, frequency.nanoseconds) for count in (Fraction(1, 24), 1, 7)]
        lengths += [Fraction(52)] if frequency.nanoseconds == 7 * DAY else []
    return [int(length) for length in lengths if length > 1 and length.denominator == 1]


def find_season(history: ArrayLike, usual: Sequence[int] = ()) -> int:
    """Return after how many points the series [..., points] repeat themselves; 1 where they do not.

    It is the first usual season whose autocorrelation comes near that of the best of them, else the lag of the first
    peak that comes near the highest; of the differences, as a trend would drown it. All series are taken together, and
    a season must fit three times.

    Args:
        history: [..., points].
        usual: seasons to try first, in points, the shortest first.
    """
    past = np.asarray(history, np.float64)
    # Of ranks, so that two outliers are no season.
    ranks = past.reshape(-1, past.shape[-1]).argsort(axis=-1, kind="stable").argsort(axis=-1, kind="stable")
    moves = np.diff(np.where(past.reshape(ranks.shape).std(axis=-1, keepdims=True) > 0, ranks, 0).astype(np.float64))
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
    known = [
        lag
        for lag in usual
        if lag < len(correlation)
        and correlation[lag] >= max(LEAST_USUAL, USUAL_CHANCE / np.sqrt((points - lag) * len(moves)))
    ]
    if known:
        best = max(correlation[lag] for lag in known)
        return next(lag for lag in known if correlation[lag] >= NEARLY * best)
    inner = correlation[1:-1]
    peaks = (inner > correlation[:-2]) & (inner >= correlation[2:])
    peaks[0] = False  # a lag of 1 is no season
    pairs = (points - np.arange(1, len(correlation) - 1)) * len(moves)
    peaks &= inner >= np.maximum(LEAST_CORRELATION, CHANCE / np.sqrt(pairs))
    if not peaks.any():
        return 1
    return int(np.nonzero(peaks & (inner >= NEARLY * inner[peaks].max()))[0][0]) + 1
