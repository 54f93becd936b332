"""What is tried, and the rule by which one is chosen. No measuring here: plain values in, plain values out."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vinocast.engine.profiles import DEFAULT_PROFILE, MOST_THREADS, PROFILES, Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vinocast.engine.cpu import CpuBudget

Cap = Literal["AVX2"] | None

# The accuracy gate: how far the mean squared error may be from that of f32, either way. A model that errs less by more
# than this forecasts something else, even where the data at hand happen to like it.
GATE = 0.005
# What is that near to the fastest is as fast; the tail decides between them.
TIE = 0.03
# What other numbers must gain to be worth it.
WORTH = 0.05


@dataclass(frozen=True)
class Variant:
    """One way of compiling a model.

    Attributes:
        isa_cap: the highest instruction set the kernels may use.
        int8: whether the model is quantized, or has its own weights.
        precision: of the arithmetic that is in floating point.
        threads: of one inference.
        pinned: whether each keeps to its core.
    """

    isa_cap: Cap
    int8: bool
    precision: Literal["f32", "bf16"]
    threads: int
    pinned: bool

    @property
    def numerics(self) -> tuple[Cap, bool, str]:
        """What decides the numbers; the rest decides only the time."""
        return self.isa_cap, self.int8, self.precision

    @property
    def exact(self) -> bool:
        """Whether forecasts are those of f32."""
        return not self.int8 and self.precision == "f32"

    @property
    def profile(self) -> Profile:
        """The profile that compiles it."""
        return Profile("tune", "", self.isa_cap, threads=self.threads, precision=self.precision, pinned=self.pinned)


@dataclass(frozen=True)
class Figures:
    """Milliseconds of ``infer()``."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Row:
    """What was found of a variant.

    Attributes:
        window: of all channels of one window.
        single: of one series.
        mse: mean squared error over what is held back, in units of each channel's variance.
        mse_change: of f32's, as a share of it.
        worst: largest difference from the forecasts of f32, in a channel's deviation.
        problem: why it cannot be chosen.
    """

    variant: Variant
    window: Figures
    single: Figures
    mse: float
    mse_change: float
    worst: float
    problem: str | None = None


def plan(budget: CpuBudget, cap: Cap, *, bf16: bool, int8: bool) -> list[Variant]:
    """Return the variants under one cap, for a CPU that has bf16 or not and a model that has an int8 form or not."""
    threads = range(1, min(MOST_THREADS, budget.cores) + 1)
    pinned = (True, False) if budget.quota is None else (False,)
    precisions: tuple[Literal["f32", "bf16"], ...] = ("f32", "bf16") if bf16 else ("f32",)
    return [
        Variant(cap, *rest)
        for rest in itertools.product((False, True) if int8 else (False,), precisions, reversed(threads), pinned)
    ]


def default_variant(budget: CpuBudget) -> Variant:
    """Return the variant that the default profile is, by which the others are measured."""
    default = PROFILES[DEFAULT_PROFILE]
    return Variant(
        "AVX2", int8=False, precision="f32", threads=min(default.threads, budget.cores), pinned=budget.quota is None
    )


def problem(mse: float, reference: float) -> str | None:
    """Return why an accuracy is not let through the gate: not finite, or too far from that of f32."""
    if not math.isfinite(mse):
        return "forecasts that are not finite"
    if abs(mse - reference) > GATE * reference:
        return f"MSE differs by {(mse / reference - 1) * 100:+.2f} %, {GATE * 100:g} % is the gate"
    return None


def choose(rows: Iterable[Row]) -> Row:
    """Return the row to use.

    Of those without a problem the one of the smallest p50 for a whole window; of those within TIE of it, the one of the
    smallest p99. If its numbers are not those of f32 and it is not faster than the best that are by WORTH, that one.
    """
    sound = [row for row in rows if row.problem is None]
    best, exact = _fastest(sound), _fastest([row for row in sound if row.variant.exact])
    return best if best.window.p50 < (1 - WORTH) * exact.window.p50 else exact


def choose_cap(models: Sequence[Mapping[Cap, Row]], default: Sequence[Row]) -> Cap:
    """Return the cap for all models, as a process has one: that of the largest mean gain (geometric) of their choices.

    Args:
        models: of each model, what was chosen under each cap.
        default: of each model, the row of the default profile.
    """

    def gain(cap: Cap) -> float:
        return math.prod(row.window.p50 / chosen[cap].window.p50 for chosen, row in zip(models, default, strict=True))

    return max(models[0], key=gain)


def _fastest(rows: Sequence[Row]) -> Row:
    fastest = min(row.window.p50 for row in rows)
    return min((row for row in rows if row.window.p50 <= (1 + TIE) * fastest), key=lambda row: row.window.p99)
