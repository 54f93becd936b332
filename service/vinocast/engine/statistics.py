"""Counters and latency quantiles of a running service."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import numpy as np

# Enough for a p99 of some tens of samples, small enough to be summarised in microseconds.
RECENT = 4096
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Latencies:
    """The times of the recent answers of one kind, in milliseconds."""

    def __init__(self) -> None:
        self.inference: deque[float] = deque(maxlen=RECENT)
        self.queue: deque[float] = deque(maxlen=RECENT)

    def summary(self, prefix: str) -> dict[str, dict[str, float] | None]:
        """Return quantiles, null before the first answer."""
        return {
            f"{prefix}inference_time_ms": _quantiles(self.inference),
            f"{prefix}queue_time_ms": _quantiles(self.queue),
        }


class Statistics:
    """What happened since the start, and how long the recent requests took. For one thread."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._latencies = {"forecast": Latencies(), "glyphs": Latencies()}

    def success(self, op: str, inference_ms: float | None = None, queue_ms: float | None = None) -> None:
        """Count an answer and keep the times of one that was computed."""
        self.answered[op] += 1
        if inference_ms is not None and queue_ms is not None:
            self._latencies[op].inference.append(inference_ms)
            self._latencies[op].queue.append(queue_ms)

    def failure(self, code: str) -> None:
        """Count a refused request by its error code."""
        self.failed[code] += 1

    def summary(self) -> dict[str, Any]:
        """Return counts, and quantiles over the recent answers: of forecasts, and with ``glyphs_`` before of glyphs.

        The name of an op or a code stands in it once, so that it can be looked for.
        """
        return {
            "answered": dict(self.answered),
            "failed": dict(self.failed),
            **self._latencies["forecast"].summary(""),
            **self._latencies["glyphs"].summary("glyphs_"),
        }


def _quantiles(samples: deque[float]) -> dict[str, float] | None:
    if not samples:
        return None
    values = np.quantile(np.fromiter(samples, np.float64, len(samples)), list(QUANTILES.values()))
    return {name: round(float(value), 4) for name, value in zip(QUANTILES, values, strict=True)}
