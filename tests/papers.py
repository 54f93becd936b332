"""The test of Diebold and Mariano, as the papers write it, to compare ours with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def diebold_mariano(gains: NDArray[np.float64]) -> float:
    """Return the confidence of gains [windows]: autocovariances one product at a time, and scipy's distribution."""
    n = len(gains)
    lags = int(np.floor(np.sqrt(n)))
    mean = sum(gains) / n
    covariances = [sum((gains[t] - mean) * (gains[t - lag] - mean) for t in range(lag, n)) / n for lag in range(n)]
    spectrum = covariances[0] + 2 * sum((1 - lag / (lags + 1)) * covariances[lag] for lag in range(1, lags + 1))
    h = lags + 1
    corrected = mean / np.sqrt(spectrum / n) * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    return float(stats.t.cdf(corrected, n - 1))
