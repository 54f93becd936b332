"""Ways to forecast, each with quantiles: the served models, and others to compare them with.

A window is [columns, points] in the unit of its data set, the oldest point first.
"""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import vinocast
from numpy.typing import NDArray
from vinocast.data.splits import Dataset
from vinocast.data.windows import Windows, windows
from vinocast.errors import SetupError
from vinocast.evaluation.baselines import residual_quantiles, seasonal_naive
from vinocast.forecast.manifest import ForecasterFolder
from vinocast.forecast.quantiles import deviations
from vinocast.training.teacher import fit_best_ridge, forecast_by

Array = NDArray[np.floating[Any]]
CONTEXT, HORIZON = 512, 96
# Of the quantile loss, and outside them the ends of the 90 % band.
INNER = tuple(level / 10 for level in range(1, 10))
LEVELS = (0.05, *INNER, 0.95)
# Of the windows that ridge learns from: neighbours say the same.
RIDGE_WINDOWS = 9000
# Series of a call, as each takes 8 MB.
FRACAST_SERIES = 32


class Answer(NamedTuple):
    """Forecasts [n, columns, horizon], and quantiles [LEVELS, n, columns, horizon], NaN where there are none.

    ``milliseconds`` is what the inference takes by the model's own word; NaN where it has none.
    """

    points: Array
    quantiles: Array
    milliseconds: float = float("nan")


class Method(Protocol):
    """One way to forecast."""

    name: str

    def fit(self, data: Dataset) -> None:
        """Learn what may be learned of a data set before its test windows."""

    def forecast(self, data: Dataset, pasts: Array) -> Answer:
        """Forecast windows [n, columns, points] of a data set, of at most CONTEXT points."""


class Naive:
    """The last season again; its quantiles are what that erred by within each window."""

    name = "seasonal naive"

    def fit(self, data: Dataset) -> None:
        """Nothing is learned."""

    def forecast(self, data: Dataset, pasts: Array) -> Answer:
        """See ``Method``; with fewer points than a season the last value."""
        season = data.season if pasts.shape[-1] >= data.season else 1
        repeat = partial(seasonal_naive, season=season)
        quantiles = residual_quantiles(repeat, pasts, HORIZON, LEVELS, least=max(2, season))
        return Answer(repeat(pasts, HORIZON), quantiles)


class Ridge:
    """A regression for each column and step, of the training rows; quantiles are residuals of the validation rows."""

    name = "ridge, trained on the set"

    def fit(self, data: Dataset) -> None:
        """Fit the regressions, and their residuals over the deviation of each window."""
        self._weights = None
        try:
            train, validation = (self._windows(data, split) for split in ("train", "validation"))
        except SetupError:  # fewer rows than a window and what follows it
            return
        self._weights = fit_best_ridge(train, validation)
        errors = validation.futures - forecast_by(self._weights, validation.pasts)
        self._residuals = np.quantile(errors / deviations(validation.pasts)[..., None], LEVELS, axis=0)

    def forecast(self, data: Dataset, pasts: Array) -> Answer:
        """See ``Method``; all windows have CONTEXT points. NaN where there was too little to learn of."""
        if self._weights is None:
            nothing = np.full((*pasts.shape[:2], HORIZON), np.nan)
            return Answer(nothing, np.stack([nothing] * len(LEVELS)))
        mean, deviation = data.mean[:, None], data.deviation[:, None]
        scaled = ((pasts - mean) / deviation).astype(np.float32)
        points = forecast_by(self._weights, scaled)
        quantiles = points + self._residuals[:, None] * deviations(scaled)[..., None]
        return Answer(points * deviation + mean, quantiles * deviation + mean)

    @staticmethod
    def _windows(data: Dataset, split: Any) -> Windows:
        rows = data.rows(split, CONTEXT)
        return windows(rows, CONTEXT, HORIZON, max(1, len(rows) // RIDGE_WINDOWS))


class Served:
    """A model as it is served, which has quantiles; its points are its median."""

    def __init__(self, folder: ForecasterFolder) -> None:
        self.folder = folder
        self.model = vinocast.load(folder.path)
        self.name = self.model.name

    def fit(self, data: Dataset) -> None:
        """Nothing is learned."""

    def forecast(self, data: Dataset, pasts: Array) -> Answer:
        """See ``Method``; fewer points are padded as the service does."""
        channels = None if tuple(data.columns) == self.model.channels else list(data.columns)
        answer = self.model.forecast(np.swapaxes(pasts, 1, 2), channels=channels, short="pad", quantile_levels=LEVELS)
        quantiles = np.stack([np.swapaxes(answer.quantiles[level], 1, 2) for level in LEVELS])
        return Answer(quantiles[LEVELS.index(0.5)], quantiles, answer.inference_time_ms)


class Fracast:
    """Fracast-0 of the package ``fracast``: 85,001 parameters, nine quantiles, 48 steps at a time."""

    name = "Fracast-0"

    def __init__(self) -> None:
        from fracast import FracastModel  # noqa: PLC0415 - not everybody has it

        self._model = FracastModel.from_pretrained(weights="fp32")

    def fit(self, data: Dataset) -> None:
        """Nothing is learned."""

    def forecast(self, data: Dataset, pasts: Array) -> Answer:  # noqa: ARG002 - the signature of Method
        """See ``Method``."""
        series = pasts.reshape(-1, pasts.shape[-1])
        parts = [series[start : start + FRACAST_SERIES] for start in range(0, len(series), FRACAST_SERIES)]
        made = np.concatenate([self._model.forecast_batch(part, horizon=HORIZON) for part in parts])
        inner = np.moveaxis(made, -1, 0).reshape(len(INNER), *pasts.shape[:2], HORIZON)
        outer = np.full((1, *inner.shape[1:]), np.nan)
        return Answer(inner[INNER.index(0.5)], np.concatenate([outer, inner, outer]))


def others() -> tuple[list[Method], list[str]]:
    """Return the naive, ridge and Fracast, or a line where that is missing.

    Models that are served are loaded before, as OpenVINO reads the cap on the instruction set once in a process.
    """
    methods: list[Method] = [Naive(), Ridge()]
    if importlib.util.find_spec("fracast") is None:
        return methods, ["Fracast-0: the package fracast is not installed"]
    return [*methods, Fracast()], []
