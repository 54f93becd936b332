"""What synthetic series are made of: noise of a chosen spectrum, waveforms, calendars, events. All are [n, length].

Every function draws from the generator it is given and computes n series at once; n may be 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.floating[Any]]"
Rng: TypeAlias = np.random.Generator
Number = TypeVar("Number", bound=np.generic)

# Points of a waveform's table.
TABLE = 256
# Coloured noise is cut from a circle at least this many times as long, so that its ends do not meet.
CIRCLE = 1.6
WEEK = 7


def unit(x: Floats) -> Floats:
    """Return the rows with mean 0 and deviation 1; constant rows become 0."""
    centred = x - x.mean(1, keepdims=True)
    result: Floats = centred / np.maximum(centred.std(1, keepdims=True), 1e-9)
    return result


def column(values: NDArray[Number]) -> NDArray[Number]:
    """Return one number a series as [n, 1]."""
    return values[:, None]


def log_uniform(rng: Rng, low: float, high: float, n: int) -> Floats:
    """Draw n numbers whose logarithms are uniform."""
    drawn: Floats = np.exp(rng.uniform(np.log(low), np.log(high), n))
    return drawn


def white(rng: Rng, n: int, length: int) -> Floats:
    """Draw independent normal numbers."""
    return rng.standard_normal((n, length), np.float32)


def heavy(rng: Rng, n: int, length: int) -> Floats:
    """Draw independent numbers of Student's t, each series with 2 to 8 degrees of freedom of its own."""
    degrees = column(rng.uniform(2, 8, n))
    drawn: Floats = white(rng, n, length) / np.sqrt(rng.gamma(degrees / 2, 2 / degrees, (n, length)) + 1e-3)
    return drawn


