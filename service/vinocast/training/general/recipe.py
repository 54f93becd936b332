"""How the general forecaster is trained: every choice that decides the result."""

from __future__ import annotations

from dataclasses import dataclass

import click

from vinocast.settings import FiniteRange
from vinocast.training.recipe import COUNT, POSITIVE, SEED, choice


@dataclass(frozen=True)
class GeneralRecipe:
    """The recipe of ``vinocast train general``. Each field is an option of the command."""

    seed: int = choice(0, SEED, "Of the first weights and of every series.")
    steps: int = choice(12000, COUNT, "Length of the schedule of the learning rate; a run may do it in parts.")
    batch: int = choice(256, COUNT, "Series per step.")
    learning_rate: float = choice(2e-3, POSITIVE, "Highest learning rate of the cosine schedule.")
    warm_up: int = choice(300, click.IntRange(0, 10**9), "Steps of rising rate, whenever the optimizer begins anew.")
    weight_decay: float = choice(0.02, FiniteRange(0), "Decoupled weight decay, on matrices only.")
    ema: float = choice(
        0.998, FiniteRange(0, 1, max_open=True), "Decay of the averaged weights, which are what is validated and kept."
    )
    bf16: bool = choice(True, click.BOOL, "Compute steps in bfloat16, which is faster where the CPU has it.")
    evaluate_every: int = choice(100, COUNT, "Steps between validations.")
