"""Counters and latency quantiles of a running service."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

# Enough for a p99 of some tens of samples, small enough to be summarised in microseconds.
RECENT = 4096
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Statistics:
    """What happened since the start, and how long the recent requests took. For one thread.

    Args:
        computing: the names of the ops whose answers a model computes; the first is that of which the times have no
            name before theirs in the summary.
    """

    def __init__(self, computing: Iterable[str]) -> None:
        self._answered: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        # Milliseconds of the recent answers by op.
        self._inference: dict[str, deque[float]] = {op: deque(maxlen=RECENT) for op in computing}
        self._queue: dict[str, deque[float]] = {op: deque(maxlen=RECENT) for op in self._inference}

    def success(self, op: str) -> None:
        """Count an answer."""
        self._answered[op] += 1

    def computed(self, op: str, inference_seconds: float, queue_seconds: float) -> None:
        """Count an answer that a model has computed, and keep its times."""
        self._answered[op] += 1
        self._inference[op].append(inference_seconds * 1e3)
        self._queue[op].append(queue_seconds * 1e3)

    def failure(self, code: str) -> None:
        """Count a refused request by its error code."""
        self._failed[code] += 1

    def summary(self) -> dict[str, Any]:
        """Return counts, and quantiles over the recent answers, null before the first.

        The name of an op or a code stands in it once, so that it can be looked for.
        """
        summary: dict[str, Any] = {"answered": dict(self._answered), "failed": dict(self._failed)}
        for place, op in enumerate(self._inference):
            prefix = f"{op}_" if place else ""
            summary[f"{prefix}inference_time_ms"] = _quantiles(self._inference[op])
            summary[f"{prefix}queue_time_ms"] = _quantiles(self._queue[op])
        return summary


def _quantiles(samples: deque[float]) -> dict[str, float] | None:
    if not samples:
        return None
    values = np.quantile(np.fromiter(samples, np.float64, len(samples)), list(QUANTILES.values()))
    return {name: round(float(value), 4) for name, value in zip(QUANTILES, values, strict=True)}
