"""Training of Phase 2, step by step.

What is random in a step follows from the seed and the step's number alone (torch's dropout included), so a run that
goes on from a checkpoint does what an uninterrupted one does.
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from service.errors import SetupError
from service.export.glyphs.nets import GRID_SIDE, PRIMITIVES, VARIANTS, Phase2Net

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from service.training.glyphs.recipe import Recipe

MAXIMUM_GRADIENT_NORM = 1.0
INFERENCE_BATCH = 256
# Prefixes of a checkpoint's tensors.
WEIGHTS, AVERAGE, BEST, FIRST_MOMENT, SECOND_MOMENT = "weights.", "average.", "best.", "moment1.", "moment2."


class Examples(NamedTuple):
    """Grids uint16 [n, 256] and the indices of their labels int64 [n]."""

    grids: NDArray[np.uint16]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """Top-1 of the averaged weights on validation, and the mean training loss since the evaluation before."""

    step: int
    loss: float
    top1: float


@dataclass
class Progress:
    """How far a run has come. ``history`` holds every evaluation, the oldest first."""

    step: int = 0
    history: list[Evaluation] = field(default_factory=list)

    @property
    def best(self) -> Evaluation:
        """The evaluation of highest top-1, the first of equals."""
        return max(self.history, key=lambda evaluation: evaluation.top1)


class Run:
    """Phase 2 in training, its averaged weights, and the best of these so far.

    ``centres`` float32 [clusters, 64] give the embedding its first values: the pixels a primitive stands for, turned
    onto their principal axes, so that the first convolutions see shapes and not numbers.
    """

    def __init__(
        self, recipe: Recipe, labels: int, centres: NDArray[np.float32], train: Examples, validation: Examples
    ) -> None:
        self.recipe = recipe
        self.progress = Progress()
        self._train, self._validation = train, validation
        torch.manual_seed(recipe.seed)
        architecture = replace(
            VARIANTS[recipe.variant], dropout=recipe.dropout, classifier_dropout=recipe.classifier_dropout
        )
        self.net = Phase2Net(architecture, labels)
        with torch.no_grad():
            self.net.embedding.weight.copy_(first_embedding(centres, architecture.embedding))
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's own stubs leave it out
        self.net.train()
        self.averaged = copy.deepcopy(self.net).eval()
        self.best = _snapshot(self.averaged)
        self._parameters = dict(self.net.named_parameters())
        matrices = [p for n, p in self._parameters.items() if p.dim() > 1 and n != "embedding.weight"]
        rest = [p for n, p in self._parameters.items() if p.dim() <= 1 or n == "embedding.weight"]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        )
        self._chances = _chances(train.labels, recipe.balance)
        self._loss_sum, self._loss_steps = 0.0, 0

    @property
    def finished(self) -> bool:
        """Whether the schedule has ended."""
        return self.progress.step >= self.recipe.steps

    @property
    def evaluation_is_due(self) -> bool:
        """Whether :meth:`evaluate` belongs after the last step."""
        return self.progress.step % self.recipe.evaluate_every == 0 or self.finished

    def advance(self) -> float:
        """Train one step and return its loss."""
        recipe, step = self.recipe, self.progress.step
        for group in self._optimizer.param_groups:
            group["lr"] = rate(recipe, step)
        generator = np.random.Generator(np.random.SFC64([recipe.seed, step]))
        torch.manual_seed(int(generator.integers(1 << 62)))
        drawn = np.searchsorted(self._chances, generator.random(recipe.batch) * self._chances[-1], side="right")
        grids = self._train.grids[drawn]
        grids[generator.random(grids.shape, np.float32) < recipe.id_dropout] = 0
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
            logits = self.net(_grids(grids))
        loss = nn.functional.cross_entropy(
            logits.float(), torch.from_numpy(self._train.labels[drawn]), label_smoothing=recipe.smoothing
        )
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), MAXIMUM_GRADIENT_NORM)
        self._optimizer.step()
        self.progress.step = step + 1
        self._average()
        value = loss.item()
        self._loss_sum, self._loss_steps = self._loss_sum + value, self._loss_steps + 1
        return value

    def evaluate(self) -> Evaluation:
        """Validate the averaged weights and keep them if they are the best; raises SetupError on divergence."""
        ranked = rank(self.averaged, self._validation.grids, 1, bf16=self.recipe.bf16)
        top1 = float((ranked[:, 0] == self._validation.labels).mean())
        evaluation = Evaluation(self.progress.step, self._loss_sum / self._loss_steps, top1)
        if not math.isfinite(evaluation.loss):
            raise SetupError(f"training diverged before step {evaluation.step}: lower --learning-rate")
        self._loss_sum, self._loss_steps = 0.0, 0
        self.progress.history.append(evaluation)
        if self.progress.best is evaluation:
            self.best = _snapshot(self.averaged)
        return evaluation

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that a run needs to go on after an evaluation, as tensors and as JSON."""
        tensors = {
            WEIGHTS: self.net.state_dict(),
            AVERAGE: self.averaged.state_dict(),
            BEST: self.best,
            FIRST_MOMENT: {n: self._optimizer.state[p]["exp_avg"] for n, p in self._parameters.items()},
            SECOND_MOMENT: {n: self._optimizer.state[p]["exp_avg_sq"] for n, p in self._parameters.items()},
        }
        named = {prefix + n: t.contiguous() for prefix, part in tensors.items() for n, t in part.items()}
        return named, asdict(self.progress)

    def restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Go on from a :meth:`state` of a run of the same recipe and examples."""
        self.progress = Progress(progress["step"], [Evaluation(**entry) for entry in progress["history"]])
        self.net.load_state_dict(_part(tensors, WEIGHTS))
        self.averaged.load_state_dict(_part(tensors, AVERAGE))
        self.best = _part(tensors, BEST)
        first, second = _part(tensors, FIRST_MOMENT), _part(tensors, SECOND_MOMENT)
        for name, parameter in self._parameters.items():
            moments = {
                "exp_avg": torch.empty_like(parameter).copy_(first[name]),
                "exp_avg_sq": torch.empty_like(parameter).copy_(second[name]),
            }
            self._optimizer.state[parameter] = {"step": torch.tensor(float(self.progress.step)), **moments}

    @torch.no_grad()
    def _average(self) -> None:
        # The first steps count for less than the decay says, or the first weights would stay for hundreds of steps.
        decay = min(self.recipe.ema, (1 + self.progress.step) / (10 + self.progress.step))
        averages, values = self.averaged.state_dict().values(), self.net.state_dict().values()
        floating = [(a, v) for a, v in zip(averages, values, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floating], [v for _, v in floating], 1 - decay)


def rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of a step, counted from 0: a line upwards, then half a cosine down to 0."""
    rising = max(1, round(recipe.warm_up * recipe.steps))
    if step < rising:
        return recipe.learning_rate * (step + 1) / rising
    return recipe.learning_rate * (1 + math.cos(math.pi * (step - rising) / (recipe.steps - rising))) / 2


