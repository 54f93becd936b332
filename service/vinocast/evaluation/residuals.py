"""Residuals of a model's forecasts of past values, the quantiles of them, and how well these cover.

Residuals are of the model as it is served, and each is divided by the deviation of its own context, so that calm and
wild times share a table. Of a model that has quantiles of its own they are the places of what came among those
(``vinocast.forecast.quantiles``). What is newer counts for more. How well a table covers is measured on values held
back from one that is made for it; the table that is kept is of all values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import SetupError
from vinocast.evaluation.scores import coverage, quantile_loss
from vinocast.forecast.quantiles import deviations, own_table, places_of
from vinocast.forecast.units import find_units, follows_units
from vinocast.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.forecast.engine import ForecastEngine

# Of a table. At 0 and 1 stand the least and the largest residual.
GRID = np.array(
    [0, 0.005, *np.arange(1, 6) / 100, 0.075, *np.arange(2, 19) / 20, 0.925, *np.arange(95, 100) / 100, 0.995, 1]
)
# What a step of age leaves of a weight: half of it after 693 steps.
DECAY = 0.999
# Series that are forecast at most, at even distances: more take minutes and change the second digit of a coverage.
MOST_FORECASTS = 20_000
MOST_RESIDUALS = 1 << 26
# Below so many at each step the outer quantiles are noise.
LEAST_RESIDUALS = 100
# Of the windows, the newest, or every so many-th of many tables.
HELD_BACK = 5
# Bands that are measured, by what they should cover, and levels of the loss.
BANDS = (0.5, 0.8, 0.9)
LEVELS = tuple(level / 10 for level in range(1, 10))


@dataclass(frozen=True)
class Values:
    """What to calibrate with.

    Attributes:
        name: of the file, for the record.
        sha256: its hash.
        columns: names of the columns.
        tables: [rows, columns] each, oldest row first, in any unit, float64 where float32 would cut digits off; NaN are
            gaps. One, or many of a long table.
    """

    name: str
    sha256: str
    columns: Sequence[str]
    tables: Sequence[NDArray[np.floating]]


@dataclass(frozen=True)
class Residuals:
    """Residuals of n forecasts; NaN where what came is not known.

    Attributes:
        scaled: float32 [n, horizon], in deviations of each forecast's context, or places.
        columns: int [n], the column that each is of.
        tables: int [n], the table.
        starts: int [n], the row at which the context begins.
        ages: int [n], steps from the newest window of the same table.
        own: the levels of the model's own quantiles, where these are places.
    """

    scaled: NDArray[np.float32]
    columns: NDArray[np.int64]
    tables: NDArray[np.int64]
    starts: NDArray[np.int64]
    ages: NDArray[np.int64]
    own: Sequence[float] = ()

    def some(self, chosen: NDArray[np.bool_]) -> Residuals:
        """Return some of them."""
        arrays = {name: getattr(self, name)[chosen] for name in ("scaled", "columns", "tables", "starts", "ages")}
        return Residuals(**arrays, own=self.own)


def find_residuals(engine: ForecastEngine, values: Values, places: Sequence[int]) -> Residuals:
    """Forecast windows of some columns and return the residuals; shows its progress on standard error.

    A context that has a gap, or never moves, is left out: the deviation that residuals are divided by would be
    nobody's. One of small numbers, or far from 0, is read as a forecast of a file reads it
    (``vinocast.forecast.units``). Where there are more than MOST_FORECASTS, some are taken at even distances, the
    newest among them.

    Args:
        engine: loaded.
        values: to forecast.
        places: of the columns; those of all channels in their order, where the layout of the model is ``window``.
    """
    context, horizon = engine.manifest.context, engine.manifest.horizon
    length, whole = context + horizon, engine.manifest.layout == "window"
    least, own = engine.manifest.minimum_variance, engine.manifest.quantile_levels
    counts = np.array([max(0, len(table) - length + 1) for table in values.tables], np.int64)
    tables = np.repeat(np.arange(len(counts)), counts)
    starts = np.concatenate([np.arange(0), *map(np.arange, counts)])
    most = max(1, min(MOST_FORECASTS, MOST_RESIDUALS // horizon) // len(places))
    kept = np.arange(len(starts))[::-1][:: max(1, -(-len(starts) // most))][::-1]
    tables, starts = np.repeat(tables[kept], len(places)), np.repeat(starts[kept], len(places))
    columns = np.tile(np.asarray(places), len(kept))
    scaled = np.full((len(starts), horizon), np.nan, np.float32)
    together = len(places) if whole else engine.most_series
    follows = follows_units(engine, len(places) if whole else 1)
    with progress(len(starts), "forecasts") as bar:
        for first in range(0, len(starts), together):
            part = slice(first, first + together)
            cut = np.stack(
                [
                    values.tables[table][start : start + length, column]
                    for table, start, column in zip(tables[part], starts[part], columns[part], strict=True)
                ]
            )
            bar.update(len(cut))
            if follows:
                cut = find_units(cut[:, :context].T).read(cut.T).T
            read = cut[:, :context].astype(np.float32)
            scales = deviations(read, least)
            moving = np.isfinite(scales) & (np.square(scales.astype(np.float64)) > 2 * least)
            if not (moving.all() if whole else moving.any()):
                continue
            past = np.ascontiguousarray(read[moving].T)
            (forecast,), _ = engine.forecast_together([(past, range(past.shape[1]))], whole=True)
            actual = cut[moving, context:]
            scaled[first + np.flatnonzero(moving)] = (
                places_of(forecast, actual.T).T if own else (actual - forecast.T) / scales[moving, None]
            )
    scaled[~np.isfinite(scaled)] = np.nan
    ages = np.array([len(table) for table in values.tables], np.int64)[tables] - length - starts
    known = np.asarray(np.isfinite(scaled).any(axis=1))
    return Residuals(scaled, columns, tables, starts, ages, own).some(known)


def quantiles_of(residuals: Residuals, decay: float) -> NDArray[np.float32]:
    """Return weighted quantiles of residuals, all columns together, float32 [horizon, GRID]."""
    order = np.argsort(residuals.scaled, axis=0)
    ascending = np.take_along_axis(residuals.scaled, order, axis=0)
    # What is not known stands last.
    weights = np.where(np.isfinite(ascending), (decay ** residuals.ages.astype(np.float64))[order], 0)
    sums = np.cumsum(weights, axis=0)
    places = (sums - weights / 2) / sums[-1]
    return np.stack(
        [
            np.interp(GRID, place[known], values[known])
            for place, values, known in zip(places.T, ascending.T, weights.T > 0, strict=True)
        ]
    ).astype(np.float32)


def measure(table: NDArray[np.float32], residuals: Residuals) -> dict[str, float]:
    """Return how well a table [horizon, GRID] fits residuals: the coverage of each band, and the quantile loss.

    The loss is twice the mean of LEVELS, in deviations of the context; beside it that of the point alone. Of places it
    would have no unit: in its place stands what the model covers as it is.
    """

    def at(level: float) -> NDArray[np.float64]:
        return np.array([np.interp(level, GRID, row) for row in table])

    actual = residuals.scaled.astype(np.float64)
    figures = {"forecasts": float(len(actual))}
    figures |= {
        f"coverage_{100 * band:.0f}": coverage(actual, at((1 - band) / 2), at((1 + band) / 2)) for band in BANDS
    }
    if residuals.own:
        before = own_table(residuals.own)
        for band in BANDS:
            low, high = before.entries(((1 - band) / 2, (1 + band) / 2), None).ravel()
            figures[f"before_{100 * band:.0f}"] = coverage(actual, low, high)
        return figures
    quantiles = np.stack([np.broadcast_to(at(level), actual.shape) for level in LEVELS])
    return figures | {
        "quantile_loss": float(2 * quantile_loss(actual, quantiles, LEVELS).mean()),
        "point_loss": float(2 * quantile_loss(actual, np.zeros((1, *actual.shape)), (0.5,))[0]),
    }


def hold_back(residuals: Residuals, horizon: int) -> tuple[Residuals, Residuals]:
    """Return residuals to make a table of, and others to measure it by, of which the first have seen nothing.

    Of one table the newest windows are held back, and none is kept whose target they share; of many, every so
    many-th table.
    """
    if residuals.tables.size and residuals.tables.max() > 0:
        held = residuals.tables % HELD_BACK == 0
        return residuals.some(~held), residuals.some(held)
    first = np.quantile(residuals.starts, 1 - 1 / HELD_BACK) if residuals.starts.size else 0
    return residuals.some(residuals.starts + horizon <= first), residuals.some(residuals.starts >= first)


def make_table(
    residuals: Residuals, horizon: int, columns: Sequence[int] | None, decay: float
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Return quantiles [columns, horizon, GRID], or [horizon, GRID] of all together, and how well they cover.

    The figures are those of :func:`measure`, the mean of all columns; none, where too little could be held back.

    Raises:
        SetupError: fewer than LEAST_RESIDUALS at some step.
    """
    groups = [residuals] if columns is None else [residuals.some(residuals.columns == column) for column in columns]
    if not all(map(_enough, groups)):
        raise SetupError(
            f"fewer than {LEAST_RESIDUALS} residuals: expected as many windows of a context that moves and of what "
            f"followed it, {'all columns together' if columns is None else 'of each channel'}"
        )
    table = np.stack([quantiles_of(group, decay) for group in groups])
    figures = []
    for group in groups:
        kept, held = hold_back(group, horizon)
        if _enough(kept) and _enough(held):
            figures.append(measure(quantiles_of(kept, decay), held))
    every = {name: float(np.mean([each[name] for each in figures])) for name in figures[0]} if figures else {}
    if every:
        every["forecasts"] = float(sum(each["forecasts"] for each in figures))
    return (table[0] if columns is None else table), every


def _enough(residuals: Residuals) -> bool:
    """Whether there are LEAST_RESIDUALS at each step."""
    return bool((~np.isnan(residuals.scaled)).sum(axis=0).min() >= LEAST_RESIDUALS)
