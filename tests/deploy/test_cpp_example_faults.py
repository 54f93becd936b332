"""The example of the C++ client with what goes wrong: messages that are none, too little history, a service that dies,
wrong arguments, and what exchanges have really sent."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from cpp_support import run
from support import SHARED_DATA, VINOCAST

COINBASE = SHARED_DATA / "coinbase"
NOTHING_FORECAST = 2
BEGIN = 1_772_600_400

# Compiling takes most of a minute, and the services that the tests start another; more on a busy machine.
pytestmark = pytest.mark.timeout(600)


def match(number: int, second: int, price: object = "7", product: str = "BTC-USD", hour: str = "2026-03-04T05") -> str:
    """A trade of the Exchange feed, so many seconds after the begin of an hour."""
    time = f"{hour}:{second // 60:02}:{second % 60:02}.25Z"
    fields = {"type": "match", "trade_id": number, "side": "sell", "size": "0.5", "price": str(price)}
    return orjson.dumps(fields | {"product_id": product, "sequence": number, "time": time}).decode()


def history_csv(path: Path, count: int, step: int = 60, end: int = BEGIN) -> Path:
    """A file of candles before the begin, the newest first, with times of every form in turn."""
    rows = ["\ufefftime,Open,High,Low,Close,Volume"]
    for i in range(1, count + 1):
        close = 100 + (i * i) % 13 + i % 7 / 4
        time = end - i * step
        rows.append(f"{(time, time * 1000)[i % 2]},{close - 1},{close + 2},{close - 2},{close},{1 + i % 5}")
    path.write_text("\n".join(rows) + "\n")
    return path


def rows(printed: str) -> list[list[str]]:
    """The lines of bars, in columns."""
    return [line.split() for line in printed.splitlines() if re.match(r"\d{4}-\d\d-\d\dT\S+Z ", line)]


def test_every_line_is_accounted_for(build: Path, tmp_path: Path) -> None:
    capture = tmp_path / "capture.jsonl"
    lines = [
        match(1, 5),
        "",
        "no JSON",
        match(2, 10) + match(3, 11),
        match(4, 12, "NaN"),
        "[]",
        "null",
        '{"type":"error","message":"slow down"}',
        '{"type":"auction"}',
        "   ",
        '{"channel":"market_trades","events":7}',
        match(2, 13),
        match(2, 13),
        match(5, 65),
        match(9, 70, product="ETH-USD"),
    ]
    capture.write_text("\n".join(lines))
    printed = run(build / "stream_processor", capture, "--bar", "1m", expected=NOTHING_FORECAST)
    refused = [int(number) for number in re.findall(r"^line (\d+): invalid_\w+: message", printed, re.MULTILINE)]
    assert refused == [3, 4, 5, 6, 7, 11]
    assert (
        "15 lines, 2 blank; messages: 13 seen, 5 used, 1 ignored, 1 errors, 6 refused, 0 missed, 0 unanswered"
        in printed
    )
    assert "no forecast: stream: expected 512 closed bars" in printed
    assert [row[:4] for row in rows(printed)] == [["2026-03-04T05:00:00Z", "BTC-USD@1m", "incomplete", "7"]]
    counted = (
        "BTC-USD@1m: 0 complete, 0 filled, 1 incomplete, 0 missing, 0 forecast; used 3; duplicates 1; missed_trades 2"
    )
    assert counted in printed
    assert "1 trades or candles are of streams of which no bar has closed; --product has them named" in printed
    printed = run(
        build / "stream_processor", capture, "--bar", "1m", "--product", "ETH-USD", "--product", "XXX-USD",
        "--product", "btc-usd", expected=NOTHING_FORECAST,
    )  # fmt: skip
    assert "products are in upper case, so that messages of BTC-USD will be ignored" in printed
    assert "ETH-USD@1m: 0 complete, 0 filled, 0 incomplete, 0 missing, 0 forecast; used 1" in printed
    assert re.search(r"^XXX-USD@1m: 0 complete, .* 0 forecast; stream: ", printed, re.MULTILINE)
    assert "of which no bar has closed" not in printed


def test_bars_without_trades_are_forecast_too(build: Path, tmp_path: Path) -> None:
    history = history_csv(tmp_path / "history.csv", 600)
    capture = tmp_path / "capture.jsonl"
    capture.write_text("\n".join((match(1, 5), match(2, 70, "8"), match(3, 250, "9"))))
    printed = run(build / "stream_processor", capture, "--bar", "1m", "--history", f"BTC-USD={history}")
    shown = [(row[0][14:16], row[2], row[3]) for row in rows(printed)]
    assert shown[-4:] == [
        ("00", "incomplete", "7"),
        ("01", "complete", "8"),
        ("02", "filled", "8"),
        ("03", "filled", "8"),
    ]
    assert all(float(row[5]) < float(row[6]) for row in rows(printed))


def test_a_line_comes_as_its_bar_closes_also_after_the_service_has_died(build: Path, tmp_path: Path) -> None:
    history = history_csv(tmp_path / "history.csv", 600)
    messages = [match(number, 20 * number, 100 + number) for number in range(1, 19)]
    capture = tmp_path / "capture.jsonl"
    capture.write_text("\n".join(messages))
    command: list[str | Path] = [build / "stream_processor", "--bar", "1m", "--history", f"BTC-USD={history}"]
    expected = rows(run(*command, capture))
    with subprocess.Popen(
        [*command, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"VINOCAST_PROGRAM": str(VINOCAST)},
    ) as program:
        assert program.stdin
        assert program.stdout
        assert program.stderr
        log = iter(program.stderr.readline, "")
        process = next(found[1] for line in log if (found := re.search(r"is ready, process (\d+)", line)))
        shown: list[list[str]] = []
        for number, message in enumerate(messages, 1):
            if number == 10:
                os.kill(int(process), signal.SIGKILL)
            program.stdin.write(message + "\n")
            program.stdin.flush()
            if number % 3 == 0 or number == 1:
                # The bar's line comes while the next message has yet to come.
                while not (lines := rows(program.stdout.readline())):
                    assert program.poll() is None
                shown += lines
        rest, errors = program.communicate(timeout=60)
    assert program.returncode == 0
    assert "was killed by signal 9" in errors
    assert len(expected) == len(shown)
    # The trades of the bar that was open are gone with the service: it is known to be incomplete.
    assert [row[:2] for row in shown] == [row[:2] for row in expected]
    assert "18 seen" in rest


# Stands in for a service whose pushes come late, by halves, or not at all; each message says how.
ODD_SERVICE = f"""#!{sys.executable}
import json, os, sys
def put(**fields):
    print(json.dumps(fields), flush=True)
