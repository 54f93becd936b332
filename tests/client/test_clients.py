"""One face for a model in this process, a service over HTTP (sync and async), and a child process over lines."""

from __future__ import annotations

import asyncio
import base64
import functools
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
import vinocast
from support import CHANNELS, MODEL, ROOT, HttpService, near, random_windows, raw_inference
from vinocast.data.bundled import BUNDLED_GENERAL

Forecasts = Callable[..., vinocast.Forecast]
NAN_WINDOW = np.ones((512, 7), np.float32)
NAN_WINDOW[5, 2] = np.nan


@pytest.fixture(scope="module")
def child() -> Iterator[vinocast.Child]:
    with vinocast.spawn(retries=2) as child:
        yield child


@pytest.fixture(scope="module")
def client(http: HttpService) -> Iterator[vinocast.Client]:
    with vinocast.connect(http.url) as client:
        yield client


@pytest.fixture(scope="module")
def model() -> vinocast.Forecaster:
    return vinocast.load()


@pytest.fixture(scope="module")
def faces(
    http: HttpService, model: vinocast.Forecaster, client: vinocast.Client, child: vinocast.Child
) -> dict[str, Callable[..., Any]]:
    """What asks each face by the name of a method."""

    def ask(method: str, *arguments: Any, **terms: Any) -> Any:
        async def go() -> Any:
            async with vinocast.connect_async(http.url) as service:
                return await getattr(service, method)(*arguments, **terms)

        return asyncio.run(go())

    def of(service: object) -> Callable[..., Any]:
        return lambda method, *arguments, **terms: getattr(service, method)(*arguments, **terms)

    return {"in process": of(model), "http": of(client), "async": ask, "lines": of(child)}


