"""Whether a model is better: the test against its formula written out plainly, scipy's distribution and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from papers import diebold_mariano
from scipy import stats
from vinocast.evaluation.comparison import LEAST_WINDOWS, better, compare, student


def correlated(rng: np.random.Generator, windows: int, by: float) -> NDArray[np.float64]:
    """Gains of windows of which each has a part of the one before."""
    gains = rng.standard_normal(windows + 40)
    for window in range(1, len(gains)):
        gains[window] += by * gains[window - 1]
    return gains[40:]


@pytest.mark.parametrize("windows", [5, 6, 10, 37, 200])
def test_the_confidence_is_that_of_the_papers(windows: int) -> None:
    rng = np.random.default_rng(windows)
    for mean in (-0.5, 0.0, 0.2, 1.0):
        gains = correlated(rng, windows, 0.4) + mean
        assert better(gains) == pytest.approx(diebold_mariano(gains), abs=1e-9)
        assert better(1e-9 * gains) == pytest.approx(better(gains))  # in any unit
        assert better(-gains) == pytest.approx(1 - better(gains))


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 50, 999, 49_999])
def test_students_distribution_is_scipys(freedom: int) -> None:
    for value in (-40.0, -3.0, -0.1, 0.0, 0.5, 2.0, 12.0):
        assert student(value, freedom) == pytest.approx(stats.t.cdf(value, freedom), abs=1e-9)


@pytest.mark.parametrize(("by", "most"), [(0.0, 0.065), (0.3, 0.09), (0.5, 0.12)])
def test_of_gains_that_are_none_few_are_found(by: float, most: float) -> None:
    rng = np.random.default_rng(3)
    for windows in (5, 10, 30):
        wrong = np.mean([better(correlated(rng, windows, by)) >= 0.95 for _ in range(2000)])
        assert 0.02 < wrong < most, windows


def test_a_gain_that_is_there_is_found() -> None:
    rng = np.random.default_rng(4)
    found = np.mean([better(correlated(rng, 40, 0.2) + 1) >= 0.95 for _ in range(200)])
    assert found > 0.95


def test_too_few_windows_say_nothing_and_equal_ones_neither() -> None:
    assert math.isnan(better(np.ones(LEAST_WINDOWS - 1)))
    assert better(np.zeros(8)) == 0.5
    assert better(np.full(8, 0.1)) == 1
    assert better(np.full(8, -0.1)) == 0


def test_a_verdict_is_of_the_windows_that_have_something_to_score() -> None:
    other = np.array([1.0, 2.0, 3.0, 2.0, 1.0, 2.0, np.nan])
    own = 0.5 * other
    own[5] = np.nan
    compared = compare("last value", own, other)
    assert (compared.than, compared.windows, compared.error_ratio, compared.verdict) == ("last value", 5, 0.5, "better")
    assert compared.confidence == pytest.approx(diebold_mariano(other[:5] - own[:5]))
    assert compare("last value", other, own).verdict == "worse"
    assert compare("last value", own, own).verdict == "unclear"
    few = compare("last value", own[:4], other[:4])
    assert (math.isnan(few.confidence), few.verdict, few.error_ratio) == (True, "unclear", 0.5)
    none = compare("last value", [math.nan], [math.nan])
    assert (none.windows, none.verdict, math.isnan(none.error_ratio)) == (0, "unclear", True)
