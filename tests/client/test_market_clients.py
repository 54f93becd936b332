"""Market streams from Python: messages and candles in, bars and pushed forecasts out, over both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
import vinocast
from market_wire import NOON, STREAM, candles, match
from support import PATIENCE, HttpService
from vinocast import Bar, ClosedBar, Event, Fed

BARS = 560
ROWS = candles(BARS)
NEXT = NOON + BARS * 300


@pytest.fixture(scope="module")
def http() -> Iterator[HttpService]:
    with HttpService() as service:
        yield service


@pytest.fixture(scope="module", params=["lines", "http"])
def client(request: pytest.FixtureRequest) -> Iterator[vinocast.Client | vinocast.Child]:
    if request.param == "lines":
        with vinocast.spawn(timeout=PATIENCE) as child:
            yield child
    else:
        http = request.getfixturevalue("http")
        with vinocast.connect(http.url, timeout=PATIENCE) as connected:
            yield connected


def test_messages_in_any_form_become_bars(client: vinocast.Client | vinocast.Child) -> None:
    first = match(1, NOON + 1, 10, 1, "ONE-USD")
    assert client.feed(first, connected=True) == Fed([], {"seen": 1, "used": 1}, ())
    later: list[Any] = [orjson.dumps(match(2, NOON + 301, 11, 1, "ONE-USD")), "garbage", orjson.dumps(first).decode()]
    fed = client.feed(later)
    assert fed.closed == [ClosedBar("ONE-USD@5m", Bar(NOON, 10, 10, 10, 10, 1, "incomplete"))]
    assert fed.counts == {"seen": 3, "used": 1, "duplicates": 1, "refused": 1}
    assert len(fed.warnings) == 1
    held = client.bars("ONE-USD@5m")
    assert [bar.state for bar in held.bars] == ["incomplete", "open"]
    assert client.bars("ONE-USD@5m", last=1).bars == held.bars[1:]
    with pytest.raises(vinocast.InvalidRequestError, match="message"):
        client.feed("garbage")
    with pytest.raises(vinocast.UnknownStreamError):
        client.bars("NEVER-USD@5m")


def test_candles_of_numpy_fill_a_stream_that_is_then_forecast(client: vinocast.Client | vinocast.Child) -> None:
    fed = client.history("TWO-USD@5m", np.array(ROWS))
    assert len(fed.closed) == BARS - 1
    forecast = client.forecast(stream="TWO-USD@5m", targets=["close"])
    assert (forecast.shape, forecast.channels) == ((96, 1), ("close",))
    assert forecast.timestamps
    assert forecast.timestamps[0] == 1000 * (NEXT - 300)
    with pytest.raises(vinocast.InvalidShapeError, match=r"expected \[n, 6\]"):
        client.history("TWO-USD@5m", np.ones(6))
    with pytest.raises(vinocast.InvalidValueError, match=r"candles\[0\]\[4\]"):
        client.history("TWO-USD@5m", [[NOON, 1, 1, 1, np.nan, 1]])


def test_events_are_the_forecasts_that_were_asked_for(client: vinocast.Client | vinocast.Child) -> None:
    stream = "THREE-USD@5m"
    client.history(stream, ROWS)
    client.forecast(stream=stream)  # an error overtakes what waits for its model
    with client.events() as events:
        for number in range(2):
            message = match(number + 1, NEXT + 300 * number + 1, 65_000, 1, "THREE-USD")
            client.feed([message], on_bar=True, targets=["close"], quantile_levels=[0.1, 0.9], prediction_length=3)
        client.feed(match(1, NOON, 1, 1, "NEW-USD"))
        client.feed(match(2, NOON + 300, 1, 1, "NEW-USD"), on_bar=True)
        first, second, third = (next(events) for _ in range(3))
    asked = client.forecast(stream=stream, targets=["close"], quantile_levels=[0.1, 0.9], prediction_length=3)
    assert [first.stream, first.error, first.lost] == [stream, None, 0]
    assert first.forecast is not None
    assert first.forecast.newest_timestamp_ms == 1000 * (NEXT - 300)
    assert second.forecast is not None
    assert np.array_equal(second.forecast, asked)
    assert list(second.forecast.quantiles) == [0.1, 0.9]
    assert np.array_equal(second.forecast.quantiles[0.9], asked.quantiles[0.9])
    assert (third.stream, third.forecast, third.newest_timestamp_ms) == ("NEW-USD@5m", None, 1000 * NOON)
    assert isinstance(third.error, vinocast.NotEnoughHistoryError)


def test_asyncio_feeds_and_listens(http: HttpService) -> None:
    async def run() -> list[Event]:
        async with vinocast.connect_async(http.url, timeout=PATIENCE) as client, client.events() as events:
            await client.history("FOUR-USD@5m", ROWS)
            assert len((await client.bars("FOUR-USD@5m", 7)).bars) == 7
            for number in range(3):
                message = match(number + 1, NEXT + 300 * number + 1, 65_000, 1, "FOUR-USD")
                await client.feed(message, on_bar=True, targets=[0])
            return [await anext(events) for _ in range(3)]

    events = asyncio.run(run())
    assert [event.stream for event in events] == ["FOUR-USD@5m"] * 3
    with vinocast.connect(http.url, timeout=PATIENCE) as client, client.events(after=events[0].id) as again:
        missed = [next(again), next(again)]
    assert [event.id for event in missed] == [event.id for event in events[1:]]
    for one, other in zip(missed, events[1:], strict=True):
        assert one.forecast is not None
        assert other.forecast is not None
        assert np.array_equal(one.forecast, other.forecast)


def test_events_end_with_the_service() -> None:
    with vinocast.spawn(timeout=PATIENCE) as child:
        events = child.events()
        child.history(STREAM, ROWS)
        child.feed(match(1, NEXT + 1, 65_000), on_bar=True, targets=[0])
        child.close()
        assert [event.stream for event in events] == [STREAM]
    with HttpService(ready=False) as service, vinocast.connect(service.url, timeout=PATIENCE) as client:
        heard = client.events()
        service.signal(15)
        assert list(heard) == []
        with pytest.raises(vinocast.ServiceUnreachableError):
            client.events()
    with HttpService(ready=False) as service, vinocast.connect(service.url, timeout=PATIENCE) as client:
        cut = client.events()
        service.process.kill()
        with pytest.raises(vinocast.ServiceUnreachableError):
            next(cut)
