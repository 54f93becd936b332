"""The accuracy of a model as it is served: its IR, compiled by a profile, over the windows of a split.

Beside it stand forecasts that need no model, so that its figures mean something.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import BaseModel

from vinocast.data.windows import windows
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.errors import SetupError
from vinocast.evaluation import scores
from vinocast.evaluation.baselines import drift, last_value, seasonal_naive
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import ForecasterFolder, Metric, check_columns
from vinocast.forecast.quantiles import deviations
from vinocast.forecast.units import find_units, follows_units
from vinocast.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.splits import Dataset, Split
    from vinocast.data.windows import Windows
    from vinocast.engine.profiles import Profile

PROTOCOL = (
    "MSE and MAE over all windows (stride {stride}), steps and channels; channels standardised with the mean and the "
    "biased deviation of the train rows; context {context}, horizon {horizon}"
)
# Of the quantile loss, and the intervals whose coverage is told by the levels of their ends.
LEVELS = tuple(tenths / 10 for tenths in range(1, 10))
INTERVALS = {"80 %": (0.1, 0.9), "90 %": (0.05, 0.95)}
# Windows of one column whose quantiles are in memory at a time.
BLOCK = 256


class Figures(BaseModel):
    """Errors in units of the training rows' deviation; MASE and what follows have none.

    ``mase`` is None where the training rows repeat themselves exactly; ``wql``, the weighted quantile loss over
    LEVELS, and ``coverage`` by interval where there are no quantiles.
    """

    mse: float
    mae: float
    mase: float | None
    wql: float | None = None
    coverage: dict[str, float] | None = None


class Scores(Figures):
    """What one way to forecast is worth: over all columns, and by column."""

    forecaster: str
    columns: dict[str, Figures]


class Accuracy(Metric):
    """A model's accuracy beside that of others on the same windows; ``scores`` has the model's own first."""

    season: int
    scores: list[Scores]

    @property
    def metric(self) -> Metric:
        """What a manifest keeps."""
        return Metric.model_validate(self.model_dump(include=set(Metric.model_fields)))


class Quantiles(NamedTuple):
    """What a model's quantiles say of the windows of one column: their losses and what they cover.

    Attributes:
        pinball: the mean pinball loss over LEVELS.
        size: the mean of the absolute actuals.
        coverage: the share that each of INTERVALS covers.
    """

    pinball: float
    size: float
    coverage: list[float]


def cut(data: Dataset, split: Split, context: int, horizon: int, stride: int = 1) -> Windows:
    """Return the windows of a split; raises SetupError where it holds none."""
    try:
        return windows(data.asked(split, context), context, horizon, stride)
    except SetupError as error:
        raise SetupError(f"{data.name}, {split} split: {error}") from error


def settle(data: Dataset) -> Dataset:
    """Return a data set in units near 0 that are neither tiny nor huge, in which its errors are the same."""
    units = find_units(data.values)
    return replace(
        data, values=units.read(data.values), mean=units.read(data.mean), deviation=data.deviation / units.scales
    )


def evaluate(folder: ForecasterFolder, data: Dataset, split: Split, profile: Profile, stride: int = 1) -> Accuracy:
    """Forecast every window of a split, or every ``stride``-th, and return the errors in standardised units.

    The model is asked in the unit of the data set, for quantiles too where it has any, or, where it follows another, in
    one that float32 holds (:func:`settle`). Shows its progress on standard error.

    Raises:
        SetupError: the model cannot be asked with these columns, has a window longer than the split, or is refused.
    """
    check_columns(folder)
    manifest = folder.manifest
    order = _order(folder, data)
    forecaster = ForecastEngine(folder)
    forecaster.load(Compiler(profile, cpu_budget()))
    if follows_units(forecaster, len(order) if manifest.layout == "window" else 1):
        data = settle(data)
    windows = cut(data, split, manifest.context, manifest.horizon, stride)
    forecasts = _forecast(forecaster, windows, order, split)
    points = forecasts if forecasts.ndim == 3 else forecasts[:, :, manifest.quantile_levels.index(0.5)]
    quantiles = _quantiles(forecaster, windows, forecasts, data) if forecaster.has_quantiles else None
    own = score(manifest.name, data, windows, points, quantiles)
    protocol = PROTOCOL.format(context=manifest.context, horizon=manifest.horizon, stride=stride)
    return Accuracy(
        dataset=data.name,
        split=split,
        protocol=f"{protocol}; {data.division}" if data.division else protocol,
        windows=len(windows.pasts),
        mse=own.mse,
        mae=own.mae,
        season=data.season,
        scores=[own, *baseline_scores(data, windows)],
    )


def baseline_scores(data: Dataset, windows: Windows) -> list[Scores]:
    """Return the scores of what needs no model."""
    pasts, horizon = windows.pasts, windows.futures.shape[-1]
    season = min(data.season, pasts.shape[-1])
    return [
        score("last value", data, windows, last_value(pasts, horizon)),
        score(f"seasonal naive ({season} rows)", data, windows, seasonal_naive(pasts, horizon, season)),
        score("drift", data, windows, drift(pasts, horizon)),
    ]


def score(
    name: str,
    data: Dataset,
    windows: Windows,
    forecasts: NDArray[np.floating[Any]],
    quantiles: Sequence[Quantiles] | None = None,
) -> Scores:
    """Return the scores of forecasts [n, columns, horizon], in the unit of the windows.

    A figure over all columns is the mean of theirs, but for the quantile loss, which is that of all values together.
    """
    history = data.standardised[slice(*data.targets["train"])]
    columns = {}
    for index, column in enumerate(data.columns):
        mean, deviation = data.mean[index], data.deviation[index]
        actual = (windows.futures[:, index] - mean) / deviation
        forecast = (forecasts[:, index] - mean) / deviation
        mase = scores.mase(actual, forecast, history[:, index], data.season)
        found = quantiles[index] if quantiles else None
        columns[column] = Figures(
            mse=scores.mse(actual, forecast),
            mae=scores.mae(actual, forecast),
            mase=None if np.isnan(mase) else mase,
            wql=2 * found.pinball / found.size if found else None,
            coverage=dict(zip(INTERVALS, found.coverage, strict=True)) if found else None,
        )
    every = columns.values()
    relative = [figures.mase for figures in every if figures.mase is not None]
    return Scores(
        forecaster=name,
        mse=float(np.mean([figures.mse for figures in every])),
        mae=float(np.mean([figures.mae for figures in every])),
        mase=float(np.mean(relative)) if relative else None,
        wql=2 * sum(each.pinball for each in quantiles) / sum(each.size for each in quantiles) if quantiles else None,
        coverage=(
            dict(zip(INTERVALS, np.mean([each.coverage for each in quantiles], axis=0).tolist(), strict=True))
            if quantiles
            else None
        ),
        columns=columns,
    )


def _order(folder: ForecasterFolder, data: Dataset) -> list[int]:
    """Return the columns of the data set in the order of the model's channels; as they are where it has no order.

    Raises SetupError where channels that cannot stand for each other are not those of the data set.
    """
    manifest, columns = folder.manifest, list(data.columns)
    if manifest.layout == "series":
        return list(range(len(columns)))
    if len(manifest.channels) != len(columns):
        raise SetupError(
            f"{folder.path}: a model of {len(manifest.channels)} channels that depend on each other cannot be scored "
            f"on {data.name}, which has {len(columns)}: name as many with --columns"
        )
    same = set(manifest.channels) == set(columns)
    return [columns.index(channel) for channel in manifest.channels] if same else list(range(len(columns)))


def _forecast(forecaster: ForecastEngine, windows: Windows, order: list[int], split: Split) -> NDArray[np.float32]:
    """Return what is served of each window, [n, columns, horizon], as many together as one inference takes.

    Of a model that has quantiles of its own it is [n, columns, levels, horizon].
    """
    levels = forecaster.manifest.quantile_levels
    count, _, horizon = windows.futures.shape
    forecasts = np.empty((count, len(order), *([len(levels)] if levels else []), horizon), np.float32)
    columns = range(len(order))
    together = max(1, forecaster.most_series // len(order))
    with progress(len(windows.pasts), split) as bar:
        for first in range(0, len(windows.pasts), together):
            starts = range(first, min(first + together, len(windows.pasts)))
            asked = [(windows.pasts[start, order].T, columns) for start in starts]
            if len(asked) == 1:
                answers = [forecaster.forecast(*asked[0], whole=True)[0]]
            else:
                answers, _ = forecaster.forecast_together(asked, whole=True)
            for start, answer in zip(starts, answers, strict=True):
                forecasts[start, order] = np.moveaxis(answer, -1, 0)
            bar.update(len(starts))
    return forecasts


def _quantiles(
    forecaster: ForecastEngine, windows: Windows, forecasts: NDArray[np.float32], data: Dataset
) -> list[Quantiles]:
    """Return what the model's quantiles say of each column; of the channel of its name, where all are the model's."""
    places = forecaster.manifest.places
    known = set(data.columns) <= places.keys()
    levels = sorted({*LEVELS, *itertools.chain(*INTERVALS.values())})
    found = []
    for index, column in enumerate(data.columns):
        mean, deviation = data.mean[index], data.deviation[index]
        pinball, covered, size = 0.0, np.zeros(len(INTERVALS)), 0.0
        for start in range(0, len(forecasts), BLOCK):
            block = slice(start, start + BLOCK)
            made, contexts = forecasts[block, index], windows.pasts[block, index]
            channels = [places[column]] * len(made) if known else None
            scales = deviations(contexts, forecaster.manifest.minimum_variance)
            answered = forecaster.quantiles(levels, np.moveaxis(made, 0, -1), scales, channels)
            scaled = dict(zip(levels, (np.moveaxis(answered, 2, 1) - mean) / deviation, strict=True))
            actual = (windows.futures[block, index] - mean) / deviation
            share = len(made) / len(forecasts)
            pinball += share * scores.quantile_loss(actual, [scaled[level] for level in LEVELS], LEVELS).mean()
            covered += [share * scores.coverage(actual, scaled[low], scaled[high]) for low, high in INTERVALS.values()]
            size += share * float(np.abs(actual).mean())
        found.append(Quantiles(pinball, size, covered.tolist()))
    return found
