"""Counters and latency quantiles of a running service."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import numpy as np

# Enough for a p99 of some tens of samples, small enough to be summarised in microseconds.
RECENT = 4096
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Statistics:
    """What happened since the start, and how long the recent requests took. For one thread."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._inference_ms: deque[float] = deque(maxlen=RECENT)
        self._queue_ms: deque[float] = deque(maxlen=RECENT)

    def success(self, op: str, inference_ms: float, queue_ms: float) -> None:
        """Count an answer and keep its times."""
        self.answered[op] += 1
        self._inference_ms.append(inference_ms)
        self._queue_ms.append(queue_ms)

    def failure(self, code: str) -> None:
        """Count a refused request by its error code."""
        self.failed[code] += 1

    def summary(self) -> dict[str, Any]:
        """Return counts, and quantiles in milliseconds over the recent answers (null before the first)."""
        return {
            "answered": dict(self.answered),
            "failed": dict(self.failed),
            "inference_time_ms": _quantiles(self._inference_ms),
            "queue_time_ms": _quantiles(self._queue_ms),
        }


def _quantiles(samples: deque[float]) -> dict[str, float] | None:
    if not samples:
        return None
    values = np.quantile(np.fromiter(samples, np.float64, len(samples)), list(QUANTILES.values()))
    return {name: round(float(value), 4) for name, value in zip(QUANTILES, values, strict=True)}
