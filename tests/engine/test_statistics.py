"""Counts and times of a running service."""

from __future__ import annotations

import numpy as np
import pytest
from vinocast.engine.statistics import RECENT, Statistics


def test_quantiles_are_those_of_the_recent_answers_of_each_op() -> None:
    statistics = Statistics(["forecast", "glyphs"])
    empty = statistics.summary()
    assert (empty["inference_time_ms"], empty["glyphs_queue_time_ms"]) == (None, None)
    seconds = np.random.default_rng(0).permutation(RECENT + 1000) / 1e3
    for count in (1, RECENT - 1, RECENT, RECENT + 1, len(seconds)):
        statistics = Statistics(["forecast", "glyphs"])
        for each in seconds[:count]:
            statistics.computed("forecast", each, 2 * each)
        summary = statistics.summary()
        recent = seconds[:count][-RECENT:] * 1e3
        for name, of in (("inference_time_ms", recent), ("queue_time_ms", 2 * recent)):
            assert list(summary[name].values()) == pytest.approx(np.quantile(of, (0.5, 0.95, 0.99)), abs=1e-4)
        assert summary["answered"] == {"forecast": count}
        assert summary["glyphs_inference_time_ms"] is None
