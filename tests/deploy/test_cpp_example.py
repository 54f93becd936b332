"""The example of the C++ client forecasts each bar of a file and of a capture, and says what these lack."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cpp_support import run
from support import MODEL, MODELS, SHARED_DATA, VINOCAST, random_windows

from scripts.inference_openvino import PatchTSTOpenVINOInference

COINBASE = SHARED_DATA / "coinbase"
CHANNELS = 7
BUCKET = 300
TOO_FEW_BARS = 2

# Compiling takes most of a minute, and the services that the tests start another; more on a busy machine.
pytestmark = pytest.mark.timeout(600)


def forecasts_of(printed: str) -> list[list[str]]:
    """The lines of the example that carry a forecast, in columns."""
    return [line.split() for line in printed.splitlines() if re.match(r"\d{12,} ", line)]


def test_example_forecasts_each_bar_of_a_plain_file(build: Path, tmp_path: Path) -> None:
    (walk,) = random_windows(1, seed=6)
    table = tmp_path / "bars.csv"
    with table.open("w") as file:
        file.write("timestamp," + ",".join(f"c{i}" for i in range(1, CHANNELS + 1)) + "\n")
        for step, row in enumerate(np.concatenate((walk, walk[:5]))):
            file.write(f"{1700000000000 + step * 1000}," + ",".join(map(str, row)) + "\n")
    lines = forecasts_of(run(build / "stream_processor", table, "--bars", "5"))
    assert [line[0] for line in lines] == [str(1700000000000 + step * 1000) for step in range(512, 517)]
    whole = np.concatenate((walk, walk[:5]))
    model = PatchTSTOpenVINOInference(MODELS / MODEL)
    for step, (_, now, forecast, *_) in enumerate(lines):
        window = whole[step + 1 : step + 513]
        assert float(now) == pytest.approx(window[-1, -1], abs=1e-4)
        assert float(forecast) == pytest.approx(model.predict(window)[0, -1], rel=1e-4)


@pytest.mark.shared_data
def test_example_sorts_real_candles(build: Path) -> None:
    lines = forecasts_of(run(build / "stream_processor", COINBASE / "BTCUSD_1h.csv", "--bars", "3"))
    # The newest three hours of the file, whose first row is the newest.
    assert [line[0] for line in lines] == ["1571295600000", "1571299200000", "1571302800000"]
    assert [float(line[1]) for line in lines] == pytest.approx([7975.89, 8051, 8035.88], abs=1e-2)


def candles_message(kind: str, *candles: dict[str, str]) -> str:
    """A raw message of Coinbase's candles channel."""
    return json.dumps({"channel": "candles", "sequence_num": 0, "events": [{"type": kind, "candles": candles}]})


def candle(start: int, prices: Any = (3, 4, 1, 2), volume: object = 5, product: str = "BTC-USD") -> dict[str, str]:
    """A candle as the feed sends it; the prices are open, high, low and close."""
    numbers = dict(zip(("open", "high", "low", "close"), map(str, prices), strict=True))
    return {"start": str(start), **numbers, "volume": str(volume), "product_id": product}


NOISE = [
    "no JSON",
    "[]",
    candles_message("update", candle(BUCKET * 5_000_000) | {"close": "none"}),
    candles_message("update", candle(BUCKET * 5_000_000 + 1)),
    candles_message("update", candle(BUCKET * 5_000_000) | {"high": "inf"}),
    candles_message("update", candle(BUCKET * 2**50)),
    '{"channel":"candles","events":[{"type":"update"}]}',
    '{"type":"error","message":"too many requests"}',
    '{"channel":"heartbeats","events":[{"heartbeat_counter":7}]}',
    '{"type":"match","product_id":"BTC-USD","price":"7.5","size":"1"}',
]
NOISE_COUNTED = "skipped: 2 other messages, 1 errors, 7 refused"