def _shaped(rng: Rng, length: int, amplitude: Any, n: int) -> Floats:
    """Noise whose spectrum has ``amplitude(w)`` for angular frequencies w [f] a step: [n, f]."""
    size = fft.next_fast_len(int(length * CIRCLE), real=True)
    frequency = np.arange(size // 2 + 1, dtype=np.float32) * np.float32(2 * np.pi / size)
    frequency[0] = frequency[1]
    spectrum = fft.rfft(white(rng, n, size), axis=1) * amplitude(frequency).astype(np.float32)
    return unit(fft.irfft(spectrum, size, axis=1)[:, :length])


def pink(rng: Rng, n: int, length: int, low: float = 0.0, high: float = 3.0) -> Floats:
    """Noise of power 1/f^b, b between ``low`` and ``high``: 0 is white, 2 a random walk, 3 smooth."""
    slope = column(rng.uniform(low, high, n)) / 2
    return _shaped(rng, length, lambda w: w**-slope, n)


def autoregressive(rng: Rng, n: int, length: int, low: float = 2.0, high: float = 300.0) -> Floats:
    """Noise that forgets within ``low`` to ``high`` steps: an AR(1)."""
    keep = column(np.exp(-1 / log_uniform(rng, low, high, n)))
    return _shaped(rng, length, lambda w: 1 / np.abs(1 - keep * np.exp(-1j * w)), n)


def oscillating(rng: Rng, n: int, length: int) -> Floats:
    """Cycles of 4 to 250 steps that forget their phase within 2 to 30 cycles: an AR(2)."""
    period = log_uniform(rng, 4, 250, n)
    keep = column(np.exp(-1 / (period * log_uniform(rng, 2, 30, n))))
    turn = column(2 * np.pi / period)

    def amplitude(w: Floats) -> Floats:
        poles = [1 - keep * np.exp(1j * (sign * turn - w)) for sign in (1, -1)]
        result: Floats = 1 / np.abs(poles[0] * poles[1])
        return result

    return _shaped(rng, length, amplitude, n)


def walk(rng: Rng, n: int, length: int) -> Floats:
    """Sums of steps: of changing size, of heavy tails, rare, or with drift."""
    steps = np.where(column(rng.random(n) < 0.3), heavy(rng, n, length), white(rng, n, length))
    steps = steps * np.exp(column(rng.uniform(0, 0.8, n)) * pink(rng, n, length, 1, 2.2))
    rare = rng.random((n, length)) < column(log_uniform(rng, 0.01, 0.3, n))
    steps = np.where(column(rng.random(n) < 0.2), steps * rare, steps)
    return unit(np.cumsum(steps + column(rng.normal(0, 0.04, n)), 1))


def waveforms(rng: Rng, n: int) -> Floats:
    """Shapes of one cycle, [n, TABLE]: harmonics, humps, pulses, edges, ramps, decays."""
    t = np.arange(TABLE, dtype=np.float32)[None, :] / TABLE
    kind = rng.choice(6, n, p=[0.4, 0.25, 0.1, 0.08, 0.07, 0.1])
    table = np.zeros((n, TABLE), np.float32)

    count = rows_of(kind, 0)  # harmonics
    order = np.arange(1, 13)
    amplitude = (
        rng.standard_normal((len(count), 12))
        * order ** -column(rng.uniform(0.3, 2.5, len(count)))
        * (order <= column(rng.integers(1, 13, len(count))))
    )
    angle = 2 * np.pi * (order[None, :, None] * t[:, None] + rng.random((len(count), 12, 1)))
    table[count] = (amplitude[:, :, None] * np.sin(angle)).sum(1)

    humps = rows_of(kind, 1)  # one to four, round a clock
    for _ in range(4):
        near = np.abs((t - rng.random((len(humps), 1)) + 0.5) % 1 - 0.5)
        width = column(log_uniform(rng, 0.02, 0.3, len(humps)))
        height = column(rng.normal(0.6, 0.8, len(humps)) * (rng.random(len(humps)) < 0.65))
        table[humps] += height * np.exp(-0.5 * (near / width) ** 2)

    for which, low, high in ((2, 0.01, 0.08), (3, 0.15, 0.7)):  # pulses, edges
        rows = rows_of(kind, which)
        table[rows] = t < column(rng.uniform(low, high, len(rows)))
    rows = rows_of(kind, 4)
    table[rows] = np.where(column(rng.random(len(rows)) < 0.5), t, 1 - t) ** column(log_uniform(rng, 0.5, 2, len(rows)))
    rows = rows_of(kind, 5)
    table[rows] = np.exp(-t / column(log_uniform(rng, 0.04, 0.6, len(rows))))

    clipped = rows_of(rng.random(n) < 0.12, True)  # nothing by night
    if len(clipped):
        level = column(rng.uniform(0.3, 0.7, len(clipped)))
        floor = np.take_along_axis(np.sort(table[clipped], 1), (level * TABLE).astype(int), 1)
        table[clipped] = np.maximum(table[clipped], floor)
    return unit(table)


def cycles(table: Floats, phase: Floats) -> Floats:
    """Read waveforms [n, TABLE] at phases [n, length], of which only the fraction counts; linear between points."""
    at = (phase % 1) * TABLE
    index = at.astype(np.int64) % TABLE
    rest = at - np.floor(at)
    here, there = (np.take_along_axis(table, (index + step) % TABLE, 1) for step in (0, 1))
    result: Floats = here + (there - here) * rest
    return result


def rows_of(kind: Any, which: Any) -> NDArray[np.intp]:
    """Return the indices of the rows that are of a kind."""
    return np.flatnonzero(kind == which)


def drifting(rng: Rng, n: int, length: int, most: float) -> Floats:
    """Positive factors about 1 that change slowly, by up to ``most`` in the logarithm."""
    factors: Floats = np.exp(column(rng.uniform(0, most, n)) * pink(rng, n, length, 1.8, 3))
    return factors


def by_day(day: NDArray[np.int64], values: NDArray[Number]) -> NDArray[Number]:
    """Read values of days [n, days] for day numbers [n, length] from 0; later days begin again."""
    return np.take_along_axis(values, day % values.shape[1], 1)
