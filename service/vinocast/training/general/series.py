"""Examples to learn from: series of every family, as people record them, cut into a context and what follows.

A batch depends on the seed and its number alone.
"""

from __future__ import annotations

import numpy as np

from vinocast.training.general.families import FAMILIES
from vinocast.training.general.model import CONTEXT, HORIZON
from vinocast.training.general.processes import Floats, Rng, column, heavy, log_uniform, rows_of, unit

LENGTH = CONTEXT + HORIZON
# Shares of a batch.
MIXED, FLIPPED, SHORT, HOLED = 0.2, 0.15, 0.25, 0.1
# The least known points of a context that is cut short.
SHORTEST = 24
# What is padded before a short context: the mean of what is known, or else the first value that is.
PADDED_BY_MEAN = 0.7


def batch(seed: int, number: int, size: int) -> tuple[Floats, Floats, Floats]:
    """Return contexts [size, context], what follows [size, horizon], of about unit deviation, and weights [size, 1].

    All are float32. A weight is what turns an error in deviations of the context into one in deviations of its known
    part: padding makes the first many times as large, and without weights the short contexts would be most of a loss.
    """
    rng = np.random.Generator(np.random.SFC64([seed, number]))
    x = unit(series(rng, size)).astype(np.float32)
    past, future = x[:, :CONTEXT], x[:, CONTEXT:]
    with_gaps(rng, past, HOLED)
    weight = cut_short(rng, past, SHORT)
    return past, future, weight


def series(rng: Rng, n: int) -> Floats:
    """Return n series [n, LENGTH] of all families in a random order, changed as recorders change them."""
    chances = np.array(list(FAMILIES.values()), float)
    kind = rng.choice(len(FAMILIES), n, p=chances / chances.sum())
    x = np.empty((n, LENGTH), np.float32)
    for number, make in enumerate(FAMILIES):
        rows = rows_of(kind, number)
        x[rows] = make(rng, len(rows), LENGTH)
    mix(rng, x)
    record(rng, x)
    return np.nan_to_num(x, copy=False)


def mix(rng: Rng, x: Floats) -> None:
    """Turn some series into sums or products of two, or into one that goes over into another."""
    rows = rows_of(rng.random(len(x)) < MIXED, True)
    partner = rng.permutation(len(x))[: len(rows)]
    ours, theirs = unit(x[rows]), unit(x[partner])
    share = column(rng.beta(1, 1, len(rows)))
    kind = column(rng.random(len(rows)))
    change = np.arange(LENGTH)[None, :] < column(rng.integers(0, CONTEXT - HORIZON, len(rows)))
    product = ours * np.exp(np.clip(theirs * share, -3, 3))
    mixed = np.where(kind < 0.6, share * ours + (1 - share) * theirs, np.where(kind < 0.8, product, 0))
    moved = theirs * column(log_uniform(rng, 0.3, 2, len(rows))) + column(rng.standard_normal(len(rows)))
    x[rows] = np.where(kind < 0.8, mixed, np.where(change, moved, ours))


def record(rng: Rng, x: Floats) -> None:
    """Change some series as recorders do: other units, limits, few digits, faults, breaks, another side up."""
    n = len(x)

    def some(part: float) -> tuple[np.ndarray, int]:
        rows = rows_of(rng.random(n) < part, True)
        return rows, len(rows)

    rows, count = some(0.1)  # logarithms the other way
    x[rows] = np.exp(np.clip(unit(x[rows]) * rng.uniform(0.2, 1.2, (count, 1)), -6, 6))
    rows, count = some(0.08)  # shifts for good, some of them in the context's last part
    where = np.arange(LENGTH)[None, :] >= rng.integers(0, CONTEXT, (count, 1))
    x[rows] = unit(x[rows]) + where * rng.normal(0, 1.5, (count, 1))
    rows, count = some(0.06)  # single wrong values
    wrong = rng.random((count, LENGTH)) < column(log_uniform(rng, 0.001, 0.03, count))
    x[rows] = unit(x[rows]) + wrong * heavy(rng, count, LENGTH) * 3
    rows, count = some(0.06)  # limits
    ordered = np.sort(x[rows], 1)
    low = np.take_along_axis(ordered, rng.integers(0, LENGTH // 2, (count, 1)), 1)
    high = np.take_along_axis(ordered, rng.integers(LENGTH // 2, LENGTH, (count, 1)), 1)
    side = rng.random((count, 1))
    x[rows] = np.clip(x[rows], np.where(side < 0.6, low, -np.inf), np.where(side > 0.4, high, np.inf))
    rows, count = some(0.08)  # few digits
    digits = rng.uniform(1, 8, (count, 1))
    x[rows] = np.round(unit(x[rows]) * digits)
    rows, count = some(0.04)  # held until the next reading
    every = rng.integers(2, 8, (count, 1))
    steps = np.arange(LENGTH)[None, :]
    x[rows] = np.take_along_axis(x[rows], steps - steps % every, 1)
    rows, _ = some(FLIPPED)
    x[rows] = -x[rows]


def with_gaps(rng: Rng, past: Floats, part: float) -> None:
    """Interpolate across gaps in some contexts: one to three runs of up to a tenth of it."""
    for row in rows_of(rng.random(len(past)) < part, True):
        for _ in range(rng.integers(1, 4)):
            first = int(rng.integers(1, CONTEXT - 2))
            last = min(CONTEXT - 1, first + int(log_uniform(rng, 1, CONTEXT / 10, 1)[0]))
            past[row, first:last] = np.linspace(past[row, first - 1], past[row, last], last - first + 2)[1:-1]


def cut_short(rng: Rng, past: Floats, part: float) -> Floats:
    """Pad some contexts as if their first points were not known; see PADDED_BY_MEAN.

    Returns:
        The deviation of each context in deviations of its known part, 1 at most: [n, 1].
    """
    rows = rows_of(rng.random(len(past)) < part, True)
    start = CONTEXT - column(log_uniform(rng, SHORTEST, CONTEXT, len(rows))).astype(np.int64)
    unknown = np.arange(CONTEXT)[None, :] < start
    mean = np.where(unknown, 0, past[rows]).sum(1, keepdims=True) / (CONTEXT - start)
    square = np.where(unknown, 0, np.square(past[rows] - mean)).sum(1, keepdims=True) / (CONTEXT - start)
    first = np.take_along_axis(past[rows], start, 1)
    padding = np.where(rng.random((len(rows), 1)) < PADDED_BY_MEAN, mean, first)
    past[rows] = np.where(unknown, padding, past[rows])
    weight = np.ones((len(past), 1), np.float32)
    weight[rows] = np.minimum(1, np.sqrt((past[rows].var(1, keepdims=True) + 1e-5) / (square + 1e-5)))
    return weight
