"""Closes, and what TA-Lib's batch functions make of them."""

from __future__ import annotations

import numpy as np
import talib
from numpy.typing import NDArray

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def walk(bars: int, seed: int = 1) -> Floats:
    """Closes in cents with jumps, hours without a move, and one split."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_t(3, bars) * 1e-3
    moves[bars // 3 : bars // 3 + 40] = 0
    moves[bars // 2] = np.log(2)
    return np.round(65_000 * np.exp(np.cumsum(moves)), 2)


def batch(closes: Floats) -> Floats:
    """RSI, MACD and volatility [n, 3] by TA-Lib's batch functions, in rows of NaN until all three are known."""
    there = ~np.isnan(closes)
    seen = closes[there]
    deviations = talib.STDDEV(np.log(seen[1:] / seen[:-1]), 20) * np.sqrt(20 / 19)
    rows = np.column_stack(
        (talib.RSI(seen, 14), talib.MACD(seen, 12, 26, 9)[0], np.concatenate(([np.nan], deviations)))
    )
    rows[np.isnan(rows).any(axis=1)] = np.nan
    spread = np.full((len(closes), 3), np.nan)
    spread[there] = rows
    return spread


def equal(got: NDArray[np.floating], expected: NDArray[np.floating]) -> bool:
    return np.array_equal(got, expected.astype(got.dtype), equal_nan=True)
