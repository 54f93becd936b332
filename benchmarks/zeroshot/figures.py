"""The figures of methods over the windows of data sets, each beside the seasonal naive's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vinocast.data.splits import Dataset
from vinocast.data.windows import Windows, windows
from vinocast.engine.profiles import DEFAULT_PROFILE
from vinocast.engine.tuned import find_profile
from vinocast.errors import SetupError
from vinocast.evaluation import scores
from vinocast.evaluation.calibration import calibrate
from vinocast.evaluation.residuals import Values
from vinocast.forecast.manifest import open_forecaster

from benchmarks.zeroshot.methods import CONTEXT, HORIZON, INNER, LEVELS, Answer, Method, Naive, Served
from benchmarks.zeroshot.sets import Found, made_dataset

# Of the newest points of a window.
SHORT = (64, 128, 256)
# Series of a call whose time is taken.
TIMED = (1, 7)
BANDS = {"80 %": (0.1, 0.9), "90 %": (0.05, 0.95)}


@dataclass(frozen=True)
class Figures:
    """Of one method on one data set; NaN where it has no such quantiles.

    Attributes:
        mae: of the 0.5 quantile, of the naive of what it repeats, in deviations of the training rows.
        mase: the same in units of what the seasonal naive errs by in the training rows.
        wql: weighted quantile loss over INNER.
        coverage: the share of the values within each of BANDS.
    """

    mae: float
    mase: float
    wql: float
    coverage: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """Of one data set.

    Attributes:
        found: the set.
        windows: how many of each column.
        figures: by method.
        short: by points, the model's MAE over the seasonal naive's on the same points.
        calibrated: coverage of the model once it is calibrated on what is before the test windows.
    """

    found: Found
    windows: int
    figures: Mapping[str, Figures]
    short: Mapping[int, float]
    calibrated: Mapping[str, float]


def measure(found: Found, model: Served, others: Sequence[Method], count: int) -> Measured:
    """Forecast about ``count`` windows of the test rows of each column by each method.

    Args:
        found: the data set.
        model: that is looked at: with shorter series, and calibrated, as well.
        others: to compare it with, of which the seasonal naive is one.
        count: windows at most, at even distances.
    """
    data = found.data
    rows = data.asked("test", CONTEXT)
    cut = windows(rows, CONTEXT, HORIZON, max(1, -(-(len(rows) - CONTEXT - HORIZON + 1) // count)))
    figures = {}
    for method in (model, *others):
        method.fit(data)
        figures[method.name] = score(data, cut, method.forecast(data, cut.pasts))
    short = {}
    for points in SHORT:
        own, naive = (score(data, cut, each.forecast(data, cut.pasts[..., -points:])).mae for each in (model, Naive()))
        short[points] = own / naive
    return Measured(found, len(cut.pasts), figures, short, _calibrated(data, cut, model))


def score(data: Dataset, cut: Windows, answer: Answer) -> Figures:
    """Return what a method's answer to some windows is worth, in units of the training rows."""
    mean, deviation = data.mean[:, None], data.deviation[:, None]
    actual = (cut.futures - mean) / deviation
    points, quantiles = ((values - mean) / deviation for values in (answer.points, answer.quantiles))
    inner = [quantiles[LEVELS.index(level)] for level in INNER]
    history = data.standardised[slice(*data.targets["train"])].T
    return Figures(
        scores.mae(actual, points),
        scores.mase(np.swapaxes(actual, 0, 1), np.swapaxes(points, 0, 1), history[:, None], data.season),
        scores.weighted_quantile_loss(actual, inner, INNER),
        {
            name: scores.coverage(actual, low, high) if not np.isnan(low).any() else float("nan")
            for name, band in BANDS.items()
            for low, high in [[quantiles[LEVELS.index(level)] for level in band]]
        },
    )


def _calibrated(data: Dataset, cut: Windows, model: Served) -> Mapping[str, float]:
    """Return the coverage of a model that ``vinocast calibrate`` has made of the rows before the test rows."""
    before = data.values[: data.targets["test"][0]].astype(np.float32)
    # Under names that no model knows, so that one table is made, of all columns together.
    columns = [f"{data.name} {column}" for column in data.columns]
    values = Values(data.name, data.sha256, columns, [before])
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "calibrated"
        try:
            calibrate(model.folder, values, find_profile(DEFAULT_PROFILE), only="others", output=made)
        except SetupError:  # fewer rows than it takes
            return dict.fromkeys(BANDS, float("nan"))
        answer = Served(open_forecaster(made)).forecast(data, cut.pasts)
    return score(data, cut, answer).coverage


@dataclass(frozen=True)
class Times:
    """Medians in milliseconds of one method, by series: of a call, and of its ``infer()``, NaN where it has none."""

    call: Mapping[int, float]
    inference: Mapping[int, float]


def measure_times(methods: Sequence[Method], turns: int) -> dict[str, Times]:
    """Return what a call for one window takes, of one series and of seven, all levels wanted; methods take turns."""
    calls: dict[str, dict[int, float]] = {method.name: {} for method in methods}
    inferences: dict[str, dict[int, float]] = {method.name: {} for method in methods}
    for count in TIMED:
        walks = np.random.default_rng(0).standard_normal((4 * CONTEXT, count)).cumsum(0)
        names = [f"walk {number}" for number in range(count)]
        data = made_dataset("walks", walks, names, "", 1)
        past = data.asked("test", CONTEXT)[None, :CONTEXT].swapaxes(1, 2)
        for method in methods:
            method.fit(data)
        seconds: dict[str, list[tuple[float, float]]] = {method.name: [] for method in methods}
        for _ in range(turns):
            for method in methods:
                for settled in (False, True, True):
                    start = time.perf_counter()
                    answer = method.forecast(data, past)
                    if settled:
                        seconds[method.name].append((1e3 * (time.perf_counter() - start), answer.milliseconds))
        for name, measured in seconds.items():
            calls[name][count], inferences[name][count] = np.median(measured, axis=0).tolist()
    return {method.name: Times(calls[method.name], inferences[method.name]) for method in methods}
