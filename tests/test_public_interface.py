"""``import vinocast``: what is exported, of which types, and that it answers from any thread."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import metadata
from pathlib import Path

import numpy as np
import pytest
import vinocast
from numpy.typing import NDArray
from support import MODEL, MODELS, near, random_windows, raw_inference
from vinocast import errors
from vinocast.errors import VinocastError

NAMES = {
    *(each.__name__ for each in vars(errors).values() if isinstance(each, type) and issubclass(each, VinocastError)),
    *("AsyncClient", "Backtest", "Candidate", "Child", "Client", "Comparison", "Forecast", "Forecaster", "Forgotten"),
    *("Bar", "ClosedBar", "Event", "Fed", "HeldBars", "OnBarTerms"),
    *("Observed", "Recognized", "ServiceTerms", "Terms", "__version__", "connect", "connect_async", "load", "spawn"),
} - {"RasterError", "RasterSizeError"}
TYPED = """
import numpy as np
import vinocast
from numpy.typing import NDArray
from collections.abc import Mapping
from typing import Any, assert_type

model = vinocast.load("patchtst-etth1", profile="native", strict=True)
assert_type(model, vinocast.Forecaster)
forecast = model.forecast(np.zeros((512, 7)), targets=["OT", 0])
assert_type(forecast, vinocast.Forecast)
assert_type(forecast.predictions, NDArray[np.float32])
assert_type(forecast.quantiles, Mapping[float, NDArray[np.float32]])
assert_type(forecast.channels, tuple[str, ...])
assert_type(np.asarray(forecast), NDArray[Any])
assert_type(forecast.shape, tuple[int, ...])
assert_type(model.forecast_series([[1.0, 2.0]], short="pad"), list[vinocast.Forecast])
model.forecast(np.zeros((512, 7)), model="another")  # type: ignore[call-arg]
forecast.prediction  # type: ignore[attr-defined]
assert_type(model.backtest(np.zeros(900), 4, short="pad", season=24), vinocast.Backtest)
assert_type(model.backtest(np.zeros((900, 7))).comparisons, dict[str, list[vinocast.Comparison]])
assert_type(model.context, int)
assert_type(model.channels, tuple[str, ...])
assert_type(model.warnings, list[str])
error: vinocast.VinocastError = vinocast.SetupError("no")

with vinocast.spawn("models", default_model="patchtst-etth1", timeout=3, retries=2) as child:
    assert_type(child, vinocast.Child)
    assert_type(child.forecast(stream="a", targets=[0], model="b", deadline_ms=20), vinocast.Forecast)
    child.forecast(np.zeros((512, 1)), channels=["a"], short="padded")  # type: ignore[arg-type]
    child.forecast(np.zeros((512, 1)), chanels=["a"])  # type: ignore[call-arg]
    assert_type(child.forecast_series({"a": [1.0]}, deadline_ms=3), list[vinocast.Forecast])
    assert_type(child.stats(), Mapping[str, Any])
    assert_type(child.feed([b"{}", {"type": "match"}], on_bar=True, quantile_levels=[0.1, 0.9]), vinocast.Fed)
    assert_type(child.bars("BTC-USD@5m", 2).bars[0], vinocast.Bar)
    assert_type(next(child.events()), vinocast.Event)

with vinocast.connect("http://127.0.0.1:8000", token="secret") as client:
    assert_type(client, vinocast.Client)
    assert_type(client.observe("a", [[1, 2, 3]], timestamp_ms=4), vinocast.Observed)
    assert_type(client.forget("a"), vinocast.Forgotten)
    assert_type(client.glyphs([b"png"], topk=2).results[0][0].prob, float)
    assert_type(client.ping(), Mapping[str, Any])

async def ask() -> None:
    async with vinocast.connect_async("http://127.0.0.1:8000") as service:
        assert_type(service, vinocast.AsyncClient)
        assert_type(await service.history("BTC-USD@5m", np.ones((3, 6))), vinocast.Fed)
        async with service.events() as events:
            async for event in events:
                assert_type(event.forecast, vinocast.Forecast | None)
        assert_type(await service.forecast([[1.0]], quantile_levels=(0.1, 0.9)), vinocast.Forecast)
