"""Counters and latency quantiles of a running service."""

from __future__ import annotations

from array import array
from collections import Counter
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
        self._pushed: Counter[str] = Counter()
        # Milliseconds of the recent answers by op.
        self._inference = {op: _Recent() for op in computing}
        self._queue = {op: _Recent() for op in self._inference}

    def success(self, op: str) -> None:
        """Count an answer."""
        self._answered[op] += 1

    def computed(self, op: str, inference_seconds: float, queue_seconds: float) -> None:
        """Count an answer that a model has computed, and keep its times."""
        self._answered[op] += 1
        self._inference[op].add(inference_seconds * 1e3)
        self._queue[op].add(queue_seconds * 1e3)

    def pushed(self, op: str, inference_seconds: float, queue_seconds: float) -> None:
        """Count an answer that no request has asked for, and keep its times as those of an op."""
        self._pushed["forecasts"] += 1
        self._inference[op].add(inference_seconds * 1e3)
        self._queue[op].add(queue_seconds * 1e3)

    def pushed_failure(self) -> None:
        """Count what was to be pushed and could not be computed."""
        self._pushed["errors"] += 1

    def failure(self, code: str) -> None:
        """Count a refused request by its error code."""
        self._failed[code] += 1

    def summary(self) -> dict[str, Any]:
        """Return counts, and quantiles over the recent answers, null before the first.

        The name of an op or a code stands in it once, so that it can be looked for.
        """
        summary: dict[str, Any] = {"answered": dict(self._answered), "failed": dict(self._failed)}
        if self._pushed:
            summary["pushed"] = dict(self._pushed)
        for place, op in enumerate(self._inference):
            prefix = f"{op}_" if place else ""
            summary[f"{prefix}inference_time_ms"] = self._inference[op].quantiles()
            summary[f"{prefix}queue_time_ms"] = self._queue[op].quantiles()
        return summary


class _Recent:
    """The last RECENT numbers, in one piece: as objects each they would take four times as much."""

    def __init__(self) -> None:
        self._values = array("d")
        self._oldest = 0

    def add(self, value: float) -> None:
        """Keep a number, in place of the oldest where there are as many as are kept."""
        if len(self._values) < RECENT:
            self._values.append(value)
        else:
            self._values[self._oldest] = value
            self._oldest = (self._oldest + 1) % RECENT

    def quantiles(self) -> dict[str, float] | None:
        """Return some quantiles of what is kept, or None where that is nothing."""
        if not self._values:
            return None
        values = np.quantile(self._values, list(QUANTILES.values()))
        return {name: round(float(value), 4) for name, value in zip(QUANTILES, values, strict=True)}
