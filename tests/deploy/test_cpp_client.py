"""The C++ client: it builds without a warning, its tests pass under the address and undefined-behaviour sanitizers, its
numbers are those of the Python path, its example runs, and another project can use what it installs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import MODEL, MODELS, ROOT, VINOCAST, random_windows

from scripts.inference_openvino import PatchTSTOpenVINOInference

CLIENT = ROOT / "deploy" / "cpp"
PAGE = (ROOT / "docs" / "cpp.md").read_text()
COINBASE = Path(os.environ.get("VINOCAST_SHARED_DATA", ROOT.parent / "shared" / "data")) / "coinbase"
PACKAGES = "g++ cmake libsimdjson-dev doctest-dev"
HEADERS = {"simdjson.h": "libsimdjson-dev", "doctest/doctest.h": "doctest-dev"}
CHANNELS = 7
BUCKET = 300
TOO_FEW_BARS = 2

# Compiling takes most of a minute, and the services that the tests start another; more on a busy machine.
pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, expected: int = 0, **environment: str) -> str:
    """Run a command to its end, and return what it printed; fail with that if it does not end as expected."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "VINOCAST_PROGRAM": str(VINOCAST), **environment},
    )
    assert done.returncode == expected, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def tools() -> None:
    """What a build needs; without it these tests fail, so that nobody takes them for passed."""
    missing = [program for program in ("cmake", "g++", "make") if shutil.which(program) is None]
    if "g++" not in missing:
        for header, package in HEADERS.items():
            found = subprocess.run(
                ["g++", "-E", "-x", "c++", "-include", header, "/dev/null"], capture_output=True, check=False
            )
            if found.returncode:
                missing.append(package)
    if missing:
        what = f"missing: {', '.join(missing)}; as root: apt-get install {PACKAGES} make"
        # Where nobody can install them, the rest of the tests still says something; CI must not leave these out.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@pytest.fixture(scope="session")
def build(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with sanitizers, in a folder of its own."""
    folder = tmp_path_factory.mktemp("cpp")
    run("cmake", "-S", CLIENT, "-B", folder, "-DVINOCAST_SANITIZE=address,undefined")
    run("cmake", "--build", folder, "--parallel", str(os.cpu_count() or 1))
    return folder


def test_ctest_passes_with_the_numbers_of_the_python_path(build: Path, tmp_path: Path) -> None:
    windows = np.stack(random_windows(8, seed=5))
    forecasts = PatchTSTOpenVINOInference(MODELS / MODEL).predict(windows)
    expected = tmp_path / "expected"
    expected.write_bytes(windows.astype("<f4").tobytes() + np.asarray(forecasts).astype("<f4").tobytes())
    printed = run(
        "ctest", "--test-dir", build, "--parallel", "2", "--output-on-failure", VINOCAST_EXPECTED=str(expected)
    )
    assert "100% tests passed, 0 tests failed out of 5" in printed


def test_the_default_build_compiles_without_a_warning(tools: None, tmp_path: Path) -> None:
    """Optimizing finds warnings that the sanitized build does not; the largest target is enough."""
    run("cmake", "-S", CLIENT, "-B", tmp_path)
    run("cmake", "--build", tmp_path, "--target", "client_tests")


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
NOISE_COUNTED = "skipped: 2 other messages, 1 errors, 7 unreadable lines"


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
    assert f"539 completed bars of BTC-USD, 6 of them without trades, from {len(lines) - len(NOISE)} " in printed
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
            "2 completed bars of BTC-USD, 0 of them without trades, from 2 messages with candles; skipped: 0 other "
            "messages, 0 errors, 0 unreadable lines; holes that made it begin anew: 1",
        ),
        ([candles_message("snapshot", candle(0, product="ETH-USD"))], "products with candles: ETH-USD"),
        ([*NOISE], f"{NOISE_COUNTED}; products with candles: none"),
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


def test_example_makes_up_no_weeks(build: Path, tmp_path: Path) -> None:
    capture = tmp_path / "capture.jsonl"
    capture.write_text(candles_message("update", candle(0), candle(BUCKET * 2017)))
    printed = run(build / "stream_processor", "--capture", capture, expected=1)
    assert "no candles of BTC-USD between 0 and 605100: more than a week" in printed


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
            f"{bars} completed bars of {product}, {silent} of them without trades, from 4 messages with candles; "
            "skipped: 118 other messages, 0 errors, 0 unreadable lines"
        ) in printed
        assert f"the window of {MODEL} has 512 rows, the file has {bars}, {512 - bars} are missing" in printed


def test_another_project_can_use_what_is_installed(build: Path, tmp_path: Path) -> None:
    run("cmake", "--install", build, "--prefix", tmp_path / "prefix")
    # The page's own example of a CMakeLists.txt and of a program.
    listing, program = (
        re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]
        for language in ("cmake", "cpp")
    )
    project = tmp_path / "project"
    project.mkdir()
    (project / "CMakeLists.txt").write_text(listing)
    (project / "main.cpp").write_text(program)
    run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}")
    run("cmake", "--build", project / "build")
    printed = run(project / "build" / "my_pipeline", PATH=f"{VINOCAST.parent}:{os.environ['PATH']}")
    assert re.search(r"next value of \w+: -?\d", printed)


def test_the_page_names_every_option_and_outcome() -> None:
    options = (CLIENT / "vinocast" / "options.h").read_text()
    names = re.findall(r"^  [\w:<>(&) ]+? (\w+)(?: = [^;]+)?(?:\{.*\})?;", options, re.MULTILINE)
    assert len(names) > 10
    (outcomes,) = re.findall(
        r"enum class Outcome \{(.*?)\}", (CLIENT / "vinocast" / "messages.h").read_text(), re.DOTALL
    )
    names += re.findall(r"^  (\w+),", outcomes, re.MULTILINE)
    assert [name for name in names if f"`{name}`" not in PAGE] == []
