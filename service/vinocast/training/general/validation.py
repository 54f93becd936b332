"""What runs are chosen by: families that training has none of, simulated step by step as their causes say.

Daylight under clouds, queues, thermostats, chaos, shops, roads and the load of a grid. Nothing of what the model is
tested on is among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.training.general.model import CONTEXT, HORIZON
from vinocast.training.general.processes import WEEK, Floats, Rng, autoregressive, log_uniform, white

if TYPE_CHECKING:
    from collections.abc import Callable

# Windows of each family.
WINDOWS = 64
LENGTH = CONTEXT + HORIZON
# Simulations that must settle begin this much earlier.
SETTLING = 200


@dataclass(frozen=True)
class Family:
    """Windows of one family, and how well a seasonal naive forecasts them.

    Attributes:
        past: [n, context], float32.
        future: [n, horizon], float32.
        naive: mean absolute error of repeating the last period, in deviations of each context.
    """

    name: str
    past: Floats
    future: Floats
    naive: float


def families(seed: int = 0, windows: int = WINDOWS) -> list[Family]:
    """Make all families anew; the same for a seed."""
    result = []
    for number, make in enumerate(MAKERS):
        rng = np.random.default_rng([seed, number, 7])
        x, period = make(rng, windows)
        x = x.astype(np.float32)
        past, future = x[:, :CONTEXT], x[:, CONTEXT:]
        ahead = np.arange(HORIZON)[None, :] % period
        repeated = np.take_along_axis(past, (CONTEXT - period + ahead).astype(np.int64), 1)
        scale = np.maximum(past.std(1, keepdims=True), 1e-6)
        naive = float((np.abs(repeated - future) / scale).mean())
        result.append(Family(make.__name__.strip("_"), past, future, naive))
    return result


def _steps(rng: Rng, n: int, choices: tuple[int, ...]) -> Floats:
    return rng.choice(np.array(choices), (n, 1))


def _clock(rng: Rng, n: int, period: Floats, length: int = LENGTH) -> Floats:
    """Hours since a Monday's midnight, [n, length]."""
    clock: Floats = (np.arange(length)[None, :] + rng.integers(0, 7 * 288, (n, 1))) * (24 / period)
    return clock


def _daylight(rng: Rng, n: int) -> tuple[Floats, Floats]:
    """Power of the sun: nothing by night, a bell by day, less under clouds that come and stay."""
    period = _steps(rng, n, (24, 48, 96, 144))
    hour = _clock(rng, n, period) % 24
    length = rng.uniform(9, 16, (n, 1))
    sun = np.sin(np.pi * np.clip((hour - 12 + length / 2) / length, 0, 1)) ** 1.2
    cloud = 1 / (1 + np.exp(-1.5 * autoregressive(rng, n, LENGTH, 5, 80) - rng.normal(0.8, 0.8, (n, 1))))
    return sun * cloud * (1 + 0.04 * white(rng, n, LENGTH)), period


def _queue(rng: Rng, n: int) -> tuple[Floats, Floats]:
    """People who wait: they come by the hour of the day, and are served at a steady pace."""
    period = _steps(rng, n, (24, 48, 96))
    clock = _clock(rng, n, period, LENGTH + SETTLING)
    busy = 1 + 0.8 * np.sin(2 * np.pi * clock / 24) + 0.4 * np.sin(4 * np.pi * clock / 24 + 1)
    coming = rng.poisson(log_uniform(rng, 2, 40, n)[:, None] * np.maximum(busy, 0.05))
    pace = coming.mean(1) * rng.uniform(1.02, 1.5, n)
    waiting = np.zeros((n, LENGTH + SETTLING))
    for t in range(1, LENGTH + SETTLING):
        waiting[:, t] = np.maximum(0, waiting[:, t - 1] + coming[:, t] - pace)
    return waiting[:, SETTLING:] + coming[:, SETTLING:], period


def _thermostat(rng: Rng, n: int) -> tuple[Floats, Floats]:
    """A room that a heater warms until it is warm enough, and that cools as it is cold outside."""
    period = _steps(rng, n, (96, 144, 288))
    clock = _clock(rng, n, period, LENGTH + SETTLING)
    outside = 5 + 5 * np.sin(2 * np.pi * clock / 24) + 2 * autoregressive(rng, n, LENGTH + SETTLING, 30, 300)
    wanted = np.where((clock % 24 > 6) & (clock % 24 < 22), 20, rng.uniform(15, 20, (n, 1)))
    loss, power, band = rng.uniform(0.004, 0.02, n), rng.uniform(0.4, 1.2, n), rng.uniform(0.3, 1.2, n)
    room = np.full((n, LENGTH + SETTLING), 19.0)
    on = np.zeros(n, bool)
    for t in range(1, LENGTH + SETTLING):
        on = np.where(room[:, t - 1] < wanted[:, t] - band, True, np.where(room[:, t - 1] > wanted[:, t], False, on))
        room[:, t] = room[:, t - 1] + loss * (outside[:, t] - room[:, t - 1]) + power * on
    return (room + 0.05 * white(rng, n, LENGTH + SETTLING))[:, SETTLING:], period


