"""Units in which a model can read series: near 0, and neither too small nor too large for float32 and its scaler.

A model standardises each series, so neither its level nor its unit should matter. But float32 cuts digits off what is
far from 0, the model's scaler adds a fixed amount to the variance, which drowns what moves by less, and squares of
large numbers are beyond float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.forecast.computation import Computation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.forecast.engine import ForecastEngine

# How many deviations the mean of a series may be away from 0 before float32 costs more than 6e-5 of a deviation, and
# from where on what looks like a deviation of a constant is only the rounding of float64.
FAR, CONSTANT = 2.0**10, 2.0**40
# A constant has no deviation to compare with: from here on float32 is off by more than models make of it.
FAR_CONSTANT = 2.0**16
# Deviations that a model reads as they are; of the least, what its scaler adds to the variance is 0.3 %.
SMALL, LARGE = 2.0**-4, 2.0**40
# Exponents of the units, whose powers float32 holds.
MOST_EXPONENT = 126
# By how much higher and larger a model is shown numbers, of a deviation of 1, to see whether it answers so too; and
# what its arithmetic may take off that.
HIGHER, NEARLY = 8.0, 0.1


@dataclass(frozen=True)
class Units:
    """What some columns are counted from and in.

    Attributes:
        offsets: float64 [columns], 0 of all but those that float32 would cut digits off.
        scales: float64 [columns], powers of two, so that no digit changes; 1 of all but very small and large ones.
    """

    offsets: NDArray[np.float64]
    scales: NDArray[np.float64]

    @property
    def odd(self) -> bool:
        """Whether they change anything."""
        return bool(self.offsets.any() or (self.scales != 1).any())

    def read(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return values [..., columns] in these units."""
        return (values.astype(np.float64) - self.offsets) / self.scales

    def written(self, numbers: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return numbers [..., columns] of these units as they are in the table; infinite beyond float32.

        They are float32, and float64 where one has an offset.
        """
        with np.errstate(over="ignore"):
            scaled: NDArray[np.float32] = numbers * self.scales.astype(np.float32)
        if not self.offsets.any():
            return scaled
        exact = numbers * self.scales + self.offsets
        # Of a column without an offset, the number that float32 is written as.
        return np.where(self.offsets, exact, scaled.astype(np.str_).astype(np.float64))


def as_they_are(columns: int) -> Units:
    """Return units that change nothing."""
    return Units(np.zeros(columns), np.ones(columns))


def find_units(given: NDArray[np.floating]) -> Units:
    """Return units for series [steps, columns], in which NaN are gaps."""
    values = given.astype(np.float64)
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, values, 0).sum(axis=0) / counts
    spreads = np.sqrt(np.square(np.where(known, values - means, 0)).sum(axis=0) / counts)
    sizes = np.abs(means)
    moving = sizes < CONSTANT * spreads
    offsets = np.where(np.where(moving, sizes > FAR * spreads, sizes > FAR_CONSTANT), means, 0.0)
    unit = np.where(moving, spreads, sizes)
    odd = (unit > 0) & ((unit < SMALL) | (unit > LARGE))
    exponents = np.frexp(unit)[1].clip(-MOST_EXPONENT, MOST_EXPONENT)
    return Units(offsets, np.where(odd, np.exp2(exponents), 1.0))


def follows_units(engine: ForecastEngine, columns: int) -> bool:
    """Whether a model answers in the units of what it reads, as all do that standardise each series.

    Args:
        engine: loaded.
        columns: that it is asked for together.
    """
    low = np.random.default_rng(0).standard_normal((engine.manifest.context, columns)).astype(np.float32)
    # Other units for every other column: one that reads its neighbours' numbers does not follow its own.
    by = np.where(np.arange(columns) % 2, 1, HIGHER).astype(np.float32)
    answers = []
    for window in (low, (low + by) * by):
        computation = Computation(window, range(columns), 1)
        while not computation.step(engine):
            pass
        answers.append(engine.points(computation.forecast))
    return bool((np.abs(answers[1] - (answers[0] + by) * by) < NEARLY * by).all())
