"""Which model answers where a request names none: the general one for any series, the default for its own windows."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import vinocast
from forecast_toys import CONTEXT, make_linear
from support import MODEL, MODELS, VINOCAST, HttpService, Reply, StdioService, change_manifest, error_of, random_windows
from vinocast.data.bundled import BUNDLED_GENERAL

(WINDOW,) = random_windows(1)
NAMES = list("abcdefg")
LEVELS = [0.05, 0.1, 0.5, 0.9]
SERIES = [{"target": WINDOW[:, 0].tolist()}]


@pytest.fixture(scope="module")
def lines() -> Iterator[StdioService]:
    with StdioService() as service:
        yield service


@pytest.fixture(scope="module")
def served() -> Iterator[httpx.Client]:
    with HttpService() as service, httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def both(lines: StdioService, served: httpx.Client, **request: Any) -> Reply:
    """Ask over both, and return what they agree on."""
    replies: list[Reply] = [lines.ask(request), served.post("/forecast", json=request).json()]
    for reply in replies:
        assert reply["success"], reply
        for name in ("inference_time_ms", "queue_time_ms", "request_id", "timestamp_ms"):
            reply.pop(name)
    assert replies[0] == replies[1]
    return replies[0]


def test_any_series_are_the_general_models_and_a_plain_window_the_defaults(
    lines: StdioService, served: httpx.Client
) -> None:
    window = WINDOW.tolist()
    assert both(lines, served, past_values=window)["model"] == MODEL
    of_columns = both(lines, served, past_values=window, channels=NAMES, quantile_levels=LEVELS)
    of_series = both(lines, served, inputs=SERIES, quantile_levels=LEVELS)
    assert of_columns["model"] == of_series["model"] == BUNDLED_GENERAL
    (output,) = of_series["outputs"]
    assert np.allclose(output["predictions"], np.array(of_columns["predictions"])[:, 0], atol=1e-4)
    assert output["quantiles"]["0.5"] == output["predictions"]
    for low, high in itertools.pairwise(LEVELS):
        assert (np.array(of_columns["quantiles"][str(low)]) <= of_columns["quantiles"][str(high)]).all()
    assert both(lines, served, inputs=SERIES, model=MODEL)["model"] == MODEL
    assert both(lines, served, past_values=window, model=BUNDLED_GENERAL)["model"] == BUNDLED_GENERAL


def test_streams_are_the_defaults(served: httpx.Client) -> None:
    observed = served.post("/streams/rows/observations", json={"values": WINDOW.tolist()}).json()
    assert observed["missing"] == 0
    assert served.post("/forecast", json={"stream": "rows"}).json()["model"] == MODEL


def test_routes_of_other_standards_and_clients_take_the_same(served: httpx.Client) -> None:
    url = str(served.base_url)
    own = served.post("/forecast", json={"inputs": SERIES, "prediction_length": 3}).json()["outputs"][0]["predictions"]
    theirs = served.post("/invocations", json={"inputs": SERIES, "parameters": {"prediction_length": 3}}).json()
    assert theirs["predictions"][0]["mean"] == own
    assert (
        served.get("/openapi.json").json()["paths"]["/v1/timeseries/forecast"]["post"]["requestBody"]["content"][
            "application/json"
        ]["example"]["model"]
        == BUNDLED_GENERAL
    )
    with vinocast.connect(url) as client:
        assert client.forecast_series([WINDOW[:, 0]])[0].model == BUNDLED_GENERAL
        assert client.forecast(WINDOW, channels=NAMES).model == BUNDLED_GENERAL
        assert client.forecast(WINDOW).model == MODEL


def test_in_this_process_too_unless_one_is_named() -> None:
    model = vinocast.load()
    assert model.name == model.forecast(WINDOW).model == MODEL
    assert model.forecast_series([WINDOW[:, 0]])[0].model == BUNDLED_GENERAL
    assert model.forecast(WINDOW, channels=NAMES).model == BUNDLED_GENERAL
    assert vinocast.load(MODEL).forecast(WINDOW, channels=NAMES).model == MODEL


def test_a_default_that_is_named_is_for_everything() -> None:
    with StdioService("--default-model", MODEL) as service:
        assert service.ask({"inputs": SERIES})["model"] == MODEL
        assert service.ask({"past_values": WINDOW.tolist(), "channels": NAMES})["model"] == MODEL
    with StdioService("--default-model", BUNDLED_GENERAL) as service:
        assert service.ask({"past_values": WINDOW.tolist()})["model"] == BUNDLED_GENERAL


def test_beside_a_users_one_model_it_is_for_any_series(tmp_path: Path) -> None:
    make_linear(tmp_path / "mine")
    shutil.copytree(MODELS / BUNDLED_GENERAL, tmp_path / BUNDLED_GENERAL)
    with StdioService("--models", tmp_path) as service:
        assert service.ask({"past_values": np.ones((CONTEXT, 3)).tolist()})["model"] == "mine"
        assert service.ask({"inputs": SERIES})["model"] == BUNDLED_GENERAL
    change_manifest(tmp_path / BUNDLED_GENERAL, horizon=-1)
    with StdioService("--models", tmp_path) as service:
        code, _ = error_of(service.ask({"inputs": SERIES}))
        assert code == "unknown_model"
        assert service.ask({"past_values": np.ones((CONTEXT, 3)).tolist()})["model"] == "mine"


def test_a_file_is_forecast_by_it_whatever_its_columns_are_named(tmp_path: Path) -> None:
    file = tmp_path / "some.csv"
    file.write_text("\n".join(["HUFL,HULL", *(f"{a},{b}" for a, b in WINDOW[:, :2])]) + "\n")

    def forecast(*options: str) -> Any:
        done = subprocess.run(
            [VINOCAST, "forecast", file, "--format", "json", "--quantiles", "0.1,0.5", *options],
            capture_output=True,
            check=True,
            timeout=60,
        )
        return orjson.loads(done.stdout)

    made = forecast()
    assert made["model"] == BUNDLED_GENERAL
    assert made["quantiles"]["0.5"] == made["predictions"]
    assert forecast("--default-model", MODEL)["model"] == MODEL
    assert forecast("--models", str(MODELS))["model"] == BUNDLED_GENERAL
