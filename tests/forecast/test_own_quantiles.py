"""Models that have quantiles of their own: what is made of them, what is refused, what a calibration changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import vinocast
from forecast_toys import CONTEXT, HORIZON, LEVELS, NAMES, OFFSETS, linear, make_linear
from numpy.typing import NDArray
from support import change_manifest
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.profiles import DEFAULT_PROFILE, PROFILES
from vinocast.errors import InvalidRequestError, ModelRefusedError
from vinocast.evaluation.calibration import calibrate
from vinocast.evaluation.residuals import Values
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import QUANTILES_FILE, open_forecaster
from vinocast.forecast.quantiles import HALVINGS, at_places, own_table, places_of

PROFILE = PROFILES[DEFAULT_PROFILE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_linear(tmp_path_factory.mktemp("models") / "own", with_table=False, with_own=True)


@pytest.fixture(scope="module")
def model(folder: Path) -> vinocast.Forecaster:
    return vinocast.load(folder)


def windows(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((CONTEXT, count)).astype(np.float32)


def spread(count: int, horizon: int = 6, levels: int = 9) -> NDArray[np.float32]:
    """Quantiles [levels, horizon, count] of sizes as far apart as float32 has them."""
    random = np.random.default_rng(3)
    scales = np.geomspace(1e-25, 1e25, count)
    return np.sort(random.standard_normal((levels, horizon, count)) * scales, axis=0).astype(np.float32)


def test_predictions_are_the_median_and_own_levels_come_out_exactly(model: vinocast.Forecaster) -> None:
    window = windows(3)
    plain = model.forecast(window)
    asked = model.forecast(window, quantile_levels=LEVELS)
    assert plain.quantiles == {}
    assert (plain.predictions == asked.predictions).all()
    assert np.allclose(plain.predictions, linear(window), atol=1e-5)
    assert (asked.quantiles[0.5] == asked.predictions).all()
    for level, offset in zip(LEVELS, OFFSETS, strict=True):
        assert np.allclose(asked.quantiles[level], linear(window) + offset, atol=1e-5)


def test_between_its_levels_values_are_interpolated_and_beyond_them_the_last_step_goes_on_by_halvings(
    model: vinocast.Forecaster,
) -> None:
    window = windows(3)
    made = model.forecast(window, quantile_levels=[0.001, 0.025, 0.05, 0.2, 0.7, 0.95, 0.975, 1]).quantiles
    points = linear(window)
    for level, offset in {
        0.025: -2 - 2 * 1.5,
        0.05: -2 - 1.5,
        0.2: -1.25,
        0.7: 2,
        0.95: 4 + 4,
        0.975: 4 + 2 * 4,
        1: 4 + HALVINGS * 4,
    }.items():
        assert np.allclose(made[level], points + offset, atol=1e-4)
    assert (made[0.001] < made[0.025]).all()


@pytest.mark.parametrize("count", [4, 40])
def test_windows_of_any_columns_and_cuts_have_them_too(model: vinocast.Forecaster, count: int) -> None:
    """Forty columns are computed in parts."""
    window = windows(count)
    names = [f"c{index}" for index in range(count)]
    made = model.forecast(window, channels=names, quantile_levels=[0.1, 0.9], prediction_length=2)
    assert made.quantiles[0.9].shape == (2, count)
    assert np.allclose(made.predictions, linear(window)[:2], atol=1e-5)
    assert np.allclose(made.quantiles[0.1], linear(window)[:2] - 2, atol=1e-5)
    only = model.forecast(window, channels=names, targets=["c3"], quantile_levels=[0.9])
    assert np.allclose(only.quantiles[0.9], linear(window)[:, 3:4] + 4, atol=1e-5)


def test_series_have_them_too_short_and_holed_ones_as_well(model: vinocast.Forecaster) -> None:
    rows = [*windows(300).T, windows(1, seed=1)[:5, 0], np.where(np.arange(CONTEXT) == 3, np.nan, 1)]
    made = model.forecast_series(rows, short="pad", missing="interpolate", quantile_levels=[0.1, 0.5])
    assert len(made) == 302
    for row, each in zip(rows[:300], made, strict=False):
        assert np.allclose(each.quantiles[0.1], linear(row[:, None])[:, 0] - 2, atol=1e-5)
        assert (each.quantiles[0.5] == each.predictions).all()
    assert made[300].padded == CONTEXT - 5
    assert made[301].filled == 1


def test_forecasts_of_forecasts_have_none_and_are_of_the_points(model: vinocast.Forecaster) -> None:
    window = windows(3)
    assert np.allclose(
        model.forecast(window, prediction_length=10, rollout=True).predictions, linear(window, 10), atol=1e-4
    )
    with pytest.raises(InvalidRequestError, match="quantile_levels"):
        model.forecast(window, prediction_length=10, rollout=True, quantile_levels=[0.5])


def test_at_places_is_exact_at_whole_places_and_ascends() -> None:
    own = spread(9)
    table = own_table([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert (at_places(own, np.arange(9, dtype=np.float32)[:, None, None]) == own).all()
    levels = np.sort(np.concatenate([np.random.default_rng(1).random(500), table.levels]))
    made = table.quantiles(levels.tolist(), own, np.ones(9, np.float32), None)
    assert (np.diff(made, axis=0) >= 0).all()
    places = np.sort(np.random.default_rng(2).uniform(-9, 17, (200, 6, 9)), axis=0).astype(np.float32)
    assert (np.diff(at_places(own, places), axis=0) >= 0).all()


def test_places_are_where_values_lie() -> None:
    own = spread(5, levels=4)
    places = np.random.default_rng(4).uniform(-3, 6, (1, 6, 5))
    found = places_of(own, at_places(own, places.astype(np.float32))[0])
    assert np.allclose(found, places[0], atol=1e-3)
    assert not np.isfinite(places_of(np.zeros((3, 1, 1), np.float32), np.zeros((1, 1)))).any()


@pytest.mark.parametrize(
    "levels",
    [[0.1, 0.9], [0.5, 0.9], [0.1, 0.5], [0.5, 0.1, 0.9], [0.1, 0.5, 0.5, 0.9], [0, 0.5, 1], [0.1, 0.5, float("nan")]],
)
def test_levels_that_are_none_refuse_the_model(tmp_path: Path, levels: list[float]) -> None:
    folder = make_linear(tmp_path / "own", with_table=False, with_own=True)
    change_manifest(folder, quantile_levels=levels)
    with pytest.raises(ModelRefusedError):
        open_forecaster(folder)


@pytest.mark.parametrize("levels", [[], [0.1, 0.5, 0.9]])
def test_a_graph_of_other_levels_than_the_manifest_says_is_refused(tmp_path: Path, levels: list[float]) -> None:
    folder = make_linear(tmp_path / "own", with_table=False, with_own=True)
    change_manifest(folder, quantile_levels=levels)
    with pytest.raises(ModelRefusedError, match="another shape"):
        ForecastEngine(open_forecaster(folder)).load(Compiler(PROFILE, cpu_budget()))


def test_a_window_model_has_no_quantiles_of_its_own(tmp_path: Path) -> None:
    folder = make_linear(tmp_path / "own", "window", with_table=False)
    change_manifest(folder, quantile_levels=LEVELS)
    with pytest.raises(ModelRefusedError, match="layout window"):
        open_forecaster(folder)


def test_calibration_moves_them_to_where_values_fall_and_the_point_stays(tmp_path: Path) -> None:
    """What comes is the point and noise ten times as wide as the model believes."""
    folder = make_linear(tmp_path / "own", with_table=False, with_own=True)
    rows = CONTEXT + HORIZON
    random = np.random.default_rng(7)
    tables = []
    for _ in range(600):
        past = random.standard_normal((CONTEXT, len(NAMES)))
        future = linear(past.astype(np.float32)) + 30 * random.standard_normal((HORIZON, len(NAMES)))
        tables.append(np.concatenate([past, future]).astype(np.float32))
    assert tables[0].shape == (rows, 3)
    values = Values("made", hashlib.sha256(b"made").hexdigest(), NAMES, tables)
    done = calibrate(open_forecaster(folder), values, PROFILE, decay=1)
    for made in done.made.values():
        assert made.held_back["before_80"] < 0.2
        assert abs(made.held_back["coverage_80"] - 0.8) < 0.06
        assert abs(made.held_back["coverage_90"] - 0.9) < 0.06
    model = vinocast.load(folder)
    window = windows(3)
    answer = model.forecast(window, quantile_levels=[0.05, 0.1, 0.9, 0.95])
    assert np.allclose(answer.predictions, linear(window), atol=1e-5)
    for level, deviations in {0.05: -1.645, 0.1: -1.282, 0.9: 1.282, 0.95: 1.645}.items():
        assert np.allclose(answer.quantiles[level], answer.predictions + 30 * deviations, atol=12)
    again = calibrate(open_forecaster(folder), values, PROFILE, decay=1)
    assert not again.changed
    assert QUANTILES_FILE in open_forecaster(folder).manifest.files
