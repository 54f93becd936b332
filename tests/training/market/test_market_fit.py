"""What a market model sees, what it learns of it, and the graph that computes the same."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from candle_files import make_candles, write_candles
from numpy.typing import NDArray
from vinocast.training.market.candles import CONTEXT, HORIZON, MarketData, read_market
from vinocast.training.market.features import CLIP, MOVES, SEEN, Scaling, Sights, anchor, shapes
from vinocast.training.market.fit import Fitted, fit, forecast_logs, scale, scaled_logs
from vinocast.training.market.graph import build_graph
from vinocast.training.market.made import LEVELS, made_bars, made_windows
from vinocast.training.market.write import section

SCALING = Scaling((2e-4, 1e-4), (-5.0, 5.5, -5.2), (0.9, 0.8, 0.7))
# What the graph may differ from the same in float64, in the units of logarithms.
EXACT = 1e-5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> MarketData:
    path = write_candles(tmp_path_factory.mktemp("candles") / "c.csv", make_candles(4000, seed=8))
    return read_market(path, 0.2, 0.2)


@pytest.fixture(scope="module")
def fitted(data: MarketData) -> Fitted:
    scaling = scale(data)
    return fit(data, scaling, scaled_logs(section(data, scaling), data), (0.1,))


def futures(data: MarketData, split: str) -> NDArray[np.float64]:
    logs = scaled_logs(section(data, scale(data)), data)
    begins = data.begins(split)  # type: ignore[arg-type]
    return np.lib.stride_tricks.sliding_window_view(logs, HORIZON, axis=0)[begins].transpose(0, 2, 1)


def test_what_is_seen_of_a_window_is_of_that_window() -> None:
    rows = made_bars(700, 65_000)
    seen = Sights(rows, SCALING).of(np.array([CONTEXT, 600]))
    for place, begin in enumerate((CONTEXT, 600)):
        window = rows[begin - CONTEXT : begin].astype(np.float64)
        ranges = np.log(np.maximum((window[:, 1] - window[:, 2]) / window[:, 2], 2e-4))
        volumes = np.log(1 + window[:, 3])
        returns = window[1:, 0] / window[:-1, 0] - 1
        moves = [np.log(max(np.sqrt((returns[-count:] ** 2).mean()), 1e-4)) for count in MOVES]
        bars = np.maximum((ranges + 5) / 0.9, CLIP), np.maximum((volumes - 5.5) / 0.8, CLIP)
        expected = np.concatenate([*bars, (np.array(moves) + 5.2) / 0.7, np.ones(1)])
        assert seen[place] == pytest.approx(expected, abs=1e-9)


def test_shapes_are_changes_against_the_level_of_the_window() -> None:
    flat = np.concatenate((np.full(CONTEXT, 2.0), np.full(CONTEXT, -1.0), np.full(len(MOVES), 0.5), [1]))
    levels = [flat @ anchor(output) for output in range(3)]
    assert levels == pytest.approx([2, -1, 0.5])
    made = flat @ shapes(0.1)
    # Where nothing moves all that is left are the levels themselves, and 1.
    assert sorted(made[np.abs(made) > 1e-12].tolist()) == pytest.approx([-1, 0.5, 1, 2])
    assert shapes(0.0).shape[1] == shapes(0.1).shape[1] - 2 * CONTEXT


def test_the_weights_are_those_of_a_ridge_regression(data: MarketData, fitted: Fitted) -> None:
    scaling = scale(data)
    seen = Sights(data.rows, scaling).of(data.begins("train"))
    choice, level = fitted.choices[1], anchor(1)
    shape = shapes(choice.bar_weight)
    wanted = futures(data, "train")[:, 5, 1] - seen @ level
    # As least squares with rows for the penalty, which is of the mean.
    root = np.sqrt(choice.penalty * len(seen))
    design = np.concatenate((seen @ shape, root * np.eye(shape.shape[1])))
    found = np.linalg.lstsq(design, np.concatenate((wanted, np.zeros(shape.shape[1]))), rcond=None)[0]
    assert fitted.weights[1][:, 5] == pytest.approx(shape @ found + level, abs=1e-8)


def test_the_errors_that_choose_are_those_on_validation(data: MarketData, fitted: Fitted) -> None:
    made = forecast_logs(data, scale(data), fitted, data.begins("validation"))
    errors = np.square(made - futures(data, "validation")).mean(axis=(0, 1))
    assert [choice.mse for choice in fitted.choices] == pytest.approx(errors.tolist(), rel=1e-9)
    assert [choice.output for choice in fitted.choices] == ["log_range", "log_volume", "log_volatility"]


def test_it_learns_what_there_is_to_learn(data: MarketData, fitted: Fitted) -> None:
    """The candles have a mood that fades and an hour of the day; the last value knows of neither."""
    begins = data.begins("test")
    made, actual = forecast_logs(data, scale(data), fitted, begins), futures(data, "test")
    last = scaled_logs(section(data, scale(data)), data)[begins - 1][:, None]
    ours, theirs = (np.square(each - actual).mean(axis=(0, 1)) for each in (made, last))
    assert (ours < 0.8 * theirs).all()


def random_weights() -> NDArray[np.float64]:
    return np.random.default_rng(3).normal(0, 0.03, (3, SEEN, HORIZON))


@pytest.mark.parametrize("level", LEVELS)
def test_the_graph_computes_the_same_at_any_level_of_prices(level: float) -> None:
    rows, begins, weights = made_bars(620, level, 5, quiet=0.1), np.arange(CONTEXT, 620, 9), random_weights()
    compiled = ov.Core().compile_model(build_graph(weights, SCALING), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    windows = np.stack([rows[begin - CONTEXT : begin] for begin in begins])
    made = compiled(windows)[0]
    assert made.shape == (len(begins), HORIZON, 6)
    assert (made[:, :, :3] == windows[:, -1:, :3]).all()
    seen = Sights(rows, SCALING).of(begins)
    expected = np.stack([seen @ each for each in weights], axis=2) * SCALING.deviations + np.array(SCALING.means)
    # The weights are of either sign: what they add up to says how exact a sum of them can be.
    scale_of = np.abs(seen) @ np.abs(weights).max(axis=(0, 2))
    assert (np.abs(made[:, :, 3:] - expected) <= EXACT * (1 + scale_of[:, None, None])).all()


def test_prices_in_float32_lose_little_of_what_is_forecast(data: MarketData, fitted: Fitted) -> None:
    """A step of 0.008 at 65,000 is a ten-thousandth of the range of a quiet hour; it is not one of the forecast."""
    scaling, begins = scale(data), data.begins("test")[::50]
    rows = data.rows.astype(np.float64)
    rows[:, :3] *= 65_000 / 8000
    exact, rounded = (Sights(values, scaling).of(begins) for values in (rows, rows.astype(np.float32)))
    for weights in fitted.weights:
        assert np.abs((exact - rounded) @ weights).max() < 1e-4


def test_made_windows_hold_markets_of_every_level() -> None:
    windows = made_windows(CONTEXT)
    assert windows.shape == (2 * len(LEVELS), CONTEXT, 7)
    assert np.isfinite(windows).all()
    assert ((windows[:, :, 2] <= windows[:, :, 0]) & (windows[:, :, 0] <= windows[:, :, 1])).all()
    assert (windows[1::2, :, 3] == 0).any(axis=1).all()
    assert np.array_equal(windows, made_windows(CONTEXT))
