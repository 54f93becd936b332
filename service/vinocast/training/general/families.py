"""Families of synthetic series, each made as something real is: by calendars, machines, markets, customers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

from vinocast.training.general.processes import (
    WEEK,
    Floats,
    Rng,
    autoregressive,
    by_day,
    column,
    cycles,
    drifting,
    heavy,
    log_uniform,
    oscillating,
    pink,
    rows_of,
    unit,
    walk,
    waveforms,
    white,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Steps in a day, from every minute to every 12 hours, and how often each is drawn: those that people record.
DAYS = {1440: 2, 720: 1, 480: 1, 288: 8, 240: 1, 144: 9, 96: 16, 72: 2, 48: 12, 24: 30, 12: 4, 8: 4, 6: 3, 4: 2, 2: 1}
# Steps in a cycle of coarser calendars: weeks of days, years of months, quarters and weeks, years of days.
COARSE = {7: 10, 5: 2, 12: 4, 4: 2, 52.18: 2, 365.25: 1, 30.44: 1, 10: 1, 60: 2}


def _choose(rng: Rng, weights: dict[int, int] | dict[float, int], n: int) -> Floats:
    chances = np.array(list(weights.values()), float)
    chosen: Floats = rng.choice(np.array(list(weights), float), n, p=chances / chances.sum())
    return chosen


def _noise(rng: Rng, n: int, length: int) -> Floats:
    """Noise as it is met: white, heavy or with memory, of steady or of changing size."""
    kind = rng.random(n)
    noise = np.where(column(kind < 0.45), white(rng, n, length), autoregressive(rng, n, length, 1, 60))
    noise = np.where(column(kind > 0.85), heavy(rng, n, length), noise)
    result: Floats = noise * np.where(column(rng.random(n) < 0.3), drifting(rng, n, length, 0.8), 1)
    return result


def _background(rng: Rng, n: int, length: int) -> Floats:
    """What lies below a season: nothing, a trend, a walk, slow or coloured noise."""
    kind = rng.choice(5, n, p=[0.2, 0.15, 0.15, 0.25, 0.25])
    x = np.zeros((n, length), np.float32)
    makers: tuple[Callable[[Rng, int, int], Floats], ...] = (trend, walk, autoregressive, pink)
    for number, make in enumerate(makers, 1):
        rows = rows_of(kind, number)
        x[rows] = make(rng, len(rows), length)
    return x


def trend(rng: Rng, n: int, length: int) -> Floats:
    """Lines, broken lines, exponentials, and steps that take their time."""
    t = np.linspace(0, 1, length, dtype=np.float32)[None, :]
    kind = rng.choice(4, n, p=[0.3, 0.35, 0.15, 0.2])
    slope, change = rng.standard_normal((2, n, 1))
    broken = t * slope + np.maximum(t - rng.random((n, 1)), 0) * change * 2
    broken = broken + np.maximum(t - rng.random((n, 1)), 0) * rng.standard_normal((n, 1)) * 2
    grown = np.exp(t * rng.uniform(0.5, 4, (n, 1))) * np.sign(slope)
    settled = 1 / (1 + np.exp(np.clip((rng.random((n, 1)) - t) * rng.uniform(4, 60, (n, 1)), -50, 50))) * slope
    return unit(np.choose(column(kind), [t * slope, broken, grown, settled]))


def calendar(rng: Rng, n: int, length: int, *, noisy: bool = True) -> Floats:
    """Days of a shape, at steps of 1 minute to 12 hours, in weeks: free days, days of other sizes, late days."""
    period = column(_choose(rng, DAYS, n))
    days = length // 2 + 2 * WEEK
    clock = np.arange(length)[None, :] / period + rng.random((n, 1)) * WEEK
    day = np.floor(clock).astype(np.int64)
    sizes = np.exp(column(rng.uniform(0, 0.35, n)) * autoregressive(rng, n, days, 1, 20))
    free = rng.random((n, WEEK)) < column(rng.choice([0.0, 0.15, 2 / 7], n, p=[0.4, 0.2, 0.4]))
    free[rows_of(rng.random(n) < 0.5, True)] = np.arange(WEEK) >= WEEK - 2
    weekly = column(rng.random(n) < 0.55)
    week = np.where(weekly & free, column(rng.uniform(-0.2, 0.9, n)), 1) * np.where(
        weekly, np.exp(0.15 * rng.standard_normal((n, WEEK))), 1
    )
    late = by_day(day, white(rng, n, days)) * column(rng.uniform(0, 0.04, n) * (rng.random(n) < 0.4))
    season = cycles(waveforms(rng, n), clock + late)
    other = cycles(waveforms(rng, n), clock)
    apart = weekly & (rng.random((n, 1)) < 0.3) & (by_day(day % WEEK, free) > 0)
    season = np.where(apart, other, season) * by_day(day % WEEK, week) * by_day(day, sizes)
    season = season * drifting(rng, n, length, 0.5)
    level = by_day(day % WEEK, np.where(weekly & free, column(rng.normal(-0.7, 0.7, n)), 0))
    level = level + by_day(day, autoregressive(rng, n, days, 1, 30)) * column(rng.uniform(0, 0.5, n))
    x: Floats = season + level
    if noisy:
        x = x + _background(rng, n, length) * column(np.abs(rng.normal(0, 0.9, n)))
        x = x + _noise(rng, n, length) * column(log_uniform(rng, 0.03, 1.2, n))
    return x


def coarse(rng: Rng, n: int, length: int) -> Floats:
    """Weeks of days, years of months, and the like, on trends."""
    period = column(_choose(rng, COARSE, n))
    season = cycles(waveforms(rng, n), np.arange(length)[None, :] / period + rng.random((n, 1)))
    x = season * drifting(rng, n, length, 0.5) + _background(rng, n, length) * column(rng.exponential(1.2, n))
    return x + _noise(rng, n, length) * column(log_uniform(rng, 0.05, 1.2, n))


def periodic(rng: Rng, n: int, length: int) -> Floats:
    """One or two cycles of 4 to 300 steps, of any phase, whose pace and size may drift, and that may pause."""
    t = np.arange(length)[None, :]
    period = column(log_uniform(rng, 4, 300, n))
    period = np.where(rng.random((n, 1)) < 0.5, np.round(period), period)
    pace = np.cumsum(drifting(rng, n, length, 0.06), 1) * column(rng.random(n) < 0.35)
    clock = np.where(pace.any(1, keepdims=True), pace, t) / period + rng.random((n, 1))
    x = cycles(waveforms(rng, n), clock) * drifting(rng, n, length, 0.6)
    longer = period * rng.choice([2, 3, 5, 7, np.e, np.pi], (n, 1))
    second = cycles(waveforms(rng, n), t / longer + rng.random((n, 1)))
    kind = column(rng.random(n))
    x = np.where(kind < 0.2, x + second * rng.uniform(0.2, 1.5, (n, 1)), x)
    x = np.where((kind > 0.2) & (kind < 0.3), x * (1 + 0.7 * second), x)
    on = pink(rng, n, length, 1.5, 2.5) > column(rng.uniform(-1.5, 0, n))
    x = np.where((kind > 0.3) & (kind < 0.4), x * on, x)
    x = x + _background(rng, n, length) * column(rng.exponential(0.7, n) * (rng.random(n) < 0.6))
    return x + _noise(rng, n, length) * column(log_uniform(rng, 0.01, 1.0, n))


def noise(rng: Rng, n: int, length: int) -> Floats:
    """Coloured noise, oscillations and slow levels, with noise on top."""
    kind = rng.choice(3, n, p=[0.4, 0.3, 0.3])
    x = np.empty((n, length), np.float32)
    makers: tuple[Callable[[Rng, int, int], Floats], ...] = (pink, oscillating, autoregressive)
    for number, make in enumerate(makers):
        rows = rows_of(kind, number)
        x[rows] = make(rng, len(rows), length)
    return x + _noise(rng, n, length) * column(log_uniform(rng, 0.01, 1.5, n) * (rng.random(n) < 0.7))


def walking(rng: Rng, n: int, length: int) -> Floats:
    """Random walks and trends, alone or with some season and noise."""
    x = np.where(column(rng.random(n) < 0.65), walk(rng, n, length), trend(rng, n, length))
    season = cycles(waveforms(rng, n), np.arange(length)[None, :] / column(_choose(rng, DAYS, n)) + rng.random((n, 1)))
    x = x + season * column(rng.uniform(0.05, 0.8, n) * (rng.random(n) < 0.3))
    return x + _noise(rng, n, length) * column(log_uniform(rng, 0.01, 0.5, n) * (rng.random(n) < 0.5))


def events(rng: Rng, n: int, length: int) -> Floats:
    """Bursts that come at random, in crowds or by a clock, each rising and dying away, over quiet."""
    rate = column(log_uniform(rng, 0.004, 0.15, n))
    crowds = np.exp(column(rng.uniform(0, 1.5, n)) * pink(rng, n, length, 1, 2.5))
    day = np.exp(cycles(waveforms(rng, n), np.arange(length)[None, :] / column(_choose(rng, DAYS, n))))
    coming = rng.random((n, length)) < rate * crowds * np.where(rng.random((n, 1)) < 0.5, day, 1)
    every = column(np.round(log_uniform(rng, 5, 200, n)))
    on_time = (np.arange(length)[None, :] + rng.integers(0, 200, (n, 1))) % every == 0
    hits = np.where(column(rng.random(n) < 0.4), on_time & (rng.random((n, length)) < 0.95), coming)
    size = np.exp(column(rng.uniform(0, 0.9, n)) * white(rng, n, length))
    x = np.zeros((n, length))
    kind = rng.integers(0, 8, n)
    for number in range(8):  # a filter has one set of coefficients for many rows
        rows = rows_of(kind, number)
        keep = float(np.exp(-1 / log_uniform(rng, 0.2, 40, 1)[0]))
        x[rows] = lfilter([1.0], [1.0, -keep], (hits * size)[rows], axis=1)
    return unit(x) + column(log_uniform(rng, 0.01, 0.4, n)) * _noise(rng, n, length)


def counts(rng: Rng, n: int, length: int) -> Floats:
    """Customers, calls, sales: counts at a rate that has seasons and moods, from nearly none to thousands."""
    mood = calendar(rng, n, length, noisy=False)
    weeks = cycles(waveforms(rng, n), np.arange(length)[None, :] / WEEK + rng.random((n, 1)))
    mood = np.where(column(rng.random(n) < 0.3), weeks, unit(mood))
    mood = mood * column(rng.uniform(0, 0.9, n)) + unit(_background(rng, n, length)) * column(rng.uniform(0, 0.6, n))
    rate = column(log_uniform(rng, 0.05, 2000, n)) * np.exp(np.clip(mood, -5, 3))
    crowded = column(rng.random(n) < 0.4)
    rate = np.where(crowded, rate * rng.gamma(*_gamma(rng, n), (n, length)), rate)
    return rng.poisson(np.minimum(rate, 1e6)).astype(np.float32)


def _gamma(rng: Rng, n: int) -> tuple[Floats, Floats]:
    shape = column(log_uniform(rng, 0.3, 8, n))
    return shape, 1 / shape


def intermittent(rng: Rng, n: int, length: int) -> Floats:
    """Demand that is mostly nothing: rare orders, whose sizes and gaps change slowly or by the day of the week."""
    mood = unit(pink(rng, n, length, 1.5, 3)) * column(rng.uniform(0, 1, n))
    week = by_day(np.arange(length)[None, :] + rng.integers(0, WEEK, (n, 1)), rng.normal(0, 1.2, (n, WEEK)))
    chance = column(log_uniform(rng, 0.03, 0.6, n)) * np.exp(mood + np.where(rng.random((n, 1)) < 0.4, week, 0))
    size = np.exp(column(rng.uniform(0, 1, n)) * white(rng, n, length) + 0.5 * mood)
    whole = np.maximum(1, np.round(size * column(log_uniform(rng, 0.7, 20, n))))
    ordered = (rng.random((n, length)) < chance).astype(np.float32)
    return ordered * np.where(column(rng.random(n) < 0.7), whole, size)


def volatility(rng: Rng, n: int, length: int) -> Floats:
    """Markets: volume and range of bars, or their logarithms: long memory, quiet nights, bursts."""
    memory = 0.6 * autoregressive(rng, n, length, 2, 12) + pink(rng, n, length, 0.6, 1.6)
    day = cycles(waveforms(rng, n), np.arange(length)[None, :] / column(_choose(rng, DAYS, n)) + rng.random((n, 1)))
    log = unit(memory) * column(rng.uniform(0.2, 0.9, n)) + day * column(rng.uniform(0, 0.5, n))
    log = log + column(rng.uniform(-1, 1, n)) * np.linspace(0, 1, length)[None, :]
    kind = rng.random(n)
    shocks = rng.gamma(*_gamma(rng, n), (n, length)) + 1e-2
    shocks = np.where(column(kind < 0.4), np.abs(heavy(rng, n, length)) + 1e-2, shocks)
    value = np.exp(np.clip(log, -6, 5)) * shocks
    steady = np.exp(np.clip(log, -6, 5)) * np.exp(column(rng.uniform(0.1, 0.6, n)) * white(rng, n, length))
    value = np.where(column(kind > 0.6), steady, value)
    total = np.cumsum(value, 1)
    rolled = (total - total[:, np.maximum(np.arange(length) - 20, 0)]) / 20
    rolled[:, :20] = rolled[:, 20:21]
    value = np.where(column(rng.random(n) < 0.15), rolled, value)
    return np.where(column(rng.random(n) < 0.5), np.log(value + 1e-4), value)


def host(rng: Rng, n: int, length: int) -> Floats:
    """A machine's counters: levels that jobs hold for a while, ramps that are emptied, spikes, ceilings."""
    stay = column(log_uniform(rng, 4, 150, n))
    moved = rng.random((n, length)) < 1 / stay
    which = np.cumsum(moved, 1, dtype=np.int64)
    levels = rng.gamma(column(log_uniform(rng, 0.5, 4, n)), 1, (n, length))
    few = np.take_along_axis(levels, rng.integers(0, column(rng.integers(2, 6, n)), (n, length)), 1)
    levels = np.where(column(rng.random(n) < 0.6), few, levels)
    x = unit(np.take_along_axis(levels, which, 1))
    since = np.arange(length)[None, :] - np.maximum.accumulate(np.where(moved, np.arange(length)[None, :], 0), 1)
    x = np.where(column(rng.random(n) < 0.2), unit(since / stay) + 0.3 * x, x)
    softness = rng.integers(0, 4, n)
    for number, keep in enumerate((0.0, 0.4, 0.7, 0.9)):
        rows = rows_of(softness, number)
        x[rows] = lfilter([1 - keep], [1.0, -keep], x[rows], axis=1)
    day = cycles(waveforms(rng, n), np.arange(length)[None, :] / column(_choose(rng, DAYS, n)) + rng.random((n, 1)))
    x = x + day * column(rng.uniform(0.1, 1.2, n) * (rng.random(n) < 0.5))
    x = x + events(rng, n, length) * column(rng.uniform(0.1, 1.5, n) * (rng.random(n) < 0.5))
    x = x + _noise(rng, n, length) * column(log_uniform(rng, 0.02, 0.8, n))
    lowest, highest = x.min(1, keepdims=True), x.max(1, keepdims=True)
    ceiling = lowest + (highest - lowest) * rng.uniform(0.5, 1, (n, 1))
    return np.where(column(rng.random(n) < 0.25), np.minimum(x, ceiling), x)


# How many of a thousand series are of each family.
FAMILIES: dict[Callable[[Rng, int, int], Floats], int] = {
    calendar: 300,
    periodic: 170,
    coarse: 70,
    noise: 100,
    walking: 90,
    events: 50,
    counts: 50,
    intermittent: 30,
    volatility: 70,
    host: 70,
}
