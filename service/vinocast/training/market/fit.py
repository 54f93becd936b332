"""The weights of a market model: a ridge regression of each output, its penalty and its shapes chosen by validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.forecast.market import VOLATILITY, Market
from vinocast.training.market.candles import HORIZON
from vinocast.training.market.features import BLOCK, LOGS, SEEN, Scaling, Sights, anchor, shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.training.market.candles import MarketData

# How much single bars are trusted beside means of many, and penalties in units of a mean square.
BAR_WEIGHTS = (0.03, 0.1, 0.3)
PENALTIES = tuple(10.0**power for power in np.arange(-3, 1, 0.5))
HAR = (0.0,)
# Floors below this share of the median of the training part.
FLOOR_SHARE = 50


@dataclass(frozen=True)
class Choice:
    """What validation chose for one output: its error there is in units of the training part's deviation."""

    output: str
    bar_weight: float
    penalty: float
    mse: float


@dataclass(frozen=True)
class Fitted:
    """The weights of what is seen, float64 [outputs, SEEN, horizon], and how they were chosen."""

    weights: NDArray[np.float64]
    choices: list[Choice]


def scale(data: MarketData) -> Scaling:
    """Return the scaling of the training part.

    A range and a volatility are taken to be a fiftieth of their median at least, rounded to one digit, so that a bar
    without a trade is quiet and not infinitely so.
    """
    rows = data.rows[: data.targets["train"][1]].astype(np.float64)
    ranges = (rows[:, 1] - rows[:, 2]) / rows[:, 2]
    floors = tuple(float(f"{np.median(values) / FLOOR_SHARE:.0e}") for values in (ranges, rows[:, VOLATILITY]))
    logs = [np.log(np.maximum(ranges, floors[0])), np.log1p(rows[:, 3])]
    logs.append(np.log(np.maximum(rows[:, VOLATILITY], floors[1])))
    means, deviations = (tuple(float(figure(series)) for series in logs) for figure in (np.mean, np.std))
    return Scaling(
        (floors[0], floors[1]), (means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2])
    )


def scaled_logs(market: Market, data: MarketData) -> NDArray[np.float64]:
    """Return the outcomes of LOGS at every row in units of the training part, float64 [n, 3]."""
    made = market.outcomes(data.rows)
    return np.stack([market.outputs[name].apply(made[:, market.places[name]]) for name in LOGS], axis=1)


def fit(
    data: MarketData, scaling: Scaling, logs: NDArray[np.float64], bar_weights: Sequence[float] = BAR_WEIGHTS
) -> Fitted:
    """Fit the training windows, and choose by the validation windows.

    The products of what is seen are taken once: those of any shapes follow from them.

    Args:
        data: candles.
        scaling: of its training part.
        logs: float64 [n, 3], what :func:`scaled_logs` returns.
        bar_weights: to choose among.
    """
    sights = Sights(data.rows, scaling)
    futures = np.lib.stride_tricks.sliding_window_view(logs, HORIZON, axis=0)
    gram, cross, count = np.zeros((SEEN, SEEN)), np.zeros((3, SEEN, HORIZON)), 0
    begins = data.begins("train")
    for start in range(0, len(begins), BLOCK):
        block = begins[start : start + BLOCK]
        seen = sights.of(block)
        gram += seen.T @ seen
        for output in range(3):
            cross[output] += seen.T @ futures[block, output]
        count += len(block)
    gram, cross = gram / count, cross / count
    held = data.begins("validation")
    seen, actual = sights.of(held), futures[held]
    best: list[tuple[Choice, NDArray[np.float64]] | None] = [None, None, None]
    for bar_weight in bar_weights:
        shape = shapes(bar_weight)
        values, vectors = np.linalg.eigh(shape.T @ gram @ shape)
        for output, name in enumerate(LOGS):
            level = np.repeat(anchor(output)[:, None], HORIZON, axis=1)
            right = vectors.T @ (shape.T @ (cross[output] - gram @ level))
            for penalty in PENALTIES:
                weights = shape @ (vectors @ (right / (np.maximum(values, 0) + penalty)[:, None])) + level
                mse = float(np.square(seen @ weights - actual[:, output]).mean())
                chosen = best[output]
                if chosen is None or mse < chosen[0].mse:
                    best[output] = Choice(name, bar_weight, penalty, mse), weights
    found = [each for each in best if each is not None]
    return Fitted(np.stack([weights for _, weights in found]), [choice for choice, _ in found])


def forecast_logs(data: MarketData, scaling: Scaling, fitted: Fitted, begins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what the weights say of windows, in units of the training part: float64 [n, horizon, 3]."""
    sights = Sights(data.rows, scaling)
    blocks = [sights.of(begins[start : start + BLOCK]) for start in range(0, len(begins), BLOCK)]
    return np.concatenate([np.stack([seen @ weights for weights in fitted.weights], axis=2) for seen in blocks])
