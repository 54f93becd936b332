"""Bars of our own making, for golden vectors and for the error of float32: of a liquid market, and of stranger ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.market.channels import WARM_UP, Indicators, seven

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 20240119
# Prices at which windows are made: that of a coin worth next to nothing, of bitcoin, and of what nobody trades yet.
LEVELS = (0.0004, 3.5, 65_000.0, 2e6)


def made_bars(count: int, level: float, seed: int = SEED, *, quiet: float = 0.0) -> NDArray[np.float32]:
    """Return the seven channels float32 [count, 7] of a market at a level of prices, the same on every call.

    How wild it is and how much is traded wander together, and follow the hour of the day; ``quiet`` is the share of
    bars without a trade, which repeat the last close.
    """
    random = np.random.default_rng([SEED, seed])
    total = count + WARM_UP
    wander = 0.02 * random.standard_normal(total).cumsum() * (total / 512) ** -0.5
    mood = wander - np.linspace(wander[0], wander[-1], total) + 0.5 * np.sin(np.arange(total) * 2 * np.pi / 24)
    traded = random.random(total) >= quiet
    returns = 0.006 * np.exp(mood + 0.4 * random.standard_normal(total)) * random.standard_normal(total) * traded
    close = level * np.exp(returns.cumsum())
    start = np.concatenate(([level], close[:-1]))
    reach = np.abs(random.normal(0, 0.004, (2, total))) * np.exp(mood) * traded
    high, low = np.maximum(start, close) * (1 + reach[0]), np.minimum(start, close) / (1 + reach[1])
    volume = np.exp(6 + mood + 0.6 * random.standard_normal(total)) * traded
    return seven(np.stack((close, high, low, volume)), Indicators().values(close))[WARM_UP:]


def made_windows(context: int) -> NDArray[np.float32]:
    """Return windows [n, context, 7] at each of LEVELS, every other one of a market in which little is traded."""
    return np.stack(
        [
            made_bars(context, level, index, quiet=0.3 * (index % 2))
            for index, level in enumerate(np.repeat(LEVELS, 2).tolist())
        ]
    )
