"""What a market model sees of a window, and the shapes of a forecast that is linear in it.

It sees, in units of the training part, the logarithms of range and volume of each of the 512 bars, never taken to be
below CLIP, and those of the root mean square of the newest returns, of as many as MOVES has. A forecast is a sum of
these, each times a weight, and so is everything that the weights are found by: levels, means over the newest bars, and
single bars less their level. Returns are quotients of differences, which in float32 are exact where the logarithms of
prices are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.forecast.market import CLOSE, HIGH, LOW, VOLUME, Answer
from vinocast.training.market.candles import CONTEXT

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOGS: tuple[Answer, ...] = ("log_range", "log_volume", "log_volatility")
# Bars over which the levels of range and volume are taken, and returns of which the mean square is.
MEANS = (1, 2, 3, 6, 12, 24, 48, 96, 168, 336)
MOVES = (2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 48, 96, 168, 336, CONTEXT - 1)
CLIP = -2.5
# What is seen: two logarithms of each bar, the moves, and 1.
SEEN = 2 * CONTEXT + len(MOVES) + 1
# Windows whose sights are in memory at a time.
BLOCK = 1024


@dataclass(frozen=True)
class Scaling:
    """Of each of LOGS the mean and the deviation that it is told in, and what it is taken to be at least.

    Attributes:
        floors: of the range and the volatility, before their logarithm is taken.
        means: by the order of LOGS.
        deviations: likewise.
    """

    floors: tuple[float, float]
    means: tuple[float, float, float]
    deviations: tuple[float, float, float]


class Sights:
    """What is seen of any window of a series of bars.

    Args:
        rows: [n, 7], the channels.
        scaling: of the training part.
    """

    def __init__(self, rows: NDArray[np.floating], scaling: Scaling) -> None:
        wide = rows.astype(np.float64)
        ranges = np.log(np.maximum((wide[:, HIGH] - wide[:, LOW]) / wide[:, LOW], scaling.floors[0]))
        volumes = np.log1p(np.maximum(wide[:, VOLUME], 0))
        bars = [
            np.maximum((series - mean) / deviation, CLIP)
            for series, mean, deviation in zip((ranges, volumes), scaling.means, scaling.deviations, strict=False)
        ]
        self._bars = [np.lib.stride_tricks.sliding_window_view(series, CONTEXT) for series in bars]
        squares = np.zeros(len(wide))
        squares[1:] = np.square(np.diff(wide[:, CLOSE]) / wide[:-1, CLOSE])
        # In blocks of a window: a sum over all would lose what is small beside it.
        windows = np.lib.stride_tricks.sliding_window_view(squares, CONTEXT)
        means = np.stack([windows[:, -count:].mean(axis=1) for count in MOVES], axis=1)
        logs = np.log(np.maximum(means, scaling.floors[1] ** 2)) / 2
        self._moves = (logs - scaling.means[2]) / scaling.deviations[2]

    def of(self, begins: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what is seen of the windows that end before these rows, [n, SEEN]."""
        at = begins - CONTEXT
        ones = np.ones((len(at), 1))
        return np.concatenate([*(series[at] for series in self._bars), self._moves[at], ones], axis=1)


def anchor(output: int) -> NDArray[np.float64]:
    """Return the weights [SEEN] of the level of one of LOGS in the whole window, which its forecast is a change of."""
    weights = np.zeros(SEEN)
    if output < 2:
        weights[output * CONTEXT : (output + 1) * CONTEXT] = 1 / CONTEXT
    else:
        weights[2 * CONTEXT + len(MOVES) - 1] = 1
    return weights


def shapes(bar_weight: float) -> NDArray[np.float64]:
    """Return weights [SEEN, k] of what is regressed on: each column is a sum of what is seen.

    Levels over the newest bars less that of the window, the same of moves, single bars less their level, times
    ``bar_weight``, which says how much less they are trusted; the levels of the window, and 1.
    """
    columns = []
    levels = [anchor(output) for output in range(3)]
    for series in range(2):
        for count in MEANS:
            mean = np.zeros(SEEN)
            behind = (series + 1) * CONTEXT
            mean[behind - count : behind] = 1 / count
            columns.append(mean - levels[series])
    for place in range(len(MOVES) - 1):
        move = np.zeros(SEEN)
        move[2 * CONTEXT + place] = 1
        columns.append(move - levels[2])
    constant = np.zeros(SEEN)
    constant[-1] = 1
    columns += [*levels, constant]
    if bar_weight:
        for series in range(2):
            single = np.zeros((SEEN, CONTEXT))
            bars = slice(series * CONTEXT, (series + 1) * CONTEXT)
            single[bars] = np.eye(CONTEXT) - 1 / CONTEXT
            columns += list(bar_weight * single.T)
    return np.stack(columns, axis=1)
