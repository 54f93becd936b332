"""``vinocast replay``: captures and tables of candles, with forecasts, a report, scores and a picture."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from markets import (
    START,
    Trade,
    advanced_messages,
    bars_of,
    exchange_match,
    exchange_messages,
    make_trades,
    write_candles,
)
from support import ROOT, SHARED_DATA, VINOCAST, RunVinocast
from vinocast.markets import Bar
from vinocast.results import Forecast
from vinocast.sources.outcomes import Outcomes
from vinocast.sources.pairing import Told
from vinocast.sources.replay import Asked, read_source

COINBASE = SHARED_DATA / "coinbase"
HOUR = 3600


def write_capture(path: Path, messages: list[Any]) -> Path:
    text = b"".join(orjson.dumps(message) + b"\n" for message in messages)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def replayed(run_vinocast: RunVinocast, *arguments: str | Path) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """The lines, the last of them, and standard error."""
    done = run_vinocast("replay", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    *lines, last = map(orjson.loads, done.stdout.splitlines())
    return lines, last, done.stderr


@pytest.fixture(scope="module")
def trades() -> list[Trade]:
    return make_trades("AAA-USD", 600) + make_trades("BBB-USD", 600, seed=1, rate=0.3)


@pytest.mark.parametrize("name", ["capture.jsonl", "capture.jsonl.gz"])
def test_a_capture_of_either_feed_gives_the_bars_of_its_trades(
    run_vinocast: RunVinocast, tmp_path: Path, trades: list[Trade], name: str
) -> None:
    messages = exchange_messages(trades) if name.endswith("gz") else advanced_messages(trades)
    path = write_capture(tmp_path / name, [*messages[:50], "text", {"type": "error", "message": "x"}, *messages[50:]])
    lines, last, _ = replayed(run_vinocast, path, "--bar", "30s")
    assert {line["stream"] for line in lines} == {"AAA-USD@30s", "BBB-USD@30s"}
    for product in ("AAA-USD", "BBB-USD"):
        right = bars_of([trade for trade in trades if trade.product == product], 30)
        bars = [line["bar"] for line in lines if line["stream"] == f"{product}@30s"]
        assert [bar[0] for bar in bars] == list(range(START, START + 30 * len(bars), 30))
        assert len(bars) >= 19
        for start, *numbers, state in bars[1:]:
            assert state == ("complete" if start in right else "filled")
            if start in right:
                assert numbers == pytest.approx(right[start], rel=1e-12)
        assert bars[0][6] == "incomplete"
    assert {line["error"]["code"] for line in lines} == {"not_enough_history"}
    counts = last["report"]["counts"]
    assert (counts["used"], counts["refused"], counts["errors"]) == (len(trades), 1, 1)
    assert counts["seen"] == last["report"]["source"]["lines"] == len(messages) + 2


def test_lines_for_people_say_once_why_there_is_no_forecast_and_the_report_names_the_holes(
    run_vinocast: RunVinocast, tmp_path: Path
) -> None:
    trades = make_trades("AAA-USD", 600)
    lost = {trade.number for trade in trades[200:300]}
    kept = [message for message in exchange_messages(trades) if message.get("trade_id") not in lost]
    path = write_capture(tmp_path / "capture.jsonl", [*kept, "[]"])
    done = run_vinocast("replay", path, "--bar", "1m")
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert re.match(r"2026-03-04 05:00:00 AAA-USD@1m incomplete 6\d+(\.\d+)? \| no forecast: stream: ", line)
    assert "missed trades 100" in done.stderr
    assert "refused 1" in done.stderr
    touched = {trade.micros // 60_000_000 * 60 - START for trade in trades[200:300]}
    minutes = [f"2026-03-04 05:{minute:02}:00" for minute in (min(touched) // 60, max(touched) // 60 + 1)]
    assert f"  {' to '.join(minutes)}: missing or incomplete" in done.stderr
    assert re.search(rf"AAA-USD@1m: .*incomplete {len(touched) + 1}", done.stderr)


def test_each_bar_is_told_of_where_more_close_at_once_than_are_forecast(
    run_vinocast: RunVinocast, tmp_path: Path
) -> None:
    """Two days without a trade close 900 bars of each product that are kept; a request has 1,000 forecasts."""
    trades = [
        Trade(product, 7 + number, (START + 2880 * 60 * number) * 1_000_000, 100, 1000)
        for number in range(2)
        for product in ("AAA-USD", "BBB-USD")
    ]
    path = write_capture(tmp_path / "capture.jsonl", [exchange_match(trade) for trade in trades])
    lines, last, _ = replayed(run_vinocast, path, "--bar", "1m")
    refused, forecasts = last["report"]["refused"], last["report"]["forecasts"]
    assert (refused["overloaded"], refused["not_enough_history"] + forecasts, len(lines)) == (800, 1000, 1800)
    assert sum(line["success"] for line in lines) == forecasts > 300
    for product in ("AAA-USD", "BBB-USD"):
        starts = [line["bar"][0] for line in lines if line["stream"] == f"{product}@1m"]
        assert starts == list(range(START + 1980 * 60, START + 2880 * 60, 60))


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_candles(tmp_path_factory.mktemp("candles") / "BTCUSD_1h.csv", 600)


@pytest.mark.slow
def test_candles_are_forecast_bar_by_bar_and_scored(run_vinocast: RunVinocast, hours: Path, tmp_path: Path) -> None:
    picture = tmp_path / "hours.html"
    lines, last, said = replayed(run_vinocast, hours, "--plot", picture, "--targets", "close,log_volume")
    # The last one is still open.
    assert [line["bar"][0] for line in lines] == [START + HOUR * place for place in range(599)]
    assert [line["success"] for line in lines] == [place >= 544 for place in range(599)]
    assert {line["newest_timestamp_ms"] - 1000 * line["bar"][0] for line in lines if line["success"]} == {0}
    assert {line["stream"] for line in lines} == {"BTCUSD@1h"}
    assert last["report"]["forecasts"] == 55
    assert last["report"]["refused"] == {"not_enough_history": 544}
    assert [score["target"] for score in last["scores"]] == ["close", "log_volume"]
    score = last["scores"][0]
    made = {line["bar"][0]: line for line in lines if line["success"]}
    closes = {line["bar"][0]: line["bar"][4] for line in lines}
    errors = [
        abs(line["predictions"][0][0] - closes[start + HOUR]) for start, line in made.items() if start + HOUR in closes
    ]
    held = [
        line["quantiles"]["0.1"][0][0] <= closes[start + HOUR] <= line["quantiles"]["0.9"][0][0]
        for start, line in made.items()
        if start + HOUR in closes
    ]
    assert (score["count"], score["error"]) == (54, pytest.approx(np.mean(errors), rel=1e-6))
    assert score["held"] == pytest.approx(np.mean(held))
    assert "the newest row comes first: put in order" in said
    assert "volume is column 'Volume BTC'" in said
    page = picture.read_text()
    assert "BTCUSD@1h close" in page
    assert "forecast by the one before (blue, with its band)" in page
    assert "0.1 to 0.9" in page


@pytest.mark.parametrize("levels", [(), (0.5,), (0.1, 0.9)])
def test_forecasts_are_drawn_with_a_band_or_without_one(levels: tuple[float, ...]) -> None:
    outcomes = Outcomes(HOUR)
    for place in range(3):
        bar = Bar(START + HOUR * place, 1.0, 2.0, 0.5, 1.5, 3.0, "complete")
        points = np.full((2, 1), place, np.float32)
        quantiles = {level: points + np.float32(level) for level in levels}
        outcomes.take(Told("AAA-USD@1h", bar, Forecast(points, ("close",), "a model", quantiles), None))
    (panel,) = outcomes.panels()
    assert panel.points.tolist() == [0, 1, 2]
    assert [name for name, _ in panel.bands] == (["0.1 to 0.9"] if len(levels) == 2 else [])
    for _, band in panel.bands:
        np.testing.assert_allclose(band, [[0.1, 1.1, 2.1], [0.9, 1.9, 2.9]], rtol=1e-6)


@pytest.mark.slow
def test_a_bar_that_is_missing_costs_no_forecast_but_those_of_windows_with_it(
    run_vinocast: RunVinocast, hours: Path, tmp_path: Path
) -> None:
    """Its error comes while the forecasts of the bars before it are still computed."""
    path = tmp_path / "BTCUSD_1h.csv"
    *head, rest = hours.read_text().split("\n", 2)
    rows = rest.splitlines()
    path.write_text("\n".join([*head, *rows[:5], *rows[6:]]) + "\n")
    lines, last, _ = replayed(run_vinocast, path)
    assert [line["success"] for line in lines] == [544 <= place < 594 for place in range(599)]
    assert last["report"]["refused"] == {"not_enough_history": 544, "invalid_value": 5}
    assert "left" not in last["report"]["source"]


def test_where_no_bar_could_be_forecast_the_exit_code_and_a_sentence_say_it(
    run_vinocast: RunVinocast, tmp_path: Path
) -> None:
    candles = write_candles(tmp_path / "BTCUSD_1h.csv", 30)
    done = run_vinocast("replay", "--json", candles, "--model", "none")
    *lines, last = map(orjson.loads, done.stdout.splitlines())
    assert {line["error"]["code"] for line in lines} == {"unknown_model"}
    assert (done.returncode, last["report"]["refused"]) == (1, {"unknown_model": 29})
    assert "no bar was forecast: unknown_model, 29 times, the last time model: expected one of " in done.stderr
    (tmp_path / "talib.py").write_text("raise ModuleNotFoundError(\"No module named 'talib'\", name='talib')\n")
    done = run_vinocast("replay", candles, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "no bar was forecast: not_found, 29 times, the last time stream: its forecast takes TA-Lib" in done.stderr
    assert "candles 30" in done.stderr


@pytest.mark.slow
def test_candles_of_another_length_are_folded_and_others_are_refused(
    run_vinocast: RunVinocast, hours: Path, tmp_path: Path
) -> None:
    lines, _, _ = replayed(run_vinocast, hours, "--bar", "2h", "--product", "X-USD")
    starts = [line["bar"][0] for line in lines]
    assert (starts[0], np.unique(np.diff(starts)).tolist()) == (START - START % 7200 + 7200, [7200])
    assert {line["stream"] for line in lines} == {"X-USD@2h"}
    done = run_vinocast("replay", hours, "--bar", "5m")
    assert (done.returncode, done.stdout) == (1, "")
    assert "make no bars of 5m" in done.stderr


@pytest.mark.slow
def test_history_comes_first_so_that_the_first_bar_of_a_capture_is_forecast(
    run_vinocast: RunVinocast, tmp_path: Path
) -> None:
    before = write_candles(tmp_path / "before.csv", 700, step=60, start=START - 700 * 60)
    path = write_capture(tmp_path / "capture.jsonl", advanced_messages(make_trades("AAA-USD", 300)))
    picture = tmp_path / "minutes.png"
    lines, _, _ = replayed(run_vinocast, path, "--bar", "1m", "--history", before, "--plot", picture)
    # The last candle of before is closed by the first trade.
    assert [line["bar"][0] for line in lines] == [START + 60 * place for place in range(-1, 4)]
    assert [line["success"] for line in lines] == [True] * 5
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    two = make_trades("AAA-USD", 60) + make_trades("BBB-USD", 60)
    done = run_vinocast("replay", write_capture(tmp_path / "two.jsonl", exchange_messages(two)), "--history", before)
    assert done.returncode == 1
    assert "--history: say whose it is by --product" in done.stderr
    assert "['AAA-USD', 'BBB-USD']" in done.stderr


def test_a_product_that_a_capture_has_in_upper_case_alone_is_said(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    upper = write_capture(tmp_path / "upper.jsonl", exchange_messages(make_trades("AAA-USD", 60)))
    done = run_vinocast("replay", upper, "--product", "aaa-usd", "--bar", "1m")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"--product aaa-usd: {upper} has AAA-USD, in upper case" in done.stderr
    lower = write_capture(tmp_path / "lower.jsonl", exchange_messages(make_trades("aaa-usd", 60)))
    asked = Asked(file=lower, product="aaa-usd", bar=None, speed=0, history=None, plot=None, json=False)
    assert read_source(asked).product == "aaa-usd"


@pytest.mark.slow
def test_a_replay_takes_as_long_as_is_asked_and_tells_what_is_left_when_it_is_interrupted(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "capture.jsonl", exchange_messages(make_trades("AAA-USD", 600)))
    begun = time.monotonic()
    command = [str(VINOCAST), "replay", str(path), "--bar", "30s", "--speed", "30", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        for number in range(2):
            assert orjson.loads(process.stdout.readline())["bar"][0] == START + 30 * number
        # A minute at thirty times the speed.
        assert time.monotonic() - begun > 1.9
        process.send_signal(signal.SIGINT)
        *lines, last = process.stdout.read().splitlines()
        assert len(lines) < 10
        report, said = orjson.loads(last)["report"], process.stderr.read().decode()
        assert process.wait() == 1
    seen, left = report["counts"]["seen"], report["source"]["left_bytes"]
    assert 60 < seen < 1000
    assert path.read_bytes()[:-left].count(b"\n") == seen
    assert said.endswith(f"vinocast: interrupted, with {left} bytes of {path} left\n")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere.jsonl",), 1, "nowhere.jsonl: No such file"),
        ((".",), 1, "directory"),
        (("README.md",), 1, "README.md"),
        (("examples/host.csv",), 1, "expected columns open, high, low, close and volume"),
        (("examples/window.json", "--plot", "x.gif"), 1, ".html or .png"),
        (("examples/window.json", "--speed", "-1"), 2, "--speed"),
    ],
)
def test_what_cannot_be_replayed_is_said(
    run_vinocast: RunVinocast, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run_vinocast("replay", *arguments, cwd=ROOT)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["exchange_sample", "advanced_trade_sample"])
def test_both_samples_are_replayed_without_an_error_and_every_message_is_counted(
    run_vinocast: RunVinocast, name: str
) -> None:
    path = COINBASE / f"{name}.jsonl"
    _, last, said = replayed(run_vinocast, path, "--bar", "1s")
    counts = last["report"]["counts"]
    assert counts["seen"] == len(path.read_bytes().splitlines())
    assert not {"refused", "errors", "missed_trades"} & set(counts)
    assert said.count("\n") == 0