@pytest.fixture(scope="module", params=["in process", "http", "async", "lines"])
def ask(request: pytest.FixtureRequest, faces: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """A method of one face."""
    return faces[request.param]


@pytest.fixture(scope="module")
def forecast(ask: Callable[..., Any]) -> Forecasts:
    return functools.partial(ask, "forecast")


def test_a_forecast_is_the_same_however_it_is_asked_for(forecast: Forecasts) -> None:
    (window,) = random_windows(1)
    (expected,) = raw_inference([window])
    answer = forecast(window)
    assert near(answer, expected, window)
    assert answer.channels == tuple(CHANNELS)
    assert answer.model == MODEL
    assert answer.inference_time_ms > 0
    assert (answer.quantiles, answer.timestamps, answer.filled, answer.padded, answer.rollout) == (
        {},
        None,
        0,
        0,
        False,
    )
    some = forecast(window.astype(np.float64).tolist(), ("OT", np.int64(2)))
    assert near(some, expected[:, [6, 2]], window[:, [6, 2]])
    assert some.channels == ("OT", "MUFL")


BAD: list[tuple[type[vinocast.VinocastError], tuple[Any, ...], dict[str, Any]]] = [
    (vinocast.InvalidShapeError, (np.ones((511, 7)),), {}),
    (vinocast.InvalidShapeError, (np.ones((512, 6)),), {}),
    (vinocast.InvalidShapeError, (np.ones(512),), {}),
    (vinocast.InvalidShapeError, (np.ones((1, 1, 512, 7)),), {}),
    (vinocast.InvalidShapeError, (np.ones((0, 7)),), {}),
    (vinocast.InvalidShapeError, (1.0,), {}),
    (vinocast.InvalidValueError, (NAN_WINDOW,), {}),
    (vinocast.InvalidValueError, (np.full((512, 7), np.inf),), {}),
    (vinocast.InvalidValueError, (np.full((512, 7), 1e39),), {}),
    (vinocast.InvalidValueError, ([["1"] * 7] * 512,), {}),
    (vinocast.InvalidValueError, ([[None] * 7] * 512,), {}),
    (vinocast.InvalidValueError, ([[True] * 7] * 512,), {}),
    (vinocast.InvalidValueError, ([[1.0] * 7] * 511 + [[1.0] * 6],), {}),
    (vinocast.UnknownTargetError, (np.ones((512, 7)), ["TO"]), {}),
    (vinocast.UnknownTargetError, (np.ones((512, 7)), [7]), {}),
    (vinocast.UnknownTargetError, (np.ones((512, 7)), [-1]), {}),
    (vinocast.InvalidRequestError, (np.ones((512, 7)), [0, "HUFL"]), {}),
    (vinocast.InvalidRequestError, (np.ones((512, 7)), []), {}),
    (vinocast.InvalidRequestError, (np.ones((512, 7)), "OT"), {}),
    (vinocast.InvalidRequestError, (np.ones((512, 7)),), {"chanels": ["a"]}),
    (vinocast.InvalidRequestError, (np.ones((512, 7)),), {"start": object()}),
    *(
        (vinocast.InvalidRequestError, (np.ones((512, 7)),), {name: value})
        for name, values in {
            "channels": ([], "OT", [1] * 7, [""] * 7, ["a"] * 7),
            "prediction_length": (0, -1, 97, 1.5, "5", True),
            "rollout": (1, "true"),
            "quantile_levels": ([], [1.5], [-0.1], ["0.5"], [0.1, 0.1], 0.5, [float("nan")]),
            "missing": ("pad", True),
            "short": ("interpolate", 1),
            "start": ("2026-01-01", 5),
            "freq": ("h", "m"),
            "step_ms": (60000, 0),
        }.items()
        for value in values
    ),
    (vinocast.InvalidRequestError, (np.ones((512, 7)),), {"start": "2026-01-01", "freq": "m"}),
    (vinocast.InvalidRequestError, (np.ones((512, 7)),), {"start": "once", "freq": "h"}),
    (vinocast.InvalidRequestError, (np.ones((512, 7)),), {"timestamp_ms": 1.5, "step_ms": 1}),
    (vinocast.InvalidRequestError, (np.ones((512, 7)),), {"prediction_length": 10_000, "rollout": True}),
    (vinocast.InvalidShapeError, (np.ones((512, 7)),), {"channels": ["a", "b"]}),
    (vinocast.InvalidShapeError, (np.ones((513, 7)),), {"short": "pad"}),
    (vinocast.InvalidShapeError, (np.ones((0, 7)),), {"short": "pad"}),
    (vinocast.InvalidValueError, (np.full((512, 7), np.nan),), {"missing": "interpolate"}),
    (vinocast.InvalidValueError, (np.full((512, 7), np.inf),), {"missing": "interpolate"}),
    (vinocast.UnknownTargetError, (np.ones((512, 1)), ["OT"]), {"channels": ["a"]}),
]
LINE = np.ones(512, np.float32)
BAD_SERIES: list[tuple[type[vinocast.VinocastError], Any, dict[str, Any]]] = [
    (vinocast.InvalidRequestError, [], {}),
    (vinocast.InvalidRequestError, {}, {}),
    (vinocast.InvalidRequestError, 5, {}),
    (vinocast.InvalidRequestError, [{"item_id": 1}], {}),
    (vinocast.InvalidRequestError, [{"target": LINE, "item": 1}], {}),
    (vinocast.InvalidRequestError, [{"target": LINE, "item_id": [1]}], {}),
    (vinocast.InvalidRequestError, [{"target": LINE, "start": 5}], {}),
    (vinocast.InvalidRequestError, [{"target": LINE, "start": "2026-01-01"}], {}),
    (vinocast.InvalidRequestError, [LINE], {"freq": "h"}),
    (vinocast.InvalidRequestError, [LINE], {"start": "2026-01-01", "freq": "h"}),
    (vinocast.InvalidRequestError, [LINE], {"channels": ["a"]}),
    (vinocast.InvalidRequestError, [LINE], {"targets": [0]}),
    (vinocast.InvalidRequestError, [LINE], {"prediction_length": 97}),
    (vinocast.InvalidShapeError, [LINE, LINE[1:]], {}),
    (vinocast.InvalidShapeError, [LINE, []], {"short": "pad"}),
    (vinocast.InvalidShapeError, [np.ones((512, 7))], {}),
    (vinocast.InvalidShapeError, [5.0], {}),
    (vinocast.InvalidValueError, [LINE, np.where(np.arange(512) == 5, np.nan, LINE)], {}),
    (vinocast.InvalidValueError, [LINE, np.where(np.arange(512) == 5, np.inf, LINE)], {"missing": "interpolate"}),
    (vinocast.InvalidValueError, [np.where(np.arange(512) % 2, np.nan, LINE)], {"missing": "interpolate"}),
    (vinocast.InvalidValueError, [["1"] * 512], {}),
]


@pytest.mark.parametrize(("error", "arguments", "terms"), BAD, ids=lambda value: str(value)[:24].replace("\n", ""))
def test_what_is_wrong_is_the_same_exception_of_every_face(
    forecast: Forecasts,
    error: type[vinocast.RequestError],
    arguments: tuple[Any, ...],
    terms: dict[str, Any],
) -> None:
    with pytest.raises(vinocast.RequestError) as caught:
        forecast(*arguments, **terms)
    assert type(caught.value) is error
    assert caught.value.message


@pytest.mark.parametrize(("error", "inputs", "terms"), BAD_SERIES, ids=lambda value: str(value)[:24].replace("\n", ""))
def test_what_is_wrong_with_series_is_the_same_exception_of_every_face(
    ask: Callable[..., Any], error: type[vinocast.RequestError], inputs: Any, terms: dict[str, Any]
) -> None:
    with pytest.raises(vinocast.RequestError) as caught:
        ask("forecast_series", inputs, **terms)
    assert type(caught.value) is error


TERMS: dict[str, Any] = {
    "targets": [1, 0],
    "channels": ["a", "b"],
    "prediction_length": 100,
    "rollout": True,
    "quantile_levels": [0.9, 0.1],
    "missing": "interpolate",
    "short": "pad",
    "start": "2026-01-31T00:00:00Z",
    "freq": "D",
    "timestamp_ms": 1_700_000_000_000,
    "step_ms": 60_000,
}


def described(answers: vinocast.Forecast | list[vinocast.Forecast]) -> list[Any]:
    """What an answer says beside its numbers and times."""
    return [
        [
            *(each.shape, each.channels, list(each.quantiles), each.timestamps),
            *(each.item_id, each.filled, each.padded, each.rollout),
        ]
        for each in ([answers] if isinstance(answers, vinocast.Forecast) else answers)
    ]


@pytest.mark.parametrize("method", ["forecast", "forecast_series"])
@pytest.mark.parametrize("kind", ["whole", "gaps", "short"])
def test_each_term_beside_each_is_honoured_or_refused_alike(
    faces: dict[str, Callable[..., Any]], method: str, kind: str
) -> None:
    (window,) = random_windows(1)
    window = window[:, :2]
    if kind == "gaps":
        window[7:9, 0] = np.nan
    if kind == "short":
        window = window[12:]
    given: Any = window if method == "forecast" else {"one": window[:, 0], 2: window[:, 1]}
    honoured = 0
    for names in [
        *itertools.combinations(TERMS, 2),
        ("start", "freq", "short"),
        ("timestamp_ms", "step_ms", "missing"),
    ]:
        terms = {name: TERMS[name] for name in names}
        if method == "forecast" and "channels" not in terms:
            terms["channels"] = ["b", "c"]
        outcomes: dict[str, Any] = {}
        for face in ("in process", "http", "lines"):
            try:
                outcomes[face] = faces[face](method, given, **terms)
            except vinocast.RequestError as error:
                outcomes[face] = type(error)
        first = outcomes["in process"]
        if isinstance(first, type):
            assert set(outcomes.values()) == {first}, names
            continue
        honoured += 1
        for face, outcome in outcomes.items():
            assert not isinstance(outcome, type), (names, face)
            assert described(outcome) == described(first), (names, face)
            for mine, its in zip(
                *((each,) if method == "forecast" else each for each in (outcome, first)), strict=True
            ):
                np.testing.assert_allclose(mine, its, atol=1e-4 * float(np.nanstd(window)))
                for level, values in its.quantiles.items():
                    np.testing.assert_allclose(mine.quantiles[level], values, atol=1e-4 * float(np.nanstd(window)))
    assert honoured >= 3


def test_what_was_asked_for_beside_the_window_is_answered(forecast: Forecasts, ask: Callable[..., Any]) -> None:
    (window,) = random_windows(1)
    general = vinocast.load(BUNDLED_GENERAL)
    other = forecast(window[:, [3, 1]], channels=["wind", "price"], prediction_length=5, start="2026-01-31", freq="D")
    assert other.channels == ("wind", "price")
    assert other.timestamps == ["2027-06-27", "2027-06-28", "2027-06-29", "2027-06-30", "2027-07-01"]
    assert near(other, np.asarray(general.forecast(window[:, [3, 1]], channels=["a", "b"]))[:5], window[:, [3, 1]])
    timed = forecast(window, ["OT"], timestamp_ms=1_000_000, step_ms=1000, prediction_length=np.int64(2))
    assert timed.timestamps == [1_001_000, 1_002_000]
    gaps = window.copy()
    gaps[100:103, 2] = np.nan
    filled = forecast(gaps, missing="interpolate")
    assert (filled.filled, filled.padded, filled.rollout) == (3, 0, False)
    sure = forecast(window, ["OT"], quantile_levels=(0.9, 0.1), prediction_length=5)
    assert list(sure.quantiles) == [0.1, 0.9]
    assert {values.shape for values in sure.quantiles.values()} == {(5, 1)}
    assert (sure.quantiles[0.1] < sure.quantiles[0.9]).all()
    far = forecast(window[400:], short="pad", prediction_length=100, rollout=True)
    assert (far.filled, far.padded, far.rollout, far.shape) == (0, 400, True, (100, 7))
    one, two = ask(
        "forecast_series", [window[:, 3], {"item_id": "x", "target": window[:, 1], "start": "2026-01"}], freq="MS"
    )
    assert (one.item_id, one.channels, one.timestamps, one.shape) == (None, (), None, (96,))
    assert (two.item_id, two.timestamps[0], two.model) == ("x", "2068-09", BUNDLED_GENERAL)
    for answer, column in ((one, 3), (two, 1)):
        assert near(answer, np.asarray(general.forecast(window[:, [column]], channels=["a"]))[:, 0], window[:, column])


@pytest.mark.parametrize("way", ["http", "lines"])
def test_rows_glyphs_and_pings_travel_both_ways(way: str, client: vinocast.Client, child: vinocast.Child) -> None:
    service: vinocast.Client | vinocast.Child = client if way == "http" else child
    (window,) = random_windows(1)
    stream = "a/b c?ü"
    assert service.observe(stream, window[:-1], timestamp_ms=1000) == vinocast.Observed(stream, 511, 1)
    with pytest.raises(vinocast.NotEnoughHistoryError, match="1"):
        service.forecast(stream=stream)
    assert service.observe(stream, window[-1]) == vinocast.Observed(stream, 512, 0)
    answer = service.forecast(stream=stream)
    assert np.array_equal(answer, service.forecast(window))
    assert (answer.newest_timestamp_ms, answer.rows_since_newest) == (1000, 1)
    with pytest.raises(vinocast.StaleTimestampError):
        service.observe(stream, window, timestamp_ms=999)
    assert service.forget(stream) == vinocast.Forgotten(stream, 512, 1000)
    with pytest.raises(vinocast.UnknownStreamError):
        service.forget(stream)
    with pytest.raises(vinocast.InvalidRequestError, match="exactly one"):
        service.forecast(window, stream=stream)
    with pytest.raises(vinocast.UnknownModelError):
        service.forecast(window, model="nothing")

    rasters = [
        base64.b64decode(each) for each in orjson.loads((ROOT / "examples" / "glyphs.json").read_bytes())["rasters"]
    ]
    found = service.glyphs(rasters, topk=2)
    assert [len(candidates) for candidates in found.results] == [2] * len(rasters)
    assert found.results[0][0].prob > 0.5
    with pytest.raises(vinocast.InvalidValueError, match="rasters"):
        service.glyphs([b"no png"])
    assert len(service.glyphs(grids=np.zeros((1, 16, 16), np.int64)).results[0]) == 5
    pong = service.ping()
    assert pong["ready"]
    assert pong["default_model"] == MODEL


def test_a_streams_quantiles_say_whose_they_are() -> None:
    (window,) = random_windows(1)
    with vinocast.spawn(arguments=["--stream-residuals", "100"]) as child:
        child.observe("a", window)
        assert child.forecast(stream="a", quantile_levels=[0.5]).quantiles_from == "model"
        assert child.forecast(window, quantile_levels=[0.5]).quantiles_from is None


@pytest.mark.slow
@pytest.mark.parametrize("way", ["http", "lines"])
def test_eight_threads_get_four_thousand_answers_each_its_own(
    way: str, client: vinocast.Client, child: vinocast.Child
) -> None:
    service: vinocast.Client | vinocast.Child = client if way == "http" else child
    windows = [window[:, :1].repeat(7, axis=1) for window in random_windows(16, seed=3)]
    expected = [service.forecast(window, [0]).predictions for window in windows]
    assert len({each.tobytes() for each in expected}) == len(windows)

    def ask(number: int) -> bool:
        if number % 50 == 0:  # a refusal among them is that one's own
            with pytest.raises(vinocast.UnknownTargetError, match=str(number + 7)):
                service.forecast(windows[0], [number + 7])
        return bool((service.forecast(windows[number % 16], [number % 7]) == expected[number % 16]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(4_000)))


@pytest.mark.slow
def test_a_hundred_tasks_get_answers_of_their_own(http: HttpService, client: vinocast.Client) -> None:
    windows = [window[:, :1].repeat(7, axis=1) for window in random_windows(16, seed=3)]
    expected = [client.forecast(window, [0]).predictions for window in windows]

    async def ask() -> list[bool]:
        async with vinocast.connect_async(http.url) as service:

            async def one(number: int) -> bool:
                return bool((await service.forecast(windows[number % 16], [number % 7]) == expected[number % 16]).all())

            assert await service.observe("tasks", windows[0]) == vinocast.Observed("tasks", 512, 0)
            assert (await service.forget("tasks")).rows == 512
            assert (await service.ping())["ready"]
            frame = pl.DataFrame(dict(zip(reversed(CHANNELS), windows[0].T[::-1], strict=True)))
            assert np.array_equal(await service.forecast(frame, [0]), expected[0])
            assert (await service.glyphs(grids=np.zeros((1, 16, 16), int), topk=1)).results
            return await asyncio.gather(*map(one, range(100)))

    assert all(asyncio.run(ask()))
