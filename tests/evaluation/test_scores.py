"""The scores, against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from vinocast.evaluation.scores import (
    coverage,
    mae,
    mase,
    mse,
    quantile_loss,
    weighted_quantile_loss,
)

ACTUAL = [[1.0, 2.0, 4.0], [-1.0, 0.0, 2.0]]
FORECAST = [[1.0, 3.0, 2.0], [0.0, 0.0, 2.0]]
NAN = math.nan


def test_errors_of_points() -> None:
    # Errors 0, -1, 2 and -1, 0, 0.
    assert mse(ACTUAL, FORECAST) == pytest.approx(6 / 6)
    assert mae(ACTUAL, FORECAST) == pytest.approx(4 / 6)


def test_absolute_errors_are_scaled_by_what_the_naive_errs_by_in_each_history() -> None:
    histories = [[1, 3, 2], [0, 0, 4]]  # moves of 2 and 1, and of 0 and 4: units 1.5 and 2
    assert mase(ACTUAL, FORECAST, histories) == pytest.approx((0 + 1 / 1.5 + 2 / 1.5 + 1 / 2 + 0 + 0) / 6)
    # Two points back: |2 - 1| and |4 - 0|.
    assert mase(ACTUAL, FORECAST, histories, season=2) == pytest.approx((0 + 1 + 2 + 1 / 4) / 6)


def test_a_history_without_a_move_has_no_unit_and_is_left_out() -> None:
    assert mase(ACTUAL, FORECAST, [[5, 5, 5], [0, 0, 4]]) == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert math.isnan(mase(ACTUAL, FORECAST, [[5, 5, 5], [1, 1, 1]]))


def test_gaps_of_the_history_make_no_move() -> None:
    assert mase(ACTUAL, FORECAST, [[1, 3, NAN, 2], [0, 0, NAN, NAN]]) == pytest.approx((0 + 1 / 2 + 2 / 2) / 3)


def test_the_pinball_loss_weighs_both_sides_by_the_level() -> None:
    # One quantile of each level for all: errors of the first level 1, -2, of the second -1, -4.
    losses = quantile_loss([2.0, -1.0], [[1.0, 1.0], [3.0, 3.0]], (0.1, 0.9))
    assert losses == pytest.approx([(0.1 * 1 + 0.9 * 2) / 2, (0.1 * 1 + 0.1 * 4) / 2])


def test_the_weighted_loss_is_twice_the_pinball_loss_over_the_mean_size() -> None:
    loss = weighted_quantile_loss([2.0, -1.0], [[1.0, 1.0], [3.0, 3.0]], (0.1, 0.9))
    assert loss == pytest.approx(2 * (0.95 + 0.25) / 2 / 1.5)
    assert math.isnan(weighted_quantile_loss([0.0, 0.0], [[1.0, 1.0]], (0.5,)))


def test_of_a_point_the_weighted_loss_is_the_absolute_error_over_the_size() -> None:
    levels = [level / 10 for level in range(1, 10)]
    loss = weighted_quantile_loss(ACTUAL, np.tile(FORECAST, (9, 1, 1)), levels)
    assert loss == pytest.approx(mae(ACTUAL, FORECAST) / np.abs(ACTUAL).mean())


def test_bounds_are_covered_as_well() -> None:
    assert coverage([1.0, 2.0, 3.0, 4.0], [1, 0, 4, 0], [2, 2, 5, 3.9]) == pytest.approx(2 / 4)


def test_gaps_are_scored_by_nobody() -> None:
    actual = [1.0, NAN, 4.0]
    assert mse(actual, [0, 0, 0]) == pytest.approx(17 / 2)
    assert mae(actual, [0, 0, 0]) == pytest.approx(5 / 2)
    assert mase(actual, [0, 0, 0], [0, 1]) == pytest.approx(5 / 2)
    assert coverage(actual, [0, 0, 0], [1, 1, 1]) == pytest.approx(1 / 2)
    assert quantile_loss(actual, [[0, 0, 0]], (0.5,)) == pytest.approx([5 / 4])
    assert math.isnan(mae([NAN], [1.0]))


def test_a_forecast_that_is_none_is_no_gap() -> None:
    assert math.isnan(mae([1.0, 2.0], [1.0, NAN]))
