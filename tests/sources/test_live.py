"""``vinocast feed coinbase`` through a feed that misbehaves: bars are those of the trades, and every loss is told."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from candles_endpoint import CandlesEndpoint
from hostile_feed import Act, FeedServer, Lose, Step, Wait, trouble
from live_feed import Feeding, FeedThread
from markets import START, Message, Trade, advanced_messages, bars_of, exchange_messages, make_trades
from support import HttpService, wait_until
from vinocast.sources.coinbase import FeedName

MESSAGES: dict[FeedName, Callable[..., list[Message]]] = {
    "exchange": exchange_messages,
    "advanced-trade": advanced_messages,
}
BAR = 60
# A day before, in which some minutes have no trade.
BEFORE = 1000 * BAR
Bars = dict[int, list[float]]
# Start, open, high, low, close, volume, state.
Bar = list[Any]


@pytest.fixture(scope="module")
def http() -> Iterator[HttpService]:
    with HttpService("--bars", "1m") as service:
        yield service


def market(product: str, seconds: int, rate: float = 1.0) -> tuple[list[Trade], list[Trade]]:
    """Trades of a day before the start, and of so many seconds behind it."""
    before = make_trades(product, BEFORE, seed=5, start=START - BEFORE, first=1, rate=0.2)
    return before, make_trades(product, seconds, seed=6, first=before[-1].number + 1, rate=rate)


def held(service: HttpService, stream: str) -> list[Bar]:
    """The bars that a service has; none where it has nothing of the stream yet."""
    bars: list[Bar] = httpx.get(f"{service.url}/streams/{stream}/bars").json().get("bars", [])
    return bars


def expected(trades: Sequence[Trade]) -> Bars:
    """Each bucket from the first trade to the last; one without a trade has the close before and volume 0."""
    bars, close = bars_of(trades, BAR), 0.0
    made: Bars = {}
    for start in range(min(bars), max(bars) + BAR, BAR):
        made[start] = bars.get(start, [close] * 4 + [0.0])
        close = made[start][3]
    return made


def wrong(bars: list[Bar], right: Bars) -> set[int]:
    """The starts of the bars that are not as they must be; 0 where there are none."""
    starts = set() if bars else {0}
    for start, *numbers, state in bars:
        known = right[start]
        same = None not in numbers and numbers[:4] == known[:4] and abs(numbers[4] - known[4]) < 1e-9
        if state != "open" and (not same or state != ("complete" if known[4] else "filled")):
            starts.add(start)
    return starts


def feeding(server: FeedServer, endpoint: CandlesEndpoint, *options: str) -> Feeding:
    endpoint.now = lambda: server.now
    urls = ("--websocket-url", server.url, "--candles-url", endpoint.url)
    return Feeding("--bar", "1m", "--silence", "2", "--longest-pause", "0.1", *urls, *options)


@pytest.mark.slow
@pytest.mark.parametrize("name", MESSAGES)
def test_bars_through_every_trouble_are_those_of_the_trades(name: FeedName, http: HttpService) -> None:
    product = f"{name[:3].upper()}-USD"
    before, live = market(product, 1200)
    # A connection that is reset takes with it what was on the way.
    script = [step for step in trouble(MESSAGES[name](live), each=80) if step is not Act.ABORT]
    with CandlesEndpoint(before + live) as endpoint, FeedThread(script) as feed:
        options = ("--feed", name, "--product", product, "--url", http.url)
        with feeding(feed.server, endpoint, *options) as process:
            process.until(feed.server)
            stream = f"{product}@1m"
            right = expected(before + live)
            wait_until(lambda: not wrong(held(http, stream), right), "bars as they must be", 60)
            lines, report = process.end(signal.SIGTERM)
    assert len(held(http, stream)) >= 890
    # Where this machine has stood still for longer, a connection more is given up, with what was on its way.
    if report["source"]["silent"] == script.count(Act.SILENCE):
        assert report["counts"].get("missed_trades", 0) == 0
    assert report["counts"]["refused"] > 0
    assert report["source"]["too_long"] > 0
    # Each bar that closed is told of, once, in order.
    starts = [line["bar"][0] for line in lines]
    assert starts == list(range(START, START + BAR * len(starts), BAR))
    assert len(starts) >= 18


def losing(messages: list[Message], first: int, last: int) -> list[Step]:
    """The messages, of which some are lost."""
    return [*messages[:first], *map(Lose, messages[first:last]), *messages[last:]]


@pytest.mark.slow
def test_what_is_lost_is_told_and_filled_from_candles_where_there_are_any(http: HttpService) -> None:
    for product, gone in (("LST-USD", True), ("MND-USD", False)):
        before, live = market(product, 900)
        messages = exchange_messages(live)
        script = losing(messages, 800, 1100)
        lost = {step.message["trade_id"] for step in script if isinstance(step, Lose) and "trade_id" in step.message}
        touched = {trade.micros // 60_000_000 * 60 for trade in live if trade.number in lost}
        with (
            CandlesEndpoint(before + live, gone=[product] if gone else []) as endpoint,
            FeedThread(script, snapshots=False) as feed,
            feeding(feed.server, endpoint, "--feed", "exchange", "--product", product, "--url", http.url) as process,
        ):
            process.until(feed.server)
            right, stream = expected(before + live), f"{product}@1m"
            # That of the first trade is incomplete as well: what was before it is not known.
            not_whole = touched | {START} if gone else set()
            wait_until(lambda: wrong(held(http, stream), right) == not_whole, "bars", 60)  # noqa: B023 - at once
            _, report = process.end(signal.SIGTERM)
        (told,) = report["streams"]
        assert report["counts"]["missed_trades"] == len(lost) > 100
        holes = {start for first, end in told["holes"] for start in range(first, end, BAR)}
        assert holes == not_whole
        assert (report["source"].get("candles", 0) > 850) is not gone


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_of_its_own_forecasts_from_the_first_900_bars_on(number: int) -> None:
    before, live = market("AAA-USD", 600)
    steps: list[Step] = [step for message in advanced_messages(live) for step in (message, Wait(0.005))]
    # Until the bars before have come, time stands still.
    script = [*steps[:20], Wait(4.0), *steps[20:]]
    with (
        CandlesEndpoint(before + live) as endpoint,
        FeedThread(script) as feed,
        feeding(feed.server, endpoint, "--product", "AAA-USD") as process,
    ):
        process.until(feed.server)
        wait_until(lambda: len(process.lines) >= 9, "lines")
        lines, report = process.end(number)
        assert "Traceback" not in process.log
    assert [line["success"] for line in lines] == [True] * len(lines)
    assert [line["bar"][0] for line in lines] == [START + BAR * place for place in range(len(lines))]
    assert {line["stream"] for line in lines} == {"AAA-USD@1m"}
    first = lines[0]
    assert set(first["quantiles"]) == {"0.1", "0.9"}
    assert len(first["predictions"]) == 96
    assert len(first["predictions"][0]) == len(first["channels"])
    assert report["forecasts"] == len(lines)
    assert report["streams"][0]["states"]["complete"] >= 890
    assert report["source"]["candles"] >= 900


def test_a_product_that_the_feed_calls_otherwise_is_followed_by_the_name_it_gives() -> None:
    before, live = market("BTC-USD", 200)
    script: list[Step] = [step for message in advanced_messages(live) for step in (message, Wait(0.002))]
    with (
        CandlesEndpoint(before + live) as endpoint,
        FeedThread(script, rename={"BTC-USDC": "BTC-USD"}) as feed,
        feeding(feed.server, endpoint, "--product", "BTC-USDC") as process,
    ):
        process.until(feed.server)
        wait_until(lambda: any(asked[0] == "BTC-USD" for asked in endpoint.asked), "candles")
        lines, report = process.end(signal.SIGTERM)
    assert {line["stream"] for line in lines} == {"BTC-USD@1m"}
    assert [stream["stream"] for stream in report["streams"]] == ["BTC-USD@1m"]
