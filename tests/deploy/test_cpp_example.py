"""The example of the C++ client: a line for each bar that closes, with the service's own forecast, and every message
accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from cpp_support import PAGE, run
from support import ROOT, SHARED_DATA, StdioService

from examples import made_market

COINBASE = SHARED_DATA / "coinbase"
PRODUCTS = list(made_market.PRODUCTS)
NOTHING_FORECAST = 2

# Compiling takes most of a minute, and the services that the tests start another; more on a busy machine.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a capture and the candles before it."""
    folder = tmp_path_factory.mktemp("market")
    made_market.write(folder)
    return folder


def histories(market: Path) -> list[str | Path]:
    return [part for name in PRODUCTS for part in ("--history", f"{name}={market / name}.csv")]


def rows(printed: str) -> list[list[str]]:
    """The lines of bars, in columns."""
    return [line.split() for line in printed.splitlines() if re.match(r"\d{4}-\d\d-\d\dT", line) and "Z " in line]


def seconds_of(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp())


def told(capture: Path) -> Iterator[dict[str, Any]]:
    """The messages of a capture that are JSON."""
    for line in capture.read_bytes().splitlines():
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue


def test_the_walk_of_the_page_ends_with_the_output_that_it_shows(build: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```\n(.*?)```", PAGE.split("## From an empty folder")[1], re.DOTALL)
    _, commands, shown = blocks[:3]
    (tmp_path / "vinocast").symlink_to(ROOT)
    (tmp_path / "build").symlink_to(build)
    printed = run("bash", "-ec", f"cd {tmp_path}; ({commands}) 2>errors")
    assert re.search(r"^line \d+: invalid_request: ", (tmp_path / "errors").read_text(), re.MULTILINE)
    for line, shown_line in zip(printed.splitlines(), shown.splitlines(), strict=True):
        cells, shown_cells = line.split(), shown_line.split()
        if not rows(line):
            assert line == shown_line
            continue
        # Forecasts are those of one model on another box, the latency is that of a moment.
        assert [*cells[:4], cells[7]] == [*shown_cells[:4], shown_cells[7]]
        assert [float(cell) for cell in cells[4:7]] == pytest.approx(
            [float(cell) for cell in shown_cells[4:7]], rel=0.01
        )
        assert float(cells[5]) < float(cells[6])


def test_the_steps_before_the_walk_are_there() -> None:
    (steps,) = re.findall(r"```\n(apt-get install g\+\+ cmake make.*?)```", PAGE, re.DOTALL)
    target = re.search(r"make -C vinocast \.venv/(\S+)", steps)
    assert target
    assert f"$(VENV)/{target[1]}:" in (ROOT / "Makefile").read_text()


def test_every_bar_of_every_product_is_that_of_its_trades(build: Path, market: Path) -> None:
    trades: dict[str, dict[int, tuple[int, float]]] = {name: {} for name in PRODUCTS}
    for message in told(market / "capture.jsonl"):
        if message.get("channel") == "market_trades":
            for event in message["events"]:
                for trade in event["trades"]:
                    start = seconds_of(trade["time"]) // made_market.BAR * made_market.BAR
                    trades[trade["product_id"]][int(trade["trade_id"])] = (start, float(trade["price"]))
    closes = {}
    holes = set()
    for name, sold in trades.items():
        for number, (start, price) in sorted(sold.items()):
            closes[(name, start)] = price
            # Nobody knows what was traded before the first.
            if number - 1 not in sold:
                holes.add((name, start))
    newest = {name: max(start for product, start in closes if product == name) for name in PRODUCTS}
    printed = run(build / "stream_processor", market / "capture.jsonl", *histories(market))
    shown = {(row[1].removesuffix("@5m"), seconds_of(row[0])): row for row in rows(printed)}
    assert len(shown) == len(rows(printed))
    assert set(shown) == {(name, start) for name, start in closes if start < newest[name]}
    for key, row in shown.items():
        assert row[2] == ("incomplete" if key in holes else "complete")
        assert float(row[3]) == closes[key]
        assert float(row[7]) >= 0


def test_the_forecasts_are_those_that_the_service_pushes(build: Path, market: Path) -> None:
    arguments = ("--target", "high", "--band", "0.5", "--product", "ETH-USD")
    printed = run(build / "stream_processor", market / "capture.jsonl", *histories(market)[2:], *arguments)
    expected = []
    with StdioService("--bars", "5m", "--products", "ETH-USD") as service:
        candles = []
        for line in (market / "ETH-USD.csv").read_text().splitlines()[1:]:
            start, opened, high, low, close, volume = map(float, line.split(","))
            candles.append([int(start), low, high, opened, close, volume])
        stream = "ETH-USD@5m"
        assert service.ask({"op": "history", "stream": stream, "candles": candles})["success"]
        for message in told(market / "capture.jsonl"):
            reply = service.ask({"op": "feed", "messages": [message]})
            if reply["closed"]:
                wanted = {"targets": ["high"], "quantile_levels": [0.25, 0.75], "prediction_length": 1}
                forecast = service.ask({"stream": stream, **wanted})
                numbers = [forecast["predictions"], *forecast["quantiles"].values()]
                expected.append([number[0][0] for number in numbers])
    shown = [[float(cell) for cell in row[4:7]] for row in rows(printed)]
    assert len(expected) == 6
    assert shown == [pytest.approx(numbers, rel=1e-6) for numbers in expected]
    assert "BTC-USD" not in printed
