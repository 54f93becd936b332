"""A market model: other columns come out than go in, and what they are measured by is computed from the bars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from market_toys import CONTEXT, FLOOR, HORIZON, MARKET, OUTPUTS, answer, bars, make_market
from support import RunVinocast, StdioService, change_manifest, error_of, rows
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.tuned import TunedProfile
from vinocast.errors import ModelRefusedError
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import open_forecaster
from vinocast.forecast.market import CHANNELS, MOST_CONTEXT, Market, Normalization
from vinocast.forecast.stream import Stream
from vinocast.market.ring import KEPT


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_market(tmp_path_factory.mktemp("models") / "toy").parent


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[StdioService]:
    with StdioService("--models", models) as service:
        yield service


def test_a_reply_names_the_outputs_and_holds_them(service: StdioService) -> None:
    window = bars(CONTEXT, 9)
    reply = service.ask(rows(window))
    assert reply["channels"] == OUTPUTS
    assert np.asarray(reply["predictions"]) == pytest.approx(answer(window[None])[0], rel=1e-6)
    (told,) = service.ask({"op": "ping"})["models"]
    assert (told["channels"], told["outputs"], told["bar"]) == (list(CHANNELS), OUTPUTS, "5m")


def test_targets_are_outputs_by_name_and_by_index(service: StdioService) -> None:
    window = bars(CONTEXT, 9)
    reply = service.ask(rows(window, targets=["log_volume", 0], prediction_length=2))
    assert reply["channels"] == ["log_volume", "close"]
    assert np.asarray(reply["predictions"]) == pytest.approx(answer(window[None])[0][:2, [3, 0]], rel=1e-6)
    assert error_of(service.ask(rows(window, targets=["rsi"]))) == ("unknown_target", "targets[0]")
    assert error_of(service.ask(rows(window, targets=[5]))) == ("unknown_target", "targets[0]")


def test_its_forecasts_are_no_bars_to_forecast_from(service: StdioService) -> None:
    reply = service.ask(rows(bars(CONTEXT), prediction_length=HORIZON + 1, rollout=True))
    assert error_of(reply) == ("invalid_request", "prediction_length")
    assert "no bars" in reply["error"]["message"]


def test_bands_of_a_stream_are_those_of_its_own_outcomes() -> None:
    seen, market = bars(CONTEXT + 80, 4), Market.model_validate(MARKET)
    stream = Stream(CONTEXT, 7, 1000, residuals=50)
    stream.observe(seen[:CONTEXT], None)
    first = []
    for at in range(CONTEXT, len(seen)):
        window = seen[at - CONTEXT : at]
        points, scales = answer(window[None])[0], market.scales(window)
        expected = stream.expect("m", HORIZON, market)
        assert expected is not None
        expected.remember(points, scales, range(len(OUTPUTS)))
        stream.observe(seen[at : at + 1], None)
        first.append((market.outcomes(seen[at]) - points[0]) / scales)
    quantiles = np.zeros((1, HORIZON, len(OUTPUTS)), np.float32)
    points, scales = answer(seen[None, -CONTEXT:])[0], market.scales(seen[-CONTEXT:])
    expected = stream.expect("m", HORIZON, market)
    assert expected is not None
    assert expected.improve(quantiles, [0.5], points, scales, range(len(OUTPUTS))) == "stream"
    median = np.median(np.array(first[-50:]), axis=0)
    assert quantiles[0, 0] == pytest.approx(points[0] + median * scales, rel=1e-4)


def test_under_a_tuned_profile_it_runs_as_it_is_without_a_warning(models: Path) -> None:
    profile = TunedProfile("tuned", "as was measured", isa_cap=None, threads=1)
    engine = ForecastEngine(open_forecaster(models / "toy"))
    engine.load(Compiler(profile, cpu_budget()))
    # What else is in force rests on who was the first in this process to load OpenVINO.
    assert not any("was not tuned" in warning for warning in engine.warnings)
    assert engine.precision == "f32"


def test_outcomes_are_logarithms_with_a_floor_and_prices_as_they_are() -> None:
    market = Market.model_validate(MARKET)
    quiet = np.array([[10, 10, 10, 0, 50, 0, 0], [10, 11, 10, np.e - 1, 50, 0, 0.02]], np.float32)
    made = market.outcomes(quiet)
    assert made[0] == pytest.approx([10, 10, np.log(FLOOR), 0, np.log(1e-5)], rel=1e-6)
    assert made[1] == pytest.approx([10, 10, np.log(0.1), 1, np.log(0.02)], rel=1e-6)
    assert np.isnan(market.outcomes(np.full((1, 7), np.nan))).all()


def test_a_range_is_exact_where_prices_are_high() -> None:
    """In float32 a step at 65,000 is 0.004: the difference of two prices is exact, that of two logarithms is not."""
    low, high = np.float32(65_000.125), np.float32(65_000.25)
    row = np.array([low, high, low, 0, 0, 0, 0], np.float32)
    market = Market.model_validate(MARKET | {"floors": {"log_range": 1e-9}})
    assert market.outcomes(row)[2] == pytest.approx(np.log(0.125 / 65_000.125), rel=1e-6)


def test_bands_of_prices_are_as_wide_as_recent_returns_are_wild() -> None:
    market = Market.model_validate(MARKET)
    steady, wild = bars(120, 5), bars(120, 5)
    steady[:, 0] = 100 * 1.001 ** (np.arange(120) % 2)
    wild[:, 0] = 100 * 1.01 ** (np.arange(120) % 2)
    assert market.scales(steady)[0] == pytest.approx(100.1 * 0.001, rel=1e-2)
    assert market.scales(wild)[:2] == pytest.approx(101 * 0.01, rel=1e-2)
    assert (market.scales(wild)[2:] == 1).all()
    assert (market.scales(np.zeros((5, 20, 7))) > 0).all()


def test_a_normalization_and_its_inverse() -> None:
    values = np.array([0, 1, 1000.5])
    for transform in ("none", "log1p"):
        made = Normalization.model_validate({"transform": transform, "mean": 2, "deviation": 0.5})
        assert made.undo(made.apply(values)) == pytest.approx(values, abs=1e-9)
    assert Normalization(transform="log1p", mean=0, deviation=2).apply(np.array([np.e - 1])) == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"layout": "series"}, "layout window"),
        ({"channels": ["a", "b", "c", "d", "e", "f", "g"]}, "layout window"),
        ({"context": KEPT + 1}, "expected at most 900 of a market model, as many bars as a stream keeps, got 901"),
        ({"market": MARKET | {"bar": "5"}}, "market.bar"),
        ({"market": MARKET | {"outputs": {}}}, "market.outputs"),
        ({"market": MARKET | {"outputs": {"rsi": {"mean": 0, "deviation": 1}}}}, "market.outputs"),
        ({"market": MARKET | {"outputs": {"close": {"mean": 0, "deviation": 0}}}}, "market.outputs.close.deviation"),
        ({"market": MARKET | {"floors": {"log_range": 0}}}, "market.floors"),
        ({"market": MARKET | {"inputs": dict(reversed(MARKET["inputs"].items()))}}, "market.inputs"),
    ],
)
def test_a_section_that_cannot_be_is_refused(tmp_path: Path, fields: dict[str, Any], told: str) -> None:
    folder = make_market(tmp_path / "toy")
    change_manifest(folder, **fields)
    with pytest.raises(ModelRefusedError, match=told):
        open_forecaster(folder)


def test_a_context_may_be_as_long_as_a_stream_is_kept(tmp_path: Path) -> None:
    folder = make_market(tmp_path / "toy")
    change_manifest(folder, context=MOST_CONTEXT)
    assert open_forecaster(folder).manifest.context == KEPT


@pytest.mark.parametrize(("bar", "seconds"), [("30s", 30), ("5m", 300), ("1h", 3600)])
def test_the_length_of_a_bar(bar: str, seconds: int) -> None:
    assert Market.model_validate(MARKET | {"bar": bar}).seconds == seconds


@pytest.mark.parametrize("command", ["forecast", "evaluate", "calibrate"])
def test_commands_of_tables_refuse_it_and_say_why(
    command: str, models: Path, tmp_path: Path, run_vinocast: RunVinocast
) -> None:
    table = tmp_path / "table.csv"
    lines = [",".join(CHANNELS), *(",".join(map(str, row)) for row in bars(400).tolist())]
    table.write_text("\n".join(lines) + "\n")
    given = [table, "--models", models] if command == "forecast" else [models / "toy", "--data", table]
    done = run_vinocast(command, *given)
    assert done.returncode == 1
    assert "toy is a model of a market's bars" in done.stderr
