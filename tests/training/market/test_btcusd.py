"""The bundled market model, measured again as it is served, on the candles that it has not seen."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from support import MODELS, SHARED_DATA, StdioService, rows
from vinocast.engine.tuned import find_profile
from vinocast.forecast.manifest import open_forecaster
from vinocast.forecast.market import Market
from vinocast.training.market.candles import CONTEXT, HORIZON, MarketData, read_market
from vinocast.training.market.measure import ask, load, rolling

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]
NAME = "btcusd"
WHOLE = 20


@pytest.fixture(scope="module")
def data() -> MarketData:
    return read_market(SHARED_DATA / "coinbase" / "BTCUSD_1h.csv", validation_from="2019-02-08", test_from="2019-05-03")


@cache
def market() -> Market:
    section = open_forecaster(MODELS / NAME).manifest.market
    assert section is not None
    return section


def served(data: MarketData, begins: NDArray[np.int64]) -> NDArray[np.float32]:
    return ask(load(open_forecaster(MODELS / NAME), find_profile("native")), data, begins, NAME)


def test_the_bundled_model_earns_its_place(data: MarketData) -> None:
    """Every fourth window; what is asked of a model that is bundled, by sums of our own."""
    begins = data.begins("test")[::4]
    made = served(data, begins).astype(np.float64)
    wide = data.rows.astype(np.float64)
    places = begins[:, None] + np.arange(HORIZON)
    volumes = np.log1p(wide[:, 3])
    trained = volumes[: data.targets["train"][1]]
    error = (made[:, :, market().places["log_volume"]] - volumes[places]) / trained.std()
    assert np.square(error).mean() <= 0.73
    volatility = np.log(wide[:, 6])[begins + WHOLE - 1]
    said = made[:, WHOLE - 1, market().places["log_volatility"]]
    assert 1 - np.square(volatility - said).sum() / np.square(volatility - volatility.mean()).sum() >= 0.36
    ratio = np.exp(2 * (volatility - said))
    assert (ratio - np.log(ratio) - 1).mean() < 0.5
    for name in ("close", "high", "low"):
        assert (made[:, :, market().places[name]] == wide[begins - 1, market().places[name]][:, None]).all()


def test_bands_that_follow_a_stream_hold_what_they_say(data: MarketData) -> None:
    """Of the newest three months and the outcomes of the two before."""
    first = data.begins("test")[1800] - 1500
    begins = np.arange(first, data.begins("test")[-1] + 1)
    bands = rolling(market(), data, served(data, begins), begins, int(first) + 1500)
    for share, held in bands.every.items():
        assert abs(100 * held - float(share)) <= 2, bands


def test_a_service_answers_with_it(data: MarketData) -> None:
    with StdioService() as service:
        window = data.rows[-CONTEXT:]
        reply = service.ask(rows(window, model=NAME, prediction_length=3))
    assert reply["channels"] == ["close", "high", "low", "log_range", "log_volume", "log_volatility"]
    assert np.asarray(reply["predictions"], np.float32)[:, 0].tolist() == [float(window[-1, 0])] * 3
