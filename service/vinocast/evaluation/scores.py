"""Scores of forecasts, of points and of quantiles: pure functions of arrays.

Time is the last axis and whatever stands before it are series, windows or channels: ``actual`` is [..., steps]. All is
computed in float64. An ``actual`` that is NaN is a gap and is scored by nobody; where nothing is left to score, the
score is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def mse(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Return the mean of the squared errors, in the squared unit of the series; both are [..., steps]."""
    return _mean(np.square(_errors(actual, forecast)), actual)


def mae(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Return the mean of the absolute errors, in the unit of the series; both are [..., steps]."""
    return _mean(np.abs(_errors(actual, forecast)), actual)


def mase(actual: ArrayLike, forecast: ArrayLike, history: ArrayLike, season: int = 1) -> float:
    """Return the mean absolute error in units of what the seasonal naive errs by within the history; no unit.

    Of Hyndman and Koehler, "Another look at measures of forecast accuracy" (2006): each absolute error is divided by
    the mean of ``|y[t] - y[t - season]|`` over that series' own history, and all are averaged. Below 1 a forecast errs
    by less than the naive did one season ahead. Series whose history repeats itself exactly have no such unit, and
    are left out.

    Args:
        actual: [..., steps].
        forecast: [..., steps].
        history: [..., points], what came before, of which each series has at least ``season`` + 1; NaN are gaps.
        season: points after which the series begins anew; 1 for the last value.
    """
    past = np.asarray(history, np.float64)
    moves = np.abs(past[..., season:] - past[..., :-season])
    known = ~np.isnan(moves)
    counts = known.sum(axis=-1, keepdims=True)
    unit = np.where(known, moves, 0).sum(axis=-1, keepdims=True) / np.maximum(counts, 1)
    truth = np.where(unit > 0, np.asarray(actual, np.float64), np.nan)
    return _mean(np.abs(_errors(truth, forecast)) / np.where(unit > 0, unit, 1), truth)


def quantile_loss(actual: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> NDArray[np.float64]:
    """Return the mean pinball loss of each level, float64 [levels], in the unit of the series.

    Of Koenker and Bassett, "Regression quantiles" (1978): ``level * (y - q)`` where the actual lies above its quantile,
    else ``(1 - level) * (q - y)``.

    Args:
        actual: [..., steps].
        quantiles: [levels, ..., steps].
        levels: each in 0..1.
    """
    return np.array(
        [
            _mean(np.maximum(level * error, (level - 1) * error), actual)
            for level, error in zip(levels, _errors(actual, quantiles), strict=True)
        ]
    )


def weighted_quantile_loss(actual: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> float:
    """Return twice the pinball loss over the mean of ``|actual|``, the mean of all levels; no unit.

    As GluonTS and AutoGluon have it (Salinas et al., "DeepAR", 2020, section 4). Of a forecast of points, which stands
    for all of its quantiles, and of levels that lie symmetrically it is the sum of absolute errors over that of
    ``|actual|``. NaN where all actuals are 0. Arguments are those of :func:`quantile_loss`.
    """
    size = _mean(np.abs(np.asarray(actual, np.float64)), actual)
    return float(2 * quantile_loss(actual, quantiles, levels).mean() / size) if size > 0 else float("nan")


def coverage(actual: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the share, 0 to 1, of the actuals that lie within both bounds, which count; all are [..., steps]."""
    truth = np.asarray(actual, np.float64)
    return _mean((truth >= np.asarray(lower)) & (truth <= np.asarray(upper)), truth)


def _errors(actual: ArrayLike, forecast: ArrayLike) -> NDArray[np.float64]:
    errors: NDArray[np.float64] = np.asarray(actual, np.float64) - np.asarray(forecast, np.float64)
    return errors


def _mean(values: ArrayLike, actual: ArrayLike) -> float:
    """Return the mean of those values whose actual is known."""
    known = np.broadcast_to(~np.isnan(np.asarray(actual, np.float64)), np.shape(values))
    return float(np.asarray(values, np.float64)[known].mean()) if known.any() else float("nan")
