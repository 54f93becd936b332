"""The general forecaster in training, step by step."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from vinocast.training.general import series
from vinocast.training.general.model import BOUND, QUANTILES, GeneralForecaster, standardise
from vinocast.training.general.validation import Family, families
from vinocast.training.learner import Evaluation, Learner

if TYPE_CHECKING:
    from torch import Tensor

    from vinocast.training.general.processes import Floats
    from vinocast.training.general.recipe import GeneralRecipe

# The rate that the schedule ends at, as a part of its highest.
LAST_RATE = 0.01
# Of the errors that an evaluation holds.
DIGITS = 5
# Prefix of a checkpoint's tensors.
MOMENTUM = "momentum."


@dataclass(frozen=True)
class GeneralEvaluation(Evaluation):
    """Errors on the families of validation, as parts of the seasonal naive's MAE; their geometric means and each.

    Attributes:
        wql: of the weighted quantile losses over nine levels.
        mae: of the mean absolute errors of the medians.
        families: of each family, its weighted quantile loss and its MAE.
    """

    wql: float
    mae: float
    families: dict[str, list[float]] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """The weighted quantile loss."""
        return self.wql


class GeneralLearner(Learner[GeneralForecaster, GeneralEvaluation]):
    """The model in training on synthetic series, which a thread makes one step ahead."""

    def __init__(self, recipe: GeneralRecipe) -> None:
        torch.manual_seed(recipe.seed)
        super().__init__(GeneralForecaster(), recipe, GeneralEvaluation, undecayed=("position", "analogs.prior"))
        self.recipe = recipe
        # Muon (Jordan et al., 2024) steps the matrices of the layers, by rates that suit AdamW; AdamW all else.
        self._matrices = {n: p for n, p in self._parameters.items() if n.startswith("layers.") and p.dim() == 2}
        for group in self._optimizer.param_groups:
            group["params"] = [p for p in group["params"] if all(p is not matrix for matrix in self._matrices.values())]
        self._muon = torch.optim.Muon(
            list(self._matrices.values()), weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self._began = 0  # the step at which the optimizer began
        self._families = families()
        self._maker = ThreadPoolExecutor(1, "series")
        self._next: tuple[int, Future[tuple[Floats, Floats, Floats]]] | None = None

    def loss(self, step: int) -> Tensor:
        """Return twice the mean pinball loss of a step, in deviations of the contexts' known parts."""
        past, future, weight = (torch.from_numpy(part) for part in self._made(step))
        standard, mean, deviation = standardise(past)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.recipe.bf16):
            quantiles = self.net(standard)
        return pinball(quantiles, ((future - mean) / deviation).clamp(-BOUND, BOUND)).mean(-1).mul(weight).mean()

    def rates(self, step: int) -> tuple[float, float]:
        """Return a cosine's rate over all steps, lower while the optimizer is new, and Adam's first beta."""
        height = (1 + math.cos(math.pi * min(1.0, step / self.recipe.steps))) / 2
        rate = self.recipe.learning_rate * (LAST_RATE + (1 - LAST_RATE) * height)
        return rate * min(1.0, (step - self._began + 1) / max(1, self.recipe.warm_up)), 0.9

    @torch.no_grad()
    def validate(self) -> tuple[float, float, dict[str, list[float]]]:
        """Return the errors of the averaged weights."""
        each = {family.name: self._errors(family) for family in self._families}
        wql, mae = (math.exp(sum(math.log(errors[part]) for errors in each.values()) / len(each)) for part in (0, 1))
        return round(wql, DIGITS), round(mae, DIGITS), each

    @property
    def began(self) -> bool:
        """Whether a step has been taken since the optimizer was new, so that there is a state to keep."""
        return self.progress.step > self._began

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the base's state with Muon's momentum."""
        tensors, progress = super().state()
        momentum = {MOMENTUM + n: self._muon.state[p]["momentum_buffer"] for n, p in self._matrices.items()}
        return tensors | momentum, progress

    def restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Go on from a :meth:`state` of a run of the same recipe."""
        super().restore(tensors, progress)
        for name, matrix in self._matrices.items():
            self._muon.state[matrix]["momentum_buffer"] = tensors[MOMENTUM + name].clone()

    def begin_at(self, weights: dict[str, Tensor], step: int) -> None:
        """Go on from averaged weights alone, with a new optimizer."""
        self.net.load_state_dict(weights)
        self.averaged.load_state_dict(weights)
        self._keep()
        self.progress.step = self._began = step

    def _step_others(self, rate: float) -> None:
        for group in self._muon.param_groups:
            group["lr"] = rate
        self._muon.step()  # type: ignore[no-untyped-call]  # torch has left it untyped

    def _errors(self, family: Family) -> list[float]:
        standard, mean, deviation = standardise(torch.from_numpy(family.past))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.recipe.bf16):
            quantiles = self.averaged(standard)
        target = (torch.from_numpy(family.future) - mean) / deviation
        absolute = (quantiles[..., len(QUANTILES) // 2] - target).abs().mean().item()
        wql = pinball(quantiles, target).mean().item()
        return [round(error / family.naive, DIGITS) for error in (wql, absolute)]

    def _made(self, step: int) -> tuple[Floats, Floats, Floats]:
        """Return a step's examples, and have the next step's made meanwhile."""
        ahead, self._next = self._next, None
        made = ahead[1].result() if ahead and ahead[0] == step else self._make(step)
        if step + 1 < self.recipe.steps:
            self._next = step + 1, self._maker.submit(self._make, step + 1)
        return made

    def _make(self, step: int) -> tuple[Floats, Floats, Floats]:
        return series.batch(self.recipe.seed, step, self.recipe.batch)


def pinball(quantiles: Tensor, target: Tensor) -> Tensor:
    """Return twice the pinball loss of quantiles [n, horizon, 9] for [n, horizon]: the absolute error at the median."""
    level = torch.tensor(QUANTILES)
    error = target[..., None] - quantiles
    return 2 * torch.maximum(level * error, (level - 1) * error)
