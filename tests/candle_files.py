"""Files of candles of our own making, whose range, volume and volatility go together and follow the hour of the day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FIRST = 1_600_002_000  # a whole hour


def make_candles(count: int, seconds: int = 3600, seed: int = 1, level: float = 8000) -> NDArray[np.float64]:
    """[count, 6]: unix seconds, open, high, low, close, volume."""
    random = np.random.default_rng(seed)
    mood = np.zeros(count)
    for at in range(1, count):
        mood[at] = 0.98 * mood[at - 1] + 0.1 * random.standard_normal()
    mood += 0.5 * np.sin(np.arange(count) * 2 * np.pi / 24)
    close = level * np.exp((0.003 * np.exp(mood) * random.standard_normal(count)).cumsum())
    begin = np.concatenate(([level], close[:-1]))
    reach = np.abs(random.normal(0, 0.002, (2, count))) * np.exp(mood)
    high, low = np.maximum(begin, close) * (1 + reach[0]), np.minimum(begin, close) / (1 + reach[1])
    volume = np.exp(5 + mood + 0.3 * random.standard_normal(count))
    times = FIRST + seconds * np.arange(count)
    return np.round(np.stack([times, begin, high, low, close, volume], axis=1), 6)


def write_candles(path: Path, candles: NDArray[np.float64]) -> Path:
    """A CSV as an exchange writes it."""
    lines = ["time,open,high,low,close,volume"]
    for time, *values in candles.tolist():
        lines.append(f"{np.datetime64(int(time), 's')},{','.join(f'{value:.6f}' for value in values)}")
    path.write_text("\n".join(lines) + "\n")
    return path
