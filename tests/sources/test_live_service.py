"""``vinocast feed coinbase`` and the service it feeds: one that goes and comes back, one that is killed, none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from candles_endpoint import CandlesEndpoint
from hostile_feed import Step, Wait
from live_feed import Feeding, FeedThread
from markets import START, advanced_messages, make_trades
from support import HttpService, RunVinocast, wait_until


def steps(seconds: int, pause: float) -> list[Step]:
    messages = advanced_messages(make_trades("AAA-USD", seconds))
    return [step for message in messages for step in (message, Wait(pause))]


def bars(url: str) -> list[list[Any]]:
    try:
        found: list[list[Any]] = httpx.get(f"{url}/streams/AAA-USD@1m/bars").json().get("bars", [])
    except httpx.HTTPError:
        return []
    return found


@pytest.mark.slow
def test_a_service_that_goes_and_comes_back_is_fed_on_and_filled_anew() -> None:
    trades = make_trades("AAA-USD", 600)
    with (
        CandlesEndpoint(trades) as endpoint,
        FeedThread(steps(600, 0.01)) as feed,
        HttpService("--bars", "1m") as first,
    ):
        endpoint.now = lambda: feed.server.now
        urls = ("--websocket-url", feed.url, "--candles-url", endpoint.url, "--url", first.url)
        with Feeding("--product", "AAA-USD", "--bar", "1m", *urls) as process:
            wait_until(lambda: len(bars(first.url)) > 2, "bars")
            first.signal(signal.SIGKILL)
            first.wait()
            wait_until(lambda: "trying again" in process.log, "the loss is noticed")
            with HttpService("--bars", "1m", "--port", str(first.port)) as second:
                process.until(feed.server)
                wait_until(lambda: bars(second.url) and bars(second.url)[0][0] == START, "what was before")
                wait_until(lambda: bars(second.url)[-1][0] == START + 540, "the last bar")
                told = bars(second.url)
                assert {bar[6] for bar in told[1:-1]} == {"complete"}
                _, report = process.end(signal.SIGTERM)
    assert report["source"]["connections"] == 1


@pytest.mark.slow
def test_it_ends_where_the_service_is_gone_and_tells_what_was_left() -> None:
    with FeedThread(steps(600, 0.01)) as feed, HttpService("--bars", "1m") as service:
        urls = ("--websocket-url", feed.url, "--candles-url", "http://127.0.0.1:1", "--url", service.url)
        with Feeding("--product", "AAA-USD", "--bar", "1m", *urls) as process:
            wait_until(lambda: process.lines, "a line")
            service.signal(signal.SIGKILL)
            service.wait()
            wait_until(lambda: "trying again" in process.log, "the loss is noticed")
            _, report = process.end(signal.SIGTERM)
    assert report["source"]["left"] > 0
    assert report["streams"] == []


def test_a_signal_ends_it_where_the_service_was_never_reached() -> None:
    with Feeding("--product", "AAA-USD", "--url", "http://127.0.0.1:1") as process:
        wait_until(lambda: process.log.count("trying again") > 1, "attempts")
        process.signal(signal.SIGTERM)
        assert process.wait() == 1
        assert process.log.splitlines()[-1].startswith("vinocast: http://127.0.0.1:1 does not go on: ")
        assert "Traceback" not in process.log


@pytest.mark.slow
def test_where_the_child_dies_the_command_ends_with_a_sentence() -> None:
    with FeedThread(steps(600, 0.02)) as feed:
        urls = ("--websocket-url", feed.url, "--candles-url", "http://127.0.0.1:1")
        with Feeding("--product", "AAA-USD", "--bar", "30s", *urls) as process:
            wait_until(lambda: process.lines, "a line")
            (child,) = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGKILL)
            assert process.wait() == 1
            assert "SIGKILL" in process.log.splitlines()[-1]
            assert "Traceback" not in process.log
            assert "no candles for bars of 30s" in process.log


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "--product"),
        (("--product", "A", "--product", "btc-usd"), 2, "btc-usd: Coinbase's products are in upper case: BTC-USD"),
        (("--product", "A", "--bar", "5x"), 2, "expected a number with s, m or h"),
        (("--product", "A", "--token-file", "x"), 2, "--token-file is of --url"),
        (("--product", "A", "--url", "http://127.0.0.1:1", "--models", "x"), 2, "--models is of a service"),
        (("--product", "A", "--url", "nonsense"), 1, "url: expected one such as http://127.0.0.1:8000"),
        (("--product", "A", "--url", "http://127.0.0.1:1", "--websocket-url", "http://x"), 1, "--websocket-url"),
        (("--product", "A", "--url", "http://127.0.0.1:1", "--candles-url", "x"), 1, "--candles-url"),
        (("--product", "A", "--quantiles", "2"), 2, "expected 1 to 99 numbers of 0 to 1"),
        (("--product", "A", "--models", "/nowhere"), 1, "the service did not start"),
    ],
)
def test_what_cannot_be_done_is_said(run_vinocast: RunVinocast, options: tuple[str, ...], code: int, said: str) -> None:
    done = run_vinocast("feed", "coinbase", *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["websockets", "httpx", "tenacity"])
def test_without_the_extra_it_is_said_how_to_install_it(module: str) -> None:
    without = "import sys; sys.modules[sys.argv[1]] = None; from vinocast.cli import main; main(sys.argv[2:])"
    command = [sys.executable, "-c", without, module, "feed", "coinbase", "--product", "A"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the extra 'feed' is not installed" in done.stderr