def test_example_forecasts_the_bars_of_a_capture_as_those_of_a_file(build: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    opened, closed = 60000 + random.standard_normal((2, 540)).cumsum(axis=1).astype(np.float32)
    high = np.maximum(opened, closed) + np.float32(0.5)
    low = np.minimum(opened, closed) - np.float32(0.25)
    volume = random.random(540, dtype=np.float32)
    # Among the silent buckets: neighbours, some between the bars shown, and the last but one.
    for silent in (3, 150, 151, 300, 530, 538):
        opened[silent] = high[silent] = low[silent] = closed[silent] = closed[silent - 1]
        volume[silent] = 0
    typical = (high + low + closed) / np.float32(3)
    bars = np.stack((opened, high, low, closed, volume, volume * typical, typical), axis=1)
    starts = BUCKET * (5_900_000 + np.arange(len(bars)))

    traded = [step for step in range(len(bars)) if volume[step] > 0]
    sent = [candle(int(starts[step]), bars[step, :4], bars[step, 4]) for step in traded]
    half = [one | {"close": "1", "volume": "0.1"} for one in sent]
    others = [candle(int(starts[step]), product="ETH-USD") for step in traded]
    lines = [candles_message("snapshot", *others[:100]), candles_message("snapshot", *sent[:99], half[99]), *NOISE]
    for position in range(99, len(sent)):
        lines.append(candles_message("update", half[position]))
        lines.append(candles_message("update", sent[position], others[position]))
        if position == 400:  # another connection; its snapshot repeats what is known
            lines.append(candles_message("snapshot", *sent[301:401]))
    capture = tmp_path / "capture.jsonl"
    capture.write_text("\n".join(lines) + "\n")

    # The newest bucket is not complete.
    table = tmp_path / "bars.csv"
    with table.open("w") as file:
        file.write("timestamp,open,high,low,close,volume_btc,volume,typical\n")
        for start, bar in zip(starts[:-1], bars[:-1], strict=True):
            file.write(f"{start * 1000}," + ",".join(map(str, bar)) + "\n")

    printed = run(build / "stream_processor", "--capture", capture, "--bars", "0")
    assert f"539 completed bars of BTC-USD, 6 of them missing in the feed, from {len(lines) - len(NOISE)} " in printed
    assert NOISE_COUNTED in printed
    # The model computes each channel by itself, so each has its turn; in the volume in dollars all numbers meet.
    for target in ("close", "open", "high", "low", "volume"):
        from_capture, from_table = (
            forecasts_of(run(build / "stream_processor", *file, "--bars", "100", "--target", target))
            for file in (("--capture", capture), (table,))
        )
        # One for each whole window. The columns behind the fourth are times.
        assert [line[0] for line in from_capture] == [str(start * 1000) for start in starts[511:-1]]
        assert [line[:4] for line in from_capture] == [line[:4] for line in from_table]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([candles_message("snapshot", candle(BUCKET * 3), candle(BUCKET * 9))], "6 completed bars of BTC-USD, 5 of"),
        # Nobody knows what was traded between two snapshots that do not overlap.
        (
            [
                candles_message("snapshot", *(candle(BUCKET * step) for step in range(9))),
                candles_message("snapshot", *(candle(BUCKET * step) for step in (9, 10, 11))),
            ],
            "2 completed bars of BTC-USD, 0 of them missing in the feed, from 2 messages with candles; skipped: 0 "
            "other messages, 0 errors, 0 refused\nholes that made it begin anew: 1",
        ),
        ([candles_message("snapshot", candle(0, product="ETH-USD"))], "products with candles: ETH-USD"),
        ([*NOISE], f"{NOISE_COUNTED}\nproducts with candles: none"),
        # So long without a trade is a wrong clock or another market.
        ([candles_message("update", candle(0), candle(BUCKET * 2017))], "0 completed bars of BTC-USD, 0 of"),
    ],
)
def test_example_says_what_a_short_capture_lacks(build: Path, tmp_path: Path, messages: list[str], said: str) -> None:
    capture = tmp_path / "capture.jsonl"
    capture.write_text("\n".join(messages) + "\n")
    printed = run(build / "stream_processor", "--capture", capture, expected=TOO_FEW_BARS)
    assert said in printed
    bars = re.search(r"^(\d+) completed bars", printed, re.MULTILINE)
    assert bars
    assert f"the file has {bars[1]}, {512 - int(bars[1])} are missing" in printed
    assert forecasts_of(printed) == []


