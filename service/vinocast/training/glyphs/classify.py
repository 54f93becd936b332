"""Phase 2 in training, step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from vinocast.export.glyphs.nets import VARIANTS, Phase2Net
from vinocast.glyphs.cells import GRID_SIDE, PRIMITIVES
from vinocast.training.learner import Evaluation, Learner

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vinocast.training.glyphs.recipe import Recipe

INFERENCE_BATCH = 256


class Examples(NamedTuple):
    """Grids uint16 [n, 256] and the indices of their labels int64 [n]."""

    grids: NDArray[np.uint16]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class ClassifierEvaluation(Evaluation):
    """Top-1 on validation."""

    top1: float

    @property
    def error(self) -> float:
        """The share of labels that are not the first."""
        return 1 - self.top1


class ClassifierLearner(Learner[Phase2Net, ClassifierEvaluation]):
    """Phase 2 in training, its averaged weights, and the best of these so far.

    ``centres`` float32 [clusters, 64] give the embedding its first values: the pixels a primitive stands for, turned
    onto their principal axes, so that the first convolutions see shapes and not numbers.
    """

    def __init__(
        self, recipe: Recipe, labels: int, centres: NDArray[np.float32], train: Examples, validation: Examples
    ) -> None:
        torch.manual_seed(recipe.seed)
        architecture = replace(
            VARIANTS[recipe.variant], dropout=recipe.dropout, classifier_dropout=recipe.classifier_dropout
        )
        net = Phase2Net(architecture, labels)
        with torch.no_grad():
            net.embedding.weight.copy_(first_embedding(centres, architecture.embedding))
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's own stubs leave it out
        super().__init__(net, recipe, ClassifierEvaluation, undecayed=["embedding.weight"])
        self.recipe = recipe
        self._train, self._validation = train, validation
        self._chances = _chances(train.labels, recipe.balance)

    def loss(self, step: int) -> Tensor:
        """Return the cross-entropy of a step. Torch's dropout is seeded as all else that is random."""
        recipe = self.recipe
        generator = np.random.Generator(np.random.SFC64([recipe.seed, step]))
        torch.manual_seed(int(generator.integers(1 << 62)))
        drawn = np.searchsorted(self._chances, generator.random(recipe.batch) * self._chances[-1], side="right")
        grids = self._train.grids[drawn]
        grids[generator.random(grids.shape, np.float32) < recipe.id_dropout] = 0
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
            logits = self.net(_grids(grids))
        return nn.functional.cross_entropy(
            logits.float(), torch.from_numpy(self._train.labels[drawn]), label_smoothing=recipe.smoothing
        )

    def rates(self, step: int) -> tuple[float, float]:
        """Return that of :func:`rate`, and a beta that stays."""
        return rate(self.recipe, step), 0.9

    def validate(self) -> tuple[float]:
        """Return the top-1 of the averaged weights."""
        ranked = rank(self.averaged, self._validation.grids, 1, bf16=self.recipe.bf16)
        return (float((ranked[:, 0] == self._validation.labels).mean()),)


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
