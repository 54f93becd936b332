"""How a forecaster is trained: every choice that decides the result, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import click

from vinocast.settings import FiniteRange

RATE = FiniteRange(0, 0.95)
COUNT = click.IntRange(1, 10**9)
SEED = click.IntRange(0, 2**32 - 1)
POSITIVE = FiniteRange(0, min_open=True)


def choice(default: Any, kind: Any, description: str) -> Any:
    """Return a field that is an option: its default, its type, its help."""
    return field(default=default, metadata={"type": kind, "help": description})


@dataclass(frozen=True)
class Recipe:
    """The recipe of ``vinocast train forecast``. Each field is an option of the command."""

    seed: int = choice(0, SEED, "Of the first weights and of everything random.")
    steps: int = choice(5000, COUNT, "Length of the schedule of the learning rate.")
    batch: int = choice(128, COUNT, "Series per step, drawn from all channels.")
    learning_rate: float = choice(5e-4, POSITIVE, "Highest learning rate of the one-cycle schedule.")
    warm_up: float = choice(0.3, FiniteRange(0, 1, min_open=True, max_open=True), "Part of it that rises.")
    weight_decay: float = choice(0.02, FiniteRange(0), "Decoupled weight decay, on matrices only.")
    position_dropout: float = choice(0.3, RATE, "Dropout of the embedded patches.")
    ffn_dropout: float = choice(0.4, RATE, "Dropout between the two layers of a feed-forward block.")
    head_dropout: float = choice(0.3, RATE, "Dropout before the head.")
    path_dropout: float = choice(0.2, RATE, "Chance that a series skips a block.")
    sign_flips: bool = choice(True, click.BOOL, "Turn every second series upside down, at random.")
    mixtures: float = choice(
        0.0, FiniteRange(0, 1), "Part of a batch replaced by convex mixtures of two standardised windows."
    )
    teacher: float = choice(
        0.0,
        FiniteRange(0, 1),
        "Part of the loss taken in place of the data against a teacher: a ridge regression, or the mean of it and of "
        "--teacher-model.",
    )
    ridge: float = choice(1e3, POSITIVE, "Penalty of that regression, in mean squares of one input.")
    ema: float = choice(
        0.998,
        FiniteRange(0, 1, max_open=True),
        "Decay of the averaged weights, which are what is validated and kept.",
    )
    bf16: bool = choice(True, click.BOOL, "Compute steps in bfloat16, which is faster where the CPU has it.")
    evaluate_every: int = choice(250, COUNT, "Steps between validations; each writes a checkpoint.")
    validation_stride: int = choice(3, COUNT, "Validate on every so many-th window.")
    patience: int = choice(8, COUNT, "Validations without a better one before training stops.")


# What the recipe is, where it is not told otherwise, of a run that begins with a model: few steps, that go not far, and
# most of the loss taken against a ridge regression of the same rows, which sees less of their noise. Fine-tuning the
# bundled model on the log volume and volatility of bitcoin, it stands at 0.450 on validation, without the teacher at
# 0.468.
FINE_TUNING = replace(
    Recipe(),
    steps=400,
    batch=64,
    learning_rate=3e-4,
    teacher=0.7,
    position_dropout=0.1,
    ffn_dropout=0.2,
    head_dropout=0.1,
    path_dropout=0.1,
    evaluate_every=50,
    patience=4,
)