@torch.inference_mode()
def rank(net: Phase2Net, grids: NDArray[np.uint16], top: int, *, bf16: bool = False) -> NDArray[np.int64]:
    """Return the indices of the likeliest labels, the likeliest first, int64 [n, top]."""
    found = []
    for start in range(0, len(grids), INFERENCE_BATCH):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = net(_grids(grids[start : start + INFERENCE_BATCH]))
        found.append(logits.float().topk(top).indices)
    return torch.cat(found).numpy() if found else np.zeros((0, top), np.int64)


def first_embedding(centres: NDArray[np.float32], width: int) -> Tensor:
    """Return an embedding [1024, width] from the centres of primitives 1 and on; the empty cell is all black."""
    pixels = np.zeros((PRIMITIVES, centres.shape[1]), np.float32)
    pixels[1 : len(centres) + 1] = centres
    centred = pixels - pixels.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    projected = np.zeros((PRIMITIVES, width), np.float32)
    kept = min(width, len(axes))
    projected[:, :kept] = centred @ axes[:kept].T
    return torch.from_numpy(projected / projected.std())


def _chances(labels: NDArray[np.int64], balance: float) -> NDArray[np.float64]:
    counts = np.bincount(labels)
    return np.cumsum(counts[labels] ** -float(balance))


def _grids(grids: NDArray[np.uint16]) -> Tensor:
    return torch.from_numpy(grids.astype(np.int64)).reshape(-1, GRID_SIDE, GRID_SIDE)


def _snapshot(net: Phase2Net) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
