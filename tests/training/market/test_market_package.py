"""``vinocast train forecast --features market``: from 5-minute candles of our own making to a model that is served."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from candle_files import make_candles, write_candles
from support import RunVinocast, StdioService, error_of, rows
from vinocast.evaluation.residuals import BANDS
from vinocast.forecast.manifest import open_forecaster
from vinocast.forecast.market import CHANNELS
from vinocast.training.market.candles import CONTEXT, HORIZON, MarketData, read_market

pytestmark = pytest.mark.slow
SIZES = ["--validation-share", "0.2", "--test-share", "0.2"]
OUTPUTS = ["close", "high", "low", "log_range", "log_volume", "log_volatility"]


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_candles(tmp_path_factory.mktemp("candles") / "made.csv", make_candles(1900, 300, seed=4))


@pytest.fixture(scope="module")
def model(candles: Path, tmp_path_factory: pytest.TempPathFactory, run_vinocast: RunVinocast) -> Path:
    output = tmp_path_factory.mktemp("models") / "made"
    options = ["--features", "market", "--data", candles, "--output", output, *SIZES]
    done = run_vinocast("train", "forecast", *options, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("this model: MSE log_range ")
    return output


@pytest.fixture(scope="module")
def data(candles: Path) -> MarketData:
    return read_market(candles, 0.2, 0.2)


def test_the_folder_is_a_market_model_with_its_card_and_its_record(model: Path, data: MarketData) -> None:
    folder = open_forecaster(model)
    folder.verify()
    manifest = folder.manifest
    assert manifest.market is not None
    assert (manifest.market.bar, manifest.layout, manifest.channels) == ("5m", "window", list(CHANNELS))
    assert manifest.market.channels == OUTPUTS
    trained = data.rows[: data.targets["train"][1]].astype(np.float64)
    volume = manifest.market.inputs["volume"]
    assert [volume.mean, volume.deviation] == pytest.approx(
        [np.log1p(trained[:, 3]).mean(), np.log1p(trained[:, 3]).std()]
    )
    assert [metric.split for metric in manifest.metrics] == ["validation", "test"]
    assert set(manifest.calibration) == {"channels", "others"}
    assert manifest.command == json.loads((model / "training.json").read_text())["command"]
    assert "/" not in str(manifest.command)
    assert sum(path.stat().st_size for path in model.rglob("*") if path.is_file()) < 3e6


def test_the_cards_figures_are_those_of_what_is_served(model: Path, data: MarketData) -> None:
    record = json.loads((model / "training.json").read_text())
    begins, windows = data.begins("test"), data.rows
    with StdioService("--models", model.parent) as service:
        asked = [rows(windows[begin - CONTEXT : begin]) for begin in begins[:3]]
        # A reply has the digits that read back the same as float32, and as that alone.
        predictions = np.array([service.ask(request)["predictions"] for request in asked], np.float32)
    assert (predictions[:, :, :3] == windows[begins[:3] - 1][:, None, :3]).all()
    own = record["test"][0]
    assert own["forecaster"] == "this model"
    names = [score["forecaster"] for score in record["test"]]
    assert names[1:] == [
        "HAR, levels alone", "ridge, each output by itself", "patchtst-etth1, each output by itself",
        "vinocast-general, each output by itself", "last value", "drift", "mean of the window",
        "EWMA of squared returns, 0.94",
    ]  # fmt: skip
    # Prices are the last value, in the same unit.
    last = record["test"][names.index("last value")]
    assert [own["mse"][name] for name in OUTPUTS[:3]] == pytest.approx([last["mse"][name] for name in OUTPUTS[:3]])
    market = open_forecaster(model).manifest.market
    assert market is not None
    unit = market.outputs["close"].deviation
    closes = windows[:, 0].astype(np.float64) / unit
    errors = [np.square(closes[begin : begin + HORIZON] - closes[begin - 1]).mean() for begin in begins]
    assert own["mse"]["close"] == pytest.approx(np.mean(errors), rel=1e-9)
    card = (model / "README.md").read_text()
    assert all(name in card for name in names)
    assert f"| {own['mse']['log_volume']:.4f} |" in card
    assert "## Where it loses" in card
    for band in record["bands"]:
        assert set(band["every"]) == {f"{100 * share:.0f}" for share in BANDS}


def test_it_is_served_by_names_with_bands(model: Path, data: MarketData) -> None:
    with StdioService("--models", model.parent) as service:
        window = data.rows[-CONTEXT:]
        reply = service.ask(rows(window, targets=["log_volatility", "close"], quantile_levels=[0.1, 0.9]))
        assert reply["channels"] == ["log_volatility", "close"]
        made, low, high = (
            np.array(reply[name]) if name == "predictions" else np.array(reply["quantiles"][name])
            for name in ("predictions", "0.1", "0.9")
        )
        assert made.shape == low.shape == (HORIZON, 2)
        assert (low[:, 1] < window[-1, 0]).all()
        assert (window[-1, 0] < high[:, 1]).all()
        assert (np.diff(high[:, 1])[[0, 1, 2]] > 0).all()  # the further, the wider
        assert error_of(service.ask(rows(window[:, :3]))) == ("invalid_shape", "past_values[0]")


def test_the_same_command_again_does_nothing_and_another_is_refused(
    model: Path, candles: Path, tmp_path: Path, run_vinocast: RunVinocast
) -> None:
    before = {path: path.stat().st_mtime_ns for path in model.iterdir()}
    given = ["train", "forecast", "--features", "market", "--output", model]
    again = run_vinocast(*given, "--data", candles, *SIZES)
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in model.iterdir()} == before
    other = write_candles(tmp_path / "other.csv", make_candles(1900, 300, seed=5))
    refused = run_vinocast(*given, "--data", other, *SIZES)
    assert refused.returncode == 1
    assert "holds another model" in refused.stderr


@pytest.mark.parametrize("options", [["--init", "patchtst-etth1"], ["--steps", "5"], ["--columns", "close"]])
def test_what_a_market_model_does_not_take_is_refused(
    options: list[str], candles: Path, tmp_path: Path, run_vinocast: RunVinocast
) -> None:
    given = ["train", "forecast", "--features", "market", "--data", candles, "--output", tmp_path / "m", *options]
    done = run_vinocast(*given)
    assert done.returncode == 2
    assert f"leave out {options[0]}" in done.stderr