def _chaos(rng: Rng, n: int) -> tuple[Floats, Floats]:
    """Mackey and Glass's blood cells: dx/dt = 0.2 x(t - lag) / (1 + x(t - lag)^10) - 0.1 x, of lags 14 to 30."""
    lag, every = rng.integers(14, 31, n), 2
    size = LENGTH * every + SETTLING
    x = np.full((n, size), 0.5) + rng.random((n, 1))
    x[:, :40] += 0.3 * rng.random((n, 40))
    rows = np.arange(n)
    for t in range(40, size):
        late = x[rows, t - lag]
        x[:, t] = 0.9 * x[:, t - 1] + 0.2 * late / (1 + late**10)
    x = x[:, SETTLING::every]
    return x + 0.02 * white(rng, n, LENGTH), np.full((n, 1), 25)


def _shop(rng: Rng, n: int) -> tuple[Floats, Floats]:
    """Pieces sold in a day: weeks, offers that pull forward, shelves that run empty."""
    day = np.arange(LENGTH)[None, :] + rng.integers(0, WEEK, (n, 1))
    week = np.take_along_axis(np.exp(0.5 * white(rng, n, WEEK)), day % WEEK, 1)
    year = np.exp(0.3 * np.sin(2 * np.pi * (day / 365.25 + rng.random((n, 1)))))
    starts = rng.random((n, LENGTH)) < 0.02
    offer = np.zeros((n, LENGTH))
    for ahead, factor in enumerate((1.2, 1.0, 0.8, 0.6, -0.3, -0.2, -0.1)):
        offer[:, ahead:] += factor * starts[:, : LENGTH - ahead]
    rate = log_uniform(rng, 1, 80, n)[:, None] * week * year * np.exp(np.clip(offer, -1, 1.5))
    sold = rng.poisson(rate * rng.gamma(6, 1 / 6, (n, LENGTH)))
    return sold * (rng.random((n, LENGTH)) > 0.02), np.full((n, 1), WEEK)


def _road(rng: Rng, n: int) -> tuple[Floats, Floats]:
    """Cars on a road: two rushes on workdays, one hump on free days, jams that cost capacity."""
    period = _steps(rng, n, (24, 48, 96, 288))
    clock = _clock(rng, n, period)
    hour, free = clock % 24, (clock // 24) % WEEK >= WEEK - 2

    def hump(at: Floats, wide: float) -> Floats:
        result: Floats = np.exp(-0.5 * ((hour - at) / wide) ** 2)
        return result

    morning, evening = rng.normal(7.8, 0.6, (n, 1)), rng.normal(17.2, 0.7, (n, 1))
    work = rng.uniform(0.4, 1.2, (n, 1)) * hump(morning, 1.1) + rng.uniform(0.4, 1.2, (n, 1)) * hump(evening, 1.6)
    cars = np.where(free, 0.6 * hump(14 + 0 * morning, 3.5), work + 0.35 * hump(13 + 0 * morning, 3)) + 0.06
    moods = np.exp(0.12 * autoregressive(rng, n, LENGTH, 3, 60))
    jams = 1 - 0.5 * (autoregressive(rng, n, LENGTH, 2, 10) > 2.2)
    many = log_uniform(rng, 20, 2000, n)[:, None]
    return rng.poisson(many * cars * moods * jams), period


def _grid(rng: Rng, n: int) -> tuple[Floats, Floats]:
    """The load of a grid: what people do by the hour, and what the weather makes them heat or cool."""
    period = _steps(rng, n, (24, 48, 96))
    clock = _clock(rng, n, period)
    weather = rng.uniform(0, 25, (n, 1)) + 5 * np.sin(2 * np.pi * (clock - 9) / 24)
    weather = weather + rng.uniform(2, 6, (n, 1)) * autoregressive(rng, n, LENGTH, 24, 200)
    needed = rng.uniform(0.01, 0.05, (n, 1)) * (np.maximum(0, 15 - weather) + 1.3 * np.maximum(0, weather - 22))
    awake = 1 / (1 + np.exp(-(clock % 24 - 6.5) * 1.5)) * (1 - 0.7 / (1 + np.exp(-(clock % 24 - 22) * 1.5)))
    evening = 0.35 * np.exp(-0.5 * ((clock % 24 - 19.5) / 1.5) ** 2)
    work = 1 - rng.uniform(0, 0.25, (n, 1)) * ((clock // 24) % WEEK >= WEEK - 2)
    load = 0.6 + (0.4 * awake + evening) * work + needed * (0.5 + 0.5 * awake)
    return load * np.exp(0.02 * autoregressive(rng, n, LENGTH, 2, 30) + 0.01 * white(rng, n, LENGTH)), period


MAKERS: tuple[Callable[[Rng, int], tuple[Floats, Floats]], ...] = (
    _daylight,
    _queue,
    _thermostat,
    _chaos,
    _shop,
    _road,
    _grid,
)
