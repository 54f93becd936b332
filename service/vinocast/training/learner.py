"""A training run, step by step: what all nets have in common.

What is random in a step follows from the seed and the step's number alone, so a run that goes on from a checkpoint does
exactly what an uninterrupted one does.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from torch import Tensor

MAXIMUM_GRADIENT_NORM = 1.0
# Prefixes of a checkpoint's tensors.
WEIGHTS, AVERAGE, BEST, FIRST_MOMENT, SECOND_MOMENT = "weights.", "average.", "best.", "moment1.", "moment2."


@dataclass(frozen=True)
class Evaluation(ABC):
    """Errors of the averaged weights on validation, and the mean training loss since the evaluation before."""

    step: int
    loss: float

    @property
    @abstractmethod
    def error(self) -> float:
        """What the best evaluation has least of."""


Net = TypeVar("Net", bound=nn.Module)
E = TypeVar("E", bound=Evaluation)


@dataclass
class Progress(Generic[E]):
    """How far a run has come. ``history`` holds every evaluation, the oldest first."""

    step: int = 0
    history: list[E] = field(default_factory=list)

    @property
    def best(self) -> E:
        """The evaluation of least error, the first of equals."""
        return min(self.history, key=lambda evaluation: evaluation.error)


class Schedule(Protocol):
    """What every recipe says of a run."""

    @property
    def steps(self) -> int:
        """Length of the run."""

    @property
    def evaluate_every(self) -> int:
        """Steps between evaluations."""

    @property
    def weight_decay(self) -> float:
        """Decoupled weight decay."""

    @property
    def ema(self) -> float:
        """Decay of the average."""


class Learner(ABC, Generic[Net, E]):
    """A net that AdamW trains, the exponential average of its weights, and the best of these so far.

    Weight decay acts on matrices, save those that ``undecayed`` names.
    """

    def __init__(self, net: Net, recipe: Schedule, evaluation: type[E], undecayed: Collection[str] = ()) -> None:
        self.net = net.train()
        self.averaged = copy.deepcopy(net).eval()
        self._keep()
        self.progress: Progress[E] = Progress()
        self._schedule = recipe
        self._evaluation = evaluation
        self._losses: list[float] = []  # since the last evaluation
        self._parameters = {name: p for name, p in net.named_parameters() if p.requires_grad}
        decayed = {name for name, p in self._parameters.items() if p.dim() > 1 and name not in undecayed}
        self._optimizer = torch.optim.AdamW(
            [
                {
                    "params": [p for name, p in self._parameters.items() if name in decayed],
                    "weight_decay": recipe.weight_decay,
                },
                {"params": [p for name, p in self._parameters.items() if name not in decayed], "weight_decay": 0.0},
            ]
        )

    @abstractmethod
    def loss(self, step: int) -> Tensor:
        """Return the loss of a step, counted from 0, on the step's examples."""

    @abstractmethod
    def rates(self, step: int) -> tuple[float, float]:
        """Return the learning rate and Adam's first beta for a step."""

    @abstractmethod
    def validate(self) -> tuple[Any, ...]:
        """Return what an evaluation holds beyond step and loss."""

    @property
    def finished(self) -> bool:
        """Whether the schedule has ended."""
        return self.progress.step >= self._schedule.steps

    @property
    def evaluation_is_due(self) -> bool:
        """Whether :meth:`evaluate` belongs after the last step."""
        return self.progress.step % self._schedule.evaluate_every == 0 or self.progress.step == self._schedule.steps

    def advance(self) -> float:
        """Train one step and return its loss."""
        step = self.progress.step
        loss = self.loss(step)
        self._descend(loss, step)
        self.progress.step = step + 1
        self._losses.append(loss.item())
        return self._losses[-1]

    def evaluate(self) -> E:
        """Validate the averaged weights and keep them if they are the best; raises SetupError on divergence."""
        evaluation = self._evaluation(self.progress.step, sum(self._losses) / len(self._losses), *self.validate())
        if not (math.isfinite(evaluation.loss) and math.isfinite(evaluation.error)):
            raise SetupError(f"training diverged before step {evaluation.step}: lower --learning-rate")
        self._losses.clear()
        self.progress.history.append(evaluation)
        if self.progress.best is evaluation:
            self._keep()
        return evaluation

    def _descend(self, loss: Tensor, step: int) -> None:
        """Take a step down a loss, and average the weights."""
        rate, momentum = self.rates(step)
        for group in self._optimizer.param_groups:
            group["lr"], group["betas"] = rate, (momentum, 0.999)
        self.net.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), MAXIMUM_GRADIENT_NORM)
        self._optimizer.step()
        self._step_others(rate)
        # The first steps count for less than the decay says, or the first weights would stay for hundreds of steps.
        self._average(min(self._schedule.ema, (2 + step) / (11 + step)))

    def _step_others(self, rate: float) -> None:
        """Take the step of parameters that a subclass has taken from AdamW."""

    def _keep(self) -> None:
        """Keep the averaged weights as the best."""
        self.best = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that a run needs to go on after an evaluation, as tensors and as JSON."""
        parts = {
            WEIGHTS: self.net.state_dict(),
            AVERAGE: self.averaged.state_dict(),
            BEST: self.best,
            FIRST_MOMENT: {n: self._optimizer.state[p]["exp_avg"] for n, p in self._by_adam()},
            SECOND_MOMENT: {n: self._optimizer.state[p]["exp_avg_sq"] for n, p in self._by_adam()},
        }
        tensors = {
            prefix + name: tensor.contiguous() for prefix, part in parts.items() for name, tensor in part.items()
        }
        return tensors, asdict(self.progress)

    def restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Go on from a :meth:`state` of a run of the same recipe and examples."""
        self.progress = Progress(progress["step"], [self._evaluation(**entry) for entry in progress["history"]])
        self.net.load_state_dict(_part(tensors, WEIGHTS))
        self.averaged.load_state_dict(_part(tensors, AVERAGE))
        self.best = _part(tensors, BEST)
        first, second = _part(tensors, FIRST_MOMENT), _part(tensors, SECOND_MOMENT)
        for name, parameter in self._by_adam():
            # In the layout of the parameter in memory, which a checkpoint does not keep.
            moments = [torch.empty_like(parameter).copy_(part[name]) for part in (first, second)]
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(self.progress.step)),
                "exp_avg": moments[0],
                "exp_avg_sq": moments[1],
            }

    def _by_adam(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return the parameters that AdamW steps, with their names."""
        own = {id(parameter) for group in self._optimizer.param_groups for parameter in group["params"]}
        return ((name, parameter) for name, parameter in self._parameters.items() if id(parameter) in own)

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        for average, value in zip(self.averaged.state_dict().values(), self.net.state_dict().values(), strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
