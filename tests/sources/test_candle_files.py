"""Candles of the past: asked for in parts, again where it may help, and nothing taken that was not asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

import numpy as np
import orjson
import pytest
from candles_endpoint import CandlesEndpoint
from markets import START, Trade, bars_of, make_trades
from numpy.typing import NDArray
from vinocast.errors import SetupError
from vinocast.sources.buckets import fill, fold
from vinocast.sources.candles import Candles, CandlesError, granularity

HOURS = 12
STOP = START + 3600 * HOURS


@pytest.fixture(scope="module")
def trades() -> list[Trade]:
    """Some minutes have none."""
    return make_trades("AAA-USD", 3600 * HOURS, rate=0.05)


@pytest.fixture
def endpoint(trades: list[Trade]) -> Iterator[CandlesEndpoint]:
    with CandlesEndpoint(trades) as endpoint:
        yield endpoint


def fetch(
    url: str, seconds: int = 60, start: int = START, stop: int = STOP, product: str = "AAA-USD"
) -> NDArray[np.float64]:
    async def go() -> NDArray[np.float64]:
        async with Candles(url) as candles:
            return await candles.fetch(product, seconds, start, stop)

    return asyncio.run(go())


def expected(trades: Sequence[Trade], seconds: int) -> list[list[float]]:
    """Each bucket from the first to the last that has a trade, those without with the close before and volume 0."""
    bars, rows, close = bars_of(trades, seconds), [], 0.0
    for start in range(min(bars), max(bars) + seconds, seconds):
        opening, high, low, close, volume = bars.get(start, [close] * 4 + [0.0])
        rows.append([start, low, high, opening, close, volume])
    return rows


@pytest.mark.parametrize("seconds", [60, 300, 120, 600, 1800, 3600])
def test_candles_are_those_of_the_trades(endpoint: CandlesEndpoint, trades: list[Trade], seconds: int) -> None:
    rows = fetch(endpoint.url, seconds)
    assert rows[:, :5].tolist() == [row[:5] for row in expected(trades, seconds)]
    assert np.allclose(rows[:, 5], [row[5] for row in expected(trades, seconds)], rtol=1e-12)
    assert {asked[1] for asked in endpoint.asked} == {granularity(seconds)}


def test_at_most_300_are_asked_for_at_once_and_rows_before_the_start_are_dropped(endpoint: CandlesEndpoint) -> None:
    rows = fetch(endpoint.url, start=START + 6000, stop=START + 6000 + 450 * 60)
    assert [(asked[2], asked[3]) for asked in endpoint.asked] == [
        (START + 6000, START + 6000 + 299 * 60),
        (START + 6000 + 300 * 60, START + 6000 + 449 * 60),
    ]
    assert (rows[:, 0].min(), rows[:, 0].max()) >= (START + 6000, START + 6000 + 440 * 60)
    assert (np.diff(rows[:, 0]) == 60).all()


def test_what_the_endpoint_does_not_have_yet_is_not_made_up(endpoint: CandlesEndpoint, trades: list[Trade]) -> None:
    endpoint.lag = 5
    rows = fetch(endpoint.url)
    have = endpoint.rows("AAA-USD", 60)
    assert rows[-1].tolist() == have[-6]
    assert len(fetch(endpoint.url, start=int(have[-5][0]))) == 0


def test_a_product_without_candles_has_none(endpoint: CandlesEndpoint) -> None:
    endpoint.gone.add("AAA-USD")
    assert fetch(endpoint.url).shape == (0, 6)
    assert fetch(endpoint.url, product="a/b?c#d").shape == (0, 6)
    assert endpoint.asked[-1][0] == "a/b?c#d"


def test_refusals_are_asked_again_as_late_as_they_say(endpoint: CandlesEndpoint, trades: list[Trade]) -> None:
    endpoint.answers.extend([1.0, (503, b""), (200, b"<html>")])
    begun = time.monotonic()
    assert len(fetch(endpoint.url)) == len(expected(trades, 60))
    assert time.monotonic() - begun >= 1.0
    assert not endpoint.answers


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([(404, b"{}")], "status 404"),
        ([(400, b"{}")], "status 400"),
        ([(302, b"")], "status 302"),
        ([(200, b"[" + b"1," * (1 << 20) + b"1]")], "more than"),
        ([(500, b"")] * 5, "status 500"),
    ],
)
def test_what_cannot_be_had_is_an_error_that_says_so(
    endpoint: CandlesEndpoint, answers: list[tuple[int, bytes]], said: str
) -> None:
    endpoint.answers.extend(answers)
    with pytest.raises(CandlesError, match=said):
        fetch(endpoint.url)
    assert not endpoint.answers
    assert endpoint.asked == []


def test_an_endpoint_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CandlesError, match="does not answer"):
        fetch("http://127.0.0.1:1")


def test_bars_of_seconds_have_no_candles() -> None:
    assert [granularity(seconds) for seconds in (1, 30, 90, 60, 180, 3600, 7200, 86400, 59 * 60, 61 * 60)] == [
        None,
        None,
        None,
        60,
        60,
        3600,
        3600,
        86400,
        60,
        None,
    ]
    with pytest.raises(CandlesError, match="no candles of 30 s"):
        fetch("http://127.0.0.1:1", 30)


def test_rows_that_are_no_candles_are_left_out(endpoint: CandlesEndpoint) -> None:
    good = [START + 60, 1, 4, 2, 3, 5.5]
    bad: list[object] = [
        [],
        [START],
        None,
        {},
        [str(START), 1, 4, 2, 3, 5],
        [START, 1, 4, 2, True, 5],
        [START + 1, 1, 4, 2, 3, 5],
    ]
    endpoint.answers.append((200, orjson.dumps([*bad, good, good])))
    assert fetch(endpoint.url, stop=START + 600).tolist() == [good]


@pytest.mark.parametrize("url", ["ftp://example.com", "http://", "nonsense", "http://[::"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SetupError, match="--candles-url"):
        Candles(url)


def test_nothing_is_filled_or_folded_of_nothing() -> None:
    empty = np.empty((0, 6))
    assert fill(empty, 60).shape == fold(empty, 60, 300).shape == (0, 6)
    four = np.array([[START + 60 * place, 1.0, 2.0, 1.0, 2.0, 1.0] for place in range(1, 5)])
    assert fold(four, 60, 300).shape == (0, 6)
