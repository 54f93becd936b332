"""One face for a model in this process, a service over HTTP (sync and async), and a child process over lines."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
import pytest
import vinocast
from support import CHANNELS, MODEL, ROOT, HttpService, near, random_windows, raw_inference

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
    return vinocast.load(MODEL)


@pytest.fixture(scope="module", params=["in process", "http", "async", "lines"])
def forecast(
    request: pytest.FixtureRequest,
    http: HttpService,
    model: vinocast.Forecaster,
    client: vinocast.Client,
    child: vinocast.Child,
) -> Forecasts:
    """The same method of each face."""

    def ask(*arguments: Any, **terms: Any) -> vinocast.Forecast:
        async def go() -> vinocast.Forecast:
            async with vinocast.connect_async(http.url) as service:
                return await service.forecast(*arguments, **terms)

        return asyncio.run(go())

    return {"in process": model.forecast, "http": client.forecast, "async": ask, "lines": child.forecast}[request.param]


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
            assert (await service.glyphs(grids=np.zeros((1, 16, 16), int), topk=1)).results
            return await asyncio.gather(*map(one, range(100)))

    assert all(asyncio.run(ask()))