def push(start, **fields):
    put(op="forecast", stream="A@1m", newest_timestamp_ms=start and 1000 * start, **fields)
def forecast(start):
    push(start, predictions=[[start]], channels=["close"], success=True)
def refuse(start):
    push(start, success=False, error=dict(code="internal", message=f"refused {{start}}", field=None, retryable=False))
for line in sys.stdin:
    asked = json.loads(line)
    number, message = asked["request_id"], asked.get("message", {{}})
    if asked.get("op") == "ping":
        put(request_id=number, version="odd", ready=True, default_model="m", profile="p", models=[])
        continue
    closed = [dict(stream="A@1m", bar=[start, 1, 1, 1, 1, 1, "complete"]) for start in message.get("closed", [])]
    put(request_id=number, success=True, closed=closed, counts=dict(seen=1), bars=[])
    for start in message.get("pushed", []):
        forecast(start) if start is not None and start > 0 else refuse(start and -start)
    if message.get("once") and not os.path.exists(message["once"]):
        open(message["once"], "w").close()
        sys.exit(1)
"""


def test_a_bar_is_waited_for_no_longer_than_until_it_is_certain_that_no_forecast_comes(
    build: Path, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    service.write_text(ODD_SERVICE)
    service.chmod(0o755)
    messages: list[dict[str, object]] = [
        {"closed": [60, 120, 180], "pushed": [-180, 60, 120]},  # an error before the forecasts of earlier bars
        {"closed": [240, 300, 360], "pushed": [None, 240]},  # an error for all that is left
        {"closed": [420, 480], "pushed": [480]},
        {"closed": [540], "once": str(tmp_path / "once")},
        {"closed": [600], "pushed": [600]},
    ]
    capture = tmp_path / "capture.jsonl"
    capture.write_text("".join(json.dumps(message) + "\n" for message in messages))
    printed = run(build / "stream_processor", capture, "--bars", "1m", VINOCAST_PROGRAM=str(service))
    refused = re.findall(r"1970-01-01T00:(\d\d):00Z A@1m +complete +1 no forecast: (.*)", printed)
    assert refused == [
        ("03", "refused 180"),
        ("05", "refused None"),
        ("06", "refused None"),
        ("07", "it was lost: that of a later bar has come"),
        ("09", "the service has ended before it came"),
    ]
    forecast = [int(row[0][14:16]) for row in rows(printed) if row[4] != "no"]
    assert forecast == [1, 2, 4, 8, 10]


def test_bars_of_several_lengths_are_those_of_each_by_itself(build: Path, tmp_path: Path) -> None:
    history = history_csv(tmp_path / "history.csv", 2000)
    capture = tmp_path / "capture.jsonl"
    capture.write_text("\n".join(match(number, 20 * number, 100 + number) for number in range(1, 46)))
    command: list[str | Path] = [build / "stream_processor", capture, "--history", f"BTC-USD={history}"]
    both = rows(run(*command, "--bars", "1m,3m"))
    for bar, count in (("1m", 15), ("3m", 5)):
        alone = rows(run(*command, "--bar", bar))
        assert [row[:8] for row in both if row[1] == f"BTC-USD@{bar}"] == [row[:8] for row in alone]
        assert [row[2] for row in alone][1:] == ["incomplete"] + ["complete"] * (count - 1)


def test_a_history_that_does_not_fit_is_refused(build: Path, tmp_path: Path) -> None:
    capture = tmp_path / "capture.jsonl"
    capture.write_text(match(1, 5))
    hourly = history_csv(tmp_path / "hourly.csv", 10, 3600)
    command: list[str | Path] = [build / "stream_processor", capture, "--history"]
    printed = run(*command, f"BTC-USD={hourly}", expected=1)
    assert f"{hourly}: its candles of 3600 s make none of the bars of --bars 5m" in printed
    other = tmp_path / "other.csv"
    other.write_text("timestamp,a,b\n1,2,3\n")
    assert f"{other}, line 1: expected a header of candles" in run(*command, f"BTC-USD={other}", expected=1)
    assert "cannot read nowhere.csv" in run(*command, "BTC-USD=nowhere.csv", expected=1)
    assert f"cannot read {tmp_path}" in run(*command, f"BTC-USD={tmp_path}", expected=1)
    # A capture by mistake, of whose first line no more is said than tells.
    capture.write_text("x" * 10_000)
    assert f"got '{'x' * 100}…'" in run(*command, f"BTC-USD={capture}", expected=1)


def test_it_says_what_it_takes(build: Path, tmp_path: Path) -> None:
    program = build / "stream_processor"
    for option in ("--help", "-h"):
        printed = run(program, option)
        for word in ("--history", "--bars ", "--product", "--target", "--band", "--program", "--models", "--model "):
            assert word in printed
        assert "Exit code" in printed
    assert "--help" in run(program, expected=1)
    capture = tmp_path / "capture.jsonl"
    capture.write_text(match(1, 5) + "\n" + match(2, 400) + "\n")
    for arguments, said in (
        (("--taget", "close"), "no such option: --taget"),
        (("--target",), "--target: expected a value"),
        (("--bars", "5"), "--bars: expected a number with s, m or h, such as 5m, got '5'"),
        (("--bar", "1m,0m"), "got '0m'"),
        (("--band", "1"), "--band: expected a share between 0 and 1, got '1'"),
        (("--history", "file.csv"), "--history: expected PRODUCT=FILE, got 'file.csv'"),
        (("more.jsonl",), f"two captures: {capture}, more.jsonl"),
        (("--program", tmp_path / "none"), "No such file or directory"),
    ):
        assert said in run(program, capture, *arguments, expected=1)
    assert "cannot read nowhere.jsonl" in run(program, "nowhere.jsonl", expected=1)
    assert f"cannot read {tmp_path}" in run(program, tmp_path, expected=1)


@pytest.mark.shared_data
def test_real_captures_are_read_whole(build: Path) -> None:
    for name, bar, closed in (("advanced_trade_sample.jsonl", "5m", True), ("exchange_sample.jsonl", "1s", True)):
        printed = run(build / "stream_processor", COINBASE / name, "--bar", bar, expected=NOTHING_FORECAST)
        lines = len((COINBASE / name).read_text().splitlines())
        assert f"{lines} lines, 0 blank; messages: {lines} seen, " in printed
        assert " 0 errors, 0 refused, " in printed
        assert bool(rows(printed)) == closed


@pytest.mark.shared_data
def test_real_candles_of_hours_are_a_history(build: Path, tmp_path: Path) -> None:
    capture = tmp_path / "capture.jsonl"
    capture.write_text("\n".join((match(1, 5, 8040, hour="2019-10-17T10"), match(2, 6, 8041, hour="2019-10-17T11"))))
    candles = f"BTC-USD={COINBASE / 'BTCUSD_1h.csv'}"
    printed = run(build / "stream_processor", capture, "--bar", "1h", "--history", candles)
    assert re.search(r"^BTC-USD: 201\d\d candles from ", printed, re.MULTILINE)
    newest, after = rows(printed)
    assert newest[:2] + newest[3:4] == ["2019-10-17T09:00:00Z", "BTC-USD@1h", "8035.88"]
    assert after[:4] == ["2019-10-17T10:00:00Z", "BTC-USD@1h", "incomplete", "8040"]
    assert float(after[4]) == pytest.approx(8040, rel=0.05)
