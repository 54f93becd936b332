"""One training run, step by step.

What is random in a step follows from the seed and the step's number alone, so a run that goes on from a checkpoint does
exactly what an uninterrupted one does.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from vinocast.errors import SetupError
from vinocast.training.learner import Learner
from vinocast.training.patchtst import Dropout, forward, new_model, standardise
from vinocast.training.teacher import Teacher, fit_ridge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PatchTSTForPrediction

    from vinocast.training.recipe import Recipe

# Series a batch of validation; of more, the activations no longer fit a cache and it takes half as long again.
VALIDATION_BATCH = 128


class Windows(NamedTuple):
    """Windows of a split: pasts [n, channels, context] and futures [n, channels, horizon], float32."""

    pasts: NDArray[np.float32]
    futures: NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """Errors of the averaged weights on validation windows, and the mean training loss since the evaluation before."""

    step: int
    loss: float
    mse: float
    mae: float


@dataclass
class Progress:
    """How far a run has come. ``history`` holds every evaluation, the oldest first."""

    step: int = 0
    history: list[Evaluation] = field(default_factory=list)

    @property
    def best(self) -> Evaluation:
        """The evaluation of least MSE, the first of equals."""
        return min(self.history, key=lambda evaluation: evaluation.mse)


class Run(Learner["PatchTSTForPrediction"]):
    """A model in training on series drawn from windows, its averaged weights, and the best of these so far.

    ``teacher_models`` are forecasters that the recipe's teacher consults. Raises SetupError when there are fewer
    series than a batch takes.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: Windows,
        validation: Windows,
        teacher_models: Sequence[PatchTSTForPrediction] = (),
    ) -> None:
        super().__init__(new_model(recipe), recipe.weight_decay, recipe.ema)
        self.recipe = recipe
        self.progress = Progress()
        self._train, self._validation = train, validation
        self._series = len(train.pasts) * train.pasts.shape[1]
        if self._series < recipe.batch:
            raise SetupError(f"a batch of {recipe.batch} series cannot be drawn from {self._series}: lower --batch")
        self._teacher = Teacher(fit_ridge(*train, recipe.ridge), teacher_models) if recipe.teacher else None
        self._loss_sum, self._loss_steps = 0.0, 0

    @property
    def finished(self) -> bool:
        """Whether the schedule has ended, or patience has."""
        progress = self.progress
        stale = len(progress.history) - 1 - progress.history.index(progress.best) if progress.history else 0
        return progress.step >= self.recipe.steps or stale >= self.recipe.patience

    @property
    def evaluation_is_due(self) -> bool:
        """Whether :meth:`evaluate` belongs after the last step."""
        return self.progress.step % self.recipe.evaluate_every == 0 or self.progress.step == self.recipe.steps

    def advance(self) -> float:
        """Train one step and return its loss, the mean absolute error in standardised units."""
        recipe, step = self.recipe, self.progress.step
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

        self.descend(loss, step, *one_cycle(recipe, step))
        self.progress.step = step + 1
        value = loss.item()
        self._loss_sum, self._loss_steps = self._loss_sum + value, self._loss_steps + 1
        return value

    def evaluate(self) -> Evaluation:
        """Validate the averaged weights and keep them if they are the best; raises SetupError on divergence."""
        mse, mae = validate(self.averaged, self._validation, bf16=self.recipe.bf16)
        evaluation = Evaluation(self.progress.step, self._loss_sum / self._loss_steps, mse, mae)
        if not math.isfinite(mse):
            raise SetupError(f"training diverged before step {evaluation.step}: lower --learning-rate")
        self._loss_sum, self._loss_steps = 0.0, 0
        self.progress.history.append(evaluation)
        if self.progress.best is evaluation:
            self.keep()
        return evaluation

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that a run needs to go on after an evaluation, as tensors and as JSON."""
        return self.tensors(), asdict(self.progress)

    def restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Go on from a :meth:`state` of a run of the same recipe and windows."""
        history = [Evaluation(**evaluation) for evaluation in progress["history"]]
        self.progress = Progress(progress["step"], history)
        self.restore_tensors(tensors, self.progress.step)

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
def validate(model: PatchTSTForPrediction, windows: Windows, *, bf16: bool) -> tuple[float, float]:
    """Return MSE and MAE of a model in eval mode over all windows, steps and channels."""
    squared = absolute = 0.0
    for past, future in _batches(windows):
        series, mean, deviation = standardise(past)
        with _autocast(bf16):
            forecast = forward(model, series, Dropout())
        error = forecast.float() * deviation + mean - future
        squared += error.square().sum(dtype=torch.float64).item()
        absolute += error.abs().sum(dtype=torch.float64).item()
    return squared / windows.futures.size, absolute / windows.futures.size


def _batches(windows: Windows) -> Iterator[tuple[Tensor, ...]]:
    size = max(1, VALIDATION_BATCH // windows.pasts.shape[1])
    for start in range(0, len(windows.pasts), size):
        yield tuple(torch.from_numpy(values[start : start + size].copy()).flatten(0, 1) for values in windows)


def _autocast(bf16: bool) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)
