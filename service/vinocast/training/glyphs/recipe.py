"""How the glyph chain is trained: every choice that decides the result, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import click

from vinocast.settings import FiniteRange
from vinocast.training.recipe import COUNT, POSITIVE, SEED, choice

PART = FiniteRange(0, 1, max_open=True)
# Families of Debian's packages and of freely licensed web fonts: two of naskh, two of kufi, two of Latin serif and two
# of Latin sans for the test, and others of each for the validation.
TEST = (
    "Noto Naskh Arabic", "Scheherazade", "Noto Kufi Arabic", "Cairo", "Linux Libertine", "Gentium", "Lato", "Roboto",
)  # fmt: skip
VALIDATION = ("Harmattan", "KacstOne", "Tajawal", "EB Garamond", "Cantarell")


@dataclass(frozen=True)
class Recipe:
    """The recipe of ``vinocast train glyphs``. Each field is an option of the command."""

    seed: int = choice(0, SEED, "Of everything random.")
    faces: int = choice(4, COUNT, "Faces of a family that take part, the usual styles first.")
    arabic_copies: int = choice(
        5, COUNT, "Rasters of each character of a font with Arabic, all but the first distorted."
    )
    other_copies: int = choice(2, COUNT, "Rasters of each character of another font, likewise.")
    families: int = choice(25, COUNT, "A character becomes a label when so many training families have it.")
    relative: float = choice(
        0.3, FiniteRange(0, 1), "A family that draws more of its letters as a held-out one does takes no part."
    )
    clusters: int = choice(1023, click.IntRange(1, 1023), "Primitives beside the empty cell.")
    cluster_cells: int = choice(200_000, COUNT, "Distinct cells that are clustered, drawn from all.")
    phase1_steps: int = choice(2500, COUNT, "Steps of Phase 1, of 1,024 cells each.")
    variant: str = choice("light", click.Choice(["full", "light", "tiny"]), "Variant of Phase 2.")
    steps: int = choice(2600, COUNT, "Steps of Phase 2.")
    batch: int = choice(256, COUNT, "Rasters a step.")
    learning_rate: float = choice(3e-3, POSITIVE, "Highest learning rate of Phase 2.")
    warm_up: float = choice(0.05, PART, "Part of the steps in which it rises; then it falls as a cosine does.")
    weight_decay: float = choice(0.02, FiniteRange(0), "Decoupled weight decay, on matrices only.")
    dropout: float = choice(0.02, PART, "Dropout of whole channels after each convolution.")
    classifier_dropout: float = choice(0.1, PART, "Dropout before the last layer.")
    id_dropout: float = choice(0.02, PART, "Part of a grid's ids that are replaced by the empty cell's.")
    smoothing: float = choice(0.05, PART, "Label smoothing.")
    balance: float = choice(0.5, FiniteRange(0, 1), "Draw a label by its count to the power of one less this.")
    ema: float = choice(0.998, PART, "Decay of the averaged weights, which are what is validated and kept.")
    bf16: bool = choice(True, click.BOOL, "Compute steps in bfloat16, which is faster where the CPU has it.")
    evaluate_every: int = choice(200, COUNT, "Steps between validations; each writes a checkpoint.")
