"""Forecasts without a model are what their names say, and a season is found where there is one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from support import SHARED_DATA
from vinocast.data.tables.read import read_table
from vinocast.evaluation.baselines import drift, find_season, last_value, residual_quantiles, seasonal_naive

HISTORY = np.array([[1.0, 2, 4, 7], [0, 0, 0, 3]])


def test_baselines_are_what_their_names_say() -> None:
    assert last_value(HISTORY, 3).tolist() == [[7, 7, 7], [3, 3, 3]]
    assert seasonal_naive(HISTORY, 5, 3).tolist() == [[2, 4, 7, 2, 4], [0, 0, 3, 0, 0]]
    assert seasonal_naive(HISTORY, 2, 1).tolist() == last_value(HISTORY, 2).tolist()
    assert drift(HISTORY, 2).tolist() == [[9, 11], [4, 5]]
    assert drift([5.0], 2).tolist() == [5, 5]
    assert last_value([1.0, 2], 2).tolist() == [2, 2]


def test_quantiles_are_of_what_a_baseline_erred_by(rng: np.random.Generator) -> None:
    noise = rng.normal(size=(3, 2000))
    levels = [0.1, 0.5, 0.9]
    made = residual_quantiles(last_value, noise, 4, levels)
    assert made.shape == (3, 3, 4)
    assert (np.diff(made, axis=0) > 0).all()
    # The difference of two draws is sqrt(2) times as wide as one.
    spread = made[2] - made[0]
    assert abs(spread.mean() / (2 * 1.2816 * np.sqrt(2)) - 1) < 0.25
    line = np.arange(50.0)
    np.testing.assert_allclose(residual_quantiles(drift, line, 3, levels), np.broadcast_to(drift(line, 3), (3, 3)))
    assert residual_quantiles(last_value, [1.0, 2, 3], 4, [0.5]).tolist() == [[3, 3, 3, 3]]
    naive = partial(seasonal_naive, season=5)
    season = np.tile([1.0, 5, 2, 8, 3], 20)
    np.testing.assert_allclose(residual_quantiles(naive, season, 7, [0.1, 0.9], 5), [naive(season, 7)] * 2)


@pytest.mark.parametrize("season", [2, 7, 12, 24, 96])
@pytest.mark.parametrize("trend", [0.0, 0.5])
def test_a_season_is_found_below_a_trend_and_noise(rng: np.random.Generator, season: int, trend: float) -> None:
    shape = rng.normal(size=(2, season)).cumsum(axis=-1) * 3
    shape = np.array([[0.0, 9.0]] * 2) if season == 2 else shape
    history = (
        np.tile(shape, 8)[:, : season * 8] + trend * np.arange(season * 8) + rng.normal(size=(2, season * 8)) * 0.3
    )
    assert find_season(history) == season


def test_no_season_is_found_where_there_is_none(rng: np.random.Generator) -> None:
    for _ in range(20):
        assert find_season(rng.normal(size=500).cumsum()) == 1
    assert find_season(np.zeros(500)) == 1
    assert find_season(np.arange(500.0)) == 1
    assert find_season([1.0, 2, 3]) == 1


@pytest.mark.shared_data
def test_a_day_is_the_season_of_the_transformer() -> None:
    (item,) = read_table(SHARED_DATA / "ETTh1.csv").items
    assert find_season(item.values[-608:-96].T) == 24
