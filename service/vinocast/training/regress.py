"""A forecaster in training, step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vinocast.errors import SetupError
from vinocast.training.learner import Evaluation, Learner
from vinocast.training.patchtst import Dropout, forward, standardise
from vinocast.training.start import SCRATCH, Start
from vinocast.training.teacher import Teacher, fit_ridge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PatchTSTForPrediction

    from vinocast.data.windows import Windows
    from vinocast.training.recipe import Recipe

# Series per batch of validation; of more, the activations no longer fit a cache and it takes half as long again.
VALIDATION_BATCH = 128


@dataclass(frozen=True)
class ForecasterEvaluation(Evaluation):
    """Errors on validation windows, in standardised units."""

    mse: float
    mae: float

    @property
    def error(self) -> float:
        """The MSE."""
        return self.mse


class ForecasterLearner(Learner["PatchTSTForPrediction", ForecasterEvaluation]):
    """A model in training on series drawn from windows, its averaged weights, and the best of these so far.

    ``start`` says what the run begins with, and ``teacher_models`` are forecasters that the recipe's teacher consults.
    Raises SetupError when there are fewer series than a batch takes.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: Windows,
        validation: Windows,
        teacher_models: Sequence[PatchTSTForPrediction] = (),
        start: Start = SCRATCH,
    ) -> None:
        super().__init__(start.model(recipe), recipe, ForecasterEvaluation)
        self.recipe = recipe
        self._train, self._validation = train, validation
        self._series = len(train.pasts) * train.pasts.shape[1]
        if self._series < recipe.batch:
            raise SetupError(f"a batch of {recipe.batch} series cannot be drawn from {self._series}: lower --batch")
        self._teacher = Teacher(fit_ridge(*train, recipe.ridge), teacher_models) if recipe.teacher else None

    def begin(self) -> None:
        """Make what the run begins with its first evaluation, so that it stays the best until training beats it.

        Its training loss, of which there is none yet, is the error on validation.
        """
        mse, mae = self.validate()
        self.progress.history.append(ForecasterEvaluation(0, mae, mse, mae))

    @property
    def finished(self) -> bool:
        """Whether the schedule has ended, or patience has."""
        progress = self.progress
        stale = len(progress.history) - 1 - progress.history.index(progress.best) if progress.history else 0
        return super().finished or stale >= self.recipe.patience

    def loss(self, step: int) -> Tensor:
        """Return the mean absolute error of a step in standardised units, with the teacher's part."""
        recipe = self.recipe
        generator = np.random.Generator(np.random.SFC64([recipe.seed, step]))
        past, future = self._draw(step)
        if recipe.mixtures:
            past, future = _mix(past, future, round(recipe.batch * recipe.mixtures), generator)
        if recipe.sign_flips:
            sign = torch.from_numpy(generator.choice(np.array([-1, 1], np.float32), (recipe.batch, 1)))
            past, future = past * sign, future * sign
        series, mean, deviation = standardise(past)
        with _autocast(recipe.bf16):
            forecast = forward(self.net, series, Dropout(generator)).float() * deviation + mean
            lesson = self._teacher(series, mean, deviation) if self._teacher else None
        loss = (forecast - future).abs().mean()
        if lesson is not None:
            loss = (1 - recipe.teacher) * loss + recipe.teacher * (forecast - lesson).abs().mean()
        return loss

    def rates(self, step: int) -> tuple[float, float]:
        """Return those of :func:`one_cycle`."""
        return one_cycle(self.recipe, step)

    def validate(self) -> tuple[float, float]:
        """Return MSE and MAE of the averaged weights."""
        return validate(self.averaged, self._validation, bf16=self.recipe.bf16)

    def _draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the batch of a step: [batch, context] and [batch, horizon]. An epoch draws no series twice."""
        epoch, turn = divmod(step, self._series // self.recipe.batch)
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(self._series)
        drawn = order[turn * self.recipe.batch : (turn + 1) * self.recipe.batch]
        window, channel = np.divmod(drawn, self._train.pasts.shape[1])
        past, future = (torch.from_numpy(values[window, channel]) for values in self._train)
        return past, future


def _mix(past: Tensor, future: Tensor, count: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Replace the first ``count`` series by convex mixtures with others of the batch, in the units of the first.

    Mixup (Zhang et al., 2018) of standardised windows, so that no channel's level drowns another's.
    """
    series, mean, deviation = standardise(past)
    target = (future - mean) / deviation
    partner = torch.from_numpy(generator.integers(0, len(past), count))
    share = torch.from_numpy(generator.beta(0.5, 0.5, (count, 1)).astype(np.float32))
    series[:count] = share * series[:count] + (1 - share) * series[partner]
    target[:count] = share * target[:count] + (1 - share) * target[partner]
    return series * deviation + mean, target * deviation + mean


def one_cycle(recipe: Recipe, step: int) -> tuple[float, float]:
    """Return the learning rate and Adam's first beta for a step, counted from 0.

    The one-cycle policy of Smith and Topin, "Super-Convergence" (2019), with the cosines and the constants of torch's
    OneCycleLR.
    """
    peak, last = recipe.warm_up * recipe.steps - 1, recipe.steps - 1
    rising = step < peak
    distance = 1 - step / peak if rising else (step - peak) / (last - peak)
    height = (1 + math.cos(math.pi * distance)) / 2
    lowest = recipe.learning_rate / (25 if rising else 25e4)
    return lowest + (recipe.learning_rate - lowest) * height, 0.95 - 0.1 * height


@torch.no_grad()
def forecast_series(model: PatchTSTForPrediction, past: Tensor, *, bf16: bool = False) -> Tensor:
    """Forecast series [n, context] by a model in eval mode; returns [n, horizon], float32 in their unit."""
    series, mean, deviation = standardise(past)
    with _autocast(bf16):
        forecast = forward(model, series, Dropout())
    return forecast.float() * deviation + mean


def forecast_windows(model: PatchTSTForPrediction, windows: Windows) -> NDArray[np.float32]:
    """Forecast windows by a model in eval mode; returns [n, channels, horizon], float32 in their unit."""
    forecasts = torch.cat([forecast_series(model, past) for past, _ in _batches(windows)])
    return forecasts.view(windows.futures.shape).numpy()


def validate(model: PatchTSTForPrediction, windows: Windows, *, bf16: bool) -> tuple[float, float]:
    """Return MSE and MAE of a model in eval mode over all windows, steps and channels."""
    squared = absolute = 0.0
    for past, future in _batches(windows):
        error = forecast_series(model, past, bf16=bf16) - future
        squared += error.square().sum(dtype=torch.float64).item()
        absolute += error.abs().sum(dtype=torch.float64).item()
    return squared / windows.futures.size, absolute / windows.futures.size


def _batches(windows: Windows) -> Iterator[tuple[Tensor, ...]]:
    size = max(1, VALIDATION_BATCH // windows.pasts.shape[1])
    for start in range(0, len(windows.pasts), size):
        yield tuple(torch.from_numpy(values[start : start + size].copy()).flatten(0, 1) for values in windows)


def _autocast(bf16: bool) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)