"""


@pytest.fixture(scope="module")
def model() -> vinocast.Forecaster:
    return vinocast.load(MODEL)


def test_what_is_exported_is_listed_and_there() -> None:
    assert set(vinocast.__all__) == NAMES
    assert sorted(vinocast.__all__) == vinocast.__all__
    for name in NAMES:
        assert getattr(vinocast, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vinocast.nothing


LAZY = {"httpx", "narwhals", "numpy", "openvino", "orjson", "pandas", "plotly", "polars", "pydantic", "tenacity"}


@pytest.mark.parametrize(
    ("program", "loaded"),
    [
        ("import vinocast", set()),
        ("import vinocast; vinocast.spawn", {"numpy", "orjson"}),
        ("import vinocast; vinocast.connect('http://localhost')", {"httpx", "numpy", "orjson"}),
    ],
)
def test_importing_it_loads_what_is_used_alone(program: str, loaded: set[str]) -> None:
    program = f"import sys; {program}; print(sorted({LAZY} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sorted(loaded))


@pytest.mark.slow
def test_its_types_are_those_that_a_checker_infers(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "--config-file=", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_window_or_several_and_some_of_the_channels(model: vinocast.Forecaster) -> None:
    assert (model.name, model.context, model.horizon, model.channels[-1]) == (MODEL, 512, 96, "OT")
    windows = random_windows(3)
    expected = raw_inference(windows)
    assert near(model.forecast(windows[0]), expected[0], windows[0])
    assert near(model.forecast(windows[0].tolist(), ["OT", 2]), expected[0][:, [6, 2]], windows[0][:, [6, 2]])
    several = model.forecast(np.stack(windows))
    assert several.shape == (3, 96, 7)
    assert several.dtype == np.float32
    assert all(near(*each) for each in zip(several, expected, windows, strict=True))


def test_a_forecast_can_be_used_as_the_array_that_it_was(model: vinocast.Forecaster) -> None:
    forecast = model.forecast(random_windows(1)[0], ["OT", 2])
    array = forecast.predictions
    assert (forecast.channels, forecast.model, forecast.quantiles, forecast.timestamps) == (
        ("OT", "MUFL"),
        MODEL,
        {},
        None,
    )
    assert forecast.inference_time_ms > 0
    assert type(array) is np.ndarray
    assert (forecast.shape, forecast.ndim, forecast.dtype.name, len(forecast)) == ((96, 2), 2, "float32", 96)
    assert forecast[3, 1] == array[3, 1]
    assert [row.tolist() for row in forecast] == forecast.tolist() == array.tolist()  # type: ignore[attr-defined]
    assert forecast.T.shape == (2, 96)  # type: ignore[attr-defined]
    assert forecast.astype(np.float64).mean(axis=0).tolist() == np.mean(array.astype(np.float64), axis=0).tolist()  # type: ignore[attr-defined]
    reckoned: list[NDArray[np.float32]] = [
        forecast * 2 - 1,
        2 * forecast - 1,
        np.add(forecast, array) - 1,
        np.stack([forecast, forecast]).sum(axis=0) - 1,
        forecast + forecast - np.ones_like(forecast),
        np.concatenate([forecast, array])[:96] * 2 - 1,
    ]
    for each in reckoned:
        assert type(each) is np.ndarray
        assert each.dtype == np.float32
        assert (each == 2 * array - 1).all()
    assert np.array_equal(forecast, array)
    assert (forecast == array).all()
    assert np.shares_memory(np.asarray(forecast), array)
    assert not np.shares_memory(np.array(forecast), array)
    assert np.asarray(forecast, np.float64).dtype == np.float64
    again = pickle.loads(pickle.dumps(forecast))
    assert np.array_equal(again, array)
    assert np.array_equal(copy.deepcopy(forecast), array)
    assert again.channels == forecast.channels
    forecast[0] = 0
    forecast[1:] += 1
    before = array.copy()
    forecast -= 1
    assert (array == before - 1).all()
    with pytest.raises(AttributeError, match="prediction"):
        _ = forecast.prediction  # type: ignore[attr-defined]


def test_a_forecast_says_in_a_line_what_it_holds() -> None:
    points = np.zeros((2, 1), np.float32)
    forecast = vinocast.Forecast(points, ("OT",), "m", {0.1: points}, ["2026-01-01", "2026-01-02"], filled=3)
    assert repr(forecast) == (
        "Forecast(model='m', predictions=float32 [2, 1], channels=('OT',), quantiles=[0.1], "
        "timestamps='2026-01-01' to '2026-01-02', filled=3)"
    )


def test_what_is_wrong_is_said_with_its_kind(model: vinocast.Forecaster, tmp_path: Path) -> None:
    window = np.zeros((512, 7))
    with pytest.raises(
        vinocast.InvalidShapeError, match=r"window: expected \[512, 7\] or \[n, …\] of it, got \[511, 7\]"
    ):
        model.forecast(window[1:])
    with pytest.raises(vinocast.InvalidValueError, match="finite"):
        model.forecast(np.full((512, 7), 1e39))
    swinging = np.where(np.sin(np.arange(512)) > 0, 3.4e38, -3.4e38)
    with pytest.raises(vinocast.InvalidValueError, match="spread too far"):
        model.forecast(np.repeat(swinging[:, None], 7, axis=1))
    for stranger in ("a", "1", True, b"1", 1j):
        with pytest.raises(vinocast.InvalidValueError, match="numbers"):
            model.forecast([[stranger] * 7] * 512)
    with pytest.raises(vinocast.InvalidValueError, match="numbers"):
        model.forecast([[1.0] * 7] * 511 + [[1.0] * 6])
    with pytest.raises(vinocast.UnknownTargetError, match=r"targets\[1\]"):
        model.forecast(window, ["OT", "TO"])
    with pytest.raises(vinocast.InvalidRequestError, match="empty"):
        model.forecast(window, targets=[])
    with pytest.raises(vinocast.InvalidRequestError, match="once"):
        model.forecast(window, [0, 0])
    with pytest.raises(vinocast.SetupError, match="nor a bundled model"):
        vinocast.load(tmp_path / "nothing")
    with pytest.raises(vinocast.ModelRefusedError, match="a model of kind glyphs, not a forecaster"):
        vinocast.load("glyphs")
    with pytest.raises(vinocast.SetupError, match="no profile named"):
        vinocast.load(MODELS / MODEL, profile="fast")


@pytest.mark.slow
def test_eight_threads_get_ten_thousand_forecasts_each_its_own(model: vinocast.Forecaster) -> None:
    windows = [window[:, :1].repeat(7, axis=1) for window in random_windows(16, seed=3)]
    expected = [model.forecast(window, [0]) for window in windows]
    assert len({each.predictions.tobytes() for each in expected}) == len(windows)

    def ask(number: int) -> bool:
        # One shape, so that the bits are those of the first answer.
        return bool((model.forecast(windows[number % 16], [number % 7]) == expected[number % 16]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(10_000)))


def test_the_package_says_where_it_lives_and_names_nobody_who_does_not_exist() -> None:
    about = metadata("vinocast")
    assert about.get_all("Author") is None
    assert {line.partition(",")[0] for line in about.get_all("Project-URL") or []} >= {"Changelog", "Documentation"}