def candles_of(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts of buckets, and open, high, low, close and volume of each."""
    random = np.random.default_rng(seed)
    opened, closed = 60000 + random.standard_normal((2, count)).cumsum(axis=1).astype(np.float32)
    high, low = np.maximum(opened, closed) + np.float32(0.5), np.minimum(opened, closed) - np.float32(0.25)
    volume = random.random(count, dtype=np.float32)
    return BUCKET * (5_900_000 + np.arange(count)), np.stack((opened, high, low, closed, volume), axis=1)


def history_csv(path: Path, starts: np.ndarray, bars: np.ndarray) -> Path:
    """A file of candles, the newest first, with times of every form in turn."""
    forms = (
        lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda time: time.strftime("%Y-%m-%d %H:%M"),
        lambda time: time.astimezone(timezone(timedelta(hours=-5))).isoformat(timespec="milliseconds"),
        lambda time: str(int(time.timestamp())),
        lambda time: str(int(time.timestamp()) * 1000),
    )
    rows = [
        f"{forms[step % len(forms)](datetime.fromtimestamp(int(start), UTC))},{','.join(map(str, bar))}"
        for step, (start, bar) in enumerate(zip(starts, bars, strict=True))
    ]
    path.write_text("\ufefftime,Open,High,Low,Close,Volume\n" + "\n".join(reversed(rows)) + "\n")
    return path


def test_example_goes_on_from_a_history_with_what_comes_live(build: Path, tmp_path: Path) -> None:
    starts, bars = candles_of(8, 520)
    sent = [candles_message("update", candle(int(starts[i]), bars[i, :4], bars[i, 4])) for i in range(len(bars))]
    whole = history_csv(tmp_path / "whole.csv", starts[:-1], bars[:-1])
    expected = forecasts_of(run(build / "stream_processor", whole, "--bars", "8"))
    assert [line[0] for line in expected] == [str(start * 1000) for start in starts[511:-1]]

    # The feed's first candles are the history's last.
    history = history_csv(tmp_path / "history.csv", starts[:510], bars[:510])
    capture = tmp_path / "capture.jsonl"
    capture.write_text("\n".join(sent[505:]) + "\n")
    from_file = run(build / "stream_processor", history, "--capture", capture, "--bars", "8")
    assert (
        f"519 completed bars of BTC-USD, 0 of them missing in the feed, from 15 messages with candles after {history}"
        in (from_file)
    )
    assert [line[:4] for line in forecasts_of(from_file)] == [line[:4] for line in expected]

    with subprocess.Popen(
        [build / "stream_processor", history, "--capture", "-", "--bars", "7"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "VINOCAST_PROGRAM": str(VINOCAST)},
    ) as program:
        assert program.stdin
        assert program.stdout
        program.stdin.write("\n".join(sent[505:512]) + "\n")
        for step in range(512, 519):
            # The forecast comes while the next message has yet to come.
            program.stdin.write(sent[step] + "\n")
            program.stdin.flush()
            while not (lines := forecasts_of(program.stdout.readline())):
                assert program.poll() is None
            assert lines[0][:3] == expected[step - 512][:3]
        rest, _ = program.communicate(timeout=60)
    assert program.returncode == 0
    assert "518 completed bars of BTC-USD" in rest


def test_example_refuses_a_history_that_does_not_fit_the_feed(build: Path, tmp_path: Path) -> None:
    starts, bars = candles_of(9, 530)
    capture = tmp_path / "capture.jsonl"
    sent = [candles_message("update", candle(int(starts[i]), bars[i, :4], bars[i, 4])) for i in range(520, 530)]
    capture.write_text("\n".join(sent))
    # Ten buckets are missing between: nobody knows what was traded.
    early = history_csv(tmp_path / "early.csv", starts[:510], bars[:510])
    printed = run(build / "stream_processor", early, "--capture", capture, expected=TOO_FEW_BARS)
    assert "9 completed bars" in printed
    assert "holes that made it begin anew: 1" in printed
    hourly = history_csv(tmp_path / "hourly.csv", starts[0] + 3600 * np.arange(100), bars[:100])
    printed = run(build / "stream_processor", hourly, "--capture", capture, expected=1)
    assert "its bars are 3600 s long, the candles of a capture 300 s" in printed
    other = tmp_path / "other.csv"
    other.write_text("timestamp,a,b\n1,2,3\n")
    assert "a CSV of candles" in run(build / "stream_processor", other, "--capture", capture, expected=1)


def test_example_says_what_it_takes(build: Path, tmp_path: Path) -> None:
    for option in ("--help", "-h"):
        printed = run(build / "stream_processor", option)
        for word in ("--capture", "--product", "--bars", "--target", "--program", "--models", "--model ", "Exit code"):
            assert word in printed
    assert "--help" in run(build / "stream_processor", expected=1)
    assert "no such option: --taget" in run(build / "stream_processor", "--taget", "close", expected=1)
    table = history_csv(tmp_path / "bars.csv", *candles_of(10, 512))
    printed = run(build / "stream_processor", table, "--target", "clsoe", expected=1)
    assert "no channel clsoe; the channels are open, high, low, close, volume_btc, volume, typical" in printed
    printed = run(build / "stream_processor", table, "--model", "none", expected=1)
    assert f"the service has no model none, but btcusd, {MODEL}, vinocast-general\n" in printed
    printed = run(build / "stream_processor", table, "--model", "glyphs", "--bars", "1", expected=1)
    assert f"--model: glyphs is no forecaster; there is btcusd, {MODEL}, vinocast-general\n" in printed
    assert forecasts_of(run(build / "stream_processor", table, "--bars", "0")) == []
    assert "next, forecast" not in run(build / "stream_processor", table, "--bars", "0")
    printed = run(build / "stream_processor", table, "--program", tmp_path / "none", expected=1)
    assert "No such file or directory" in printed
    for cell, said in (
        ("yesterday", "expected a time like 2026-11-25T03:57:27Z"),
        ("2026-11-25", "expected a number, got 'nan'"),
    ):
        table.write_text(f"time,a,b\n{cell},1,nan\n")
        assert f"{table}, line 2: {said}" in run(build / "stream_processor", table, expected=1)


@pytest.mark.shared_data
def test_example_reads_a_real_capture(build: Path) -> None:
    for product, bars, silent in (("BTC-USD", 151, 52), ("ETH-USD", 100, 1)):
        printed = run(
            build / "stream_processor",
            "--capture",
            COINBASE / "advanced_trade_sample.jsonl",
            "--product",
            product,
            expected=TOO_FEW_BARS,
        )
        assert (
            f"{bars} completed bars of {product}, {silent} of them missing in the feed, from 4 messages with candles; "
            "skipped: 118 other messages, 0 errors, 0 refused"
        ) in printed
        assert f"the window of {MODEL} has 512 rows, the file has {bars}, {512 - bars} are missing" in printed


@pytest.mark.shared_data
def test_the_bars_of_candles_with_faults(build: Path) -> None:
    run(
        build / "tests" / "client_tests",
        "--test-suite=candles",
        VINOCAST_FEED_FAULTS=str(COINBASE / "feed_faults.json"),
    )
