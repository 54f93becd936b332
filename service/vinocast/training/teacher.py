"""The teacher of a training run: a ridge regression in closed form, alone or averaged with trained forecasters.

The two kinds err in different places, so their mean forecasts better than either, and a student that follows it sees
less of the data's noise (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vinocast.training.patchtst import Dropout, forward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PatchTSTForPrediction

    from vinocast.data.windows import Windows

# Windows a block: bounds the memory of their copies in float64.
BLOCK = 512
# To choose among; by decades, as a fit hardly changes within one.
PENALTIES = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5)


def fit_ridge(pasts: NDArray[np.float32], futures: NDArray[np.float32], ridge: float) -> Tensor:
    """Return the weights [context, horizon] that map a window, less its mean, to what follows it, less the same mean.

    The solution of (X'X + p I) W = X'Y over all windows and channels, with p = ridge * mean square of X.

    Args:
        pasts: [n, channels, context].
        futures: [n, channels, horizon].
        ridge: the penalty, free of the data's unit.
    """
    return _solve(*_products(pasts, futures), ridge)


def fit_best_ridge(train: Windows, validation: Windows) -> Tensor:
    """Return such weights of each column [columns, context, horizon], its penalty of PENALTIES chosen by validation."""
    best = []
    for column in range(train.pasts.shape[1]):
        one = slice(column, column + 1)
        products = _products(train.pasts[:, one], train.futures[:, one])
        tried = [_solve(*products, penalty) for penalty in PENALTIES]
        errors = [
            float(np.square(forecast_by(weights[None], validation.pasts[:, one]) - validation.futures[:, one]).mean())
            for weights in tried
        ]
        best.append(tried[int(np.argmin(errors))])
    return torch.stack(best)


def forecast_by(weights: Tensor, pasts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Forecast windows [n, columns, context] in any unit by weights [columns, context, horizon].

    Returns float32 [n, columns, horizon].
    """
    forecasts = np.empty((*pasts.shape[:2], weights.shape[-1]), np.float32)
    for column, each in enumerate(weights.double()):
        for start in range(0, len(pasts), BLOCK):
            past = torch.from_numpy(pasts[start : start + BLOCK, column].astype(np.float64))
            mean = past.mean(1, keepdim=True)
            forecasts[start : start + BLOCK, column] = ((past - mean) @ each + mean).numpy()
    return forecasts


def _products(pasts: NDArray[np.float32], futures: NDArray[np.float32]) -> tuple[Tensor, Tensor, Tensor]:
    """Return X'X, X'Y and the mean square of X over all windows and channels, float64."""
    context, horizon = pasts.shape[-1], futures.shape[-1]
    gram = torch.zeros(context, context, dtype=torch.float64)
    cross = torch.zeros(context, horizon, dtype=torch.float64)
    for start in range(0, len(pasts), BLOCK):
        x, y = (
            torch.from_numpy(values[start : start + BLOCK].astype(np.float64)).flatten(0, 1)
            for values in (pasts, futures)
        )
        mean = x.mean(1, keepdim=True)
        gram += (x - mean).T @ (x - mean)
        cross += (x - mean).T @ (y - mean)
    return gram, cross, gram.trace() / (context * len(pasts) * pasts.shape[1])


def _solve(gram: Tensor, cross: Tensor, mean_square: Tensor, ridge: float) -> Tensor:
    weights: Tensor = torch.linalg.solve(gram + ridge * mean_square * torch.eye(len(gram)), cross)
    return weights.float()


class Teacher:
    """Forecasts by ridge regression, or by the mean of that and of the mean of trained forecasters."""

    def __init__(self, ridge_weights: Tensor, models: Sequence[PatchTSTForPrediction] = ()) -> None:
        self._ridge_weights = ridge_weights
        self._models = [model.eval() for model in models]

    @torch.no_grad()
    def __call__(self, series: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """Forecast standardised series [n, context]; returns [n, horizon] in the unit of ``mean`` and ``deviation``."""
        with torch.autocast("cpu", enabled=False):  # a sum of 512 products is not for bfloat16
            forecast = series @ self._ridge_weights
        if self._models:
            learned = [forward(model, series, Dropout()).float() for model in self._models]
            forecast = (forecast + sum(learned) / len(learned)) / 2
        return forecast * deviation + mean
