"""A service and a doctor without TA-Lib: bars all the same, forecasts refused by a code, each line answered once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
from market_wire import NOON, STREAM, candles, match
from support import PATIENCE, ROOT, HttpService, StdioService, copy_model, error_of

# More than a stream keeps, by as many as it would hand to its indicators.
BARS = 1100
NEXT = NOON + BARS * 300
# Python takes a module that stands for None as one that is not installed.
PROGRAM = (
    sys.executable,
    "-c",
    "import sys; sys.modules['talib'] = None; from vinocast.cli import main; main(prog_name='vinocast')",
)
INSTALL = " -m pip install --editable "


def test_bars_are_made_and_each_forecast_is_refused_once_by_its_code() -> None:
    with StdioService(program=PROGRAM) as service:
        assert service.ask({"op": "ping"})["ready"]
        assert "TA-Lib is not installed" in service.log
        assert INSTALL in service.log
        rows = sorted(candles(BARS))
        for first in range(0, BARS, 100):
            reply = service.ask({"op": "history", "stream": STREAM, "candles": rows[first : first + 100]})
            assert reply["success"], reply
        assert error_of(service.ask({"stream": STREAM})) == ("not_found", "stream")
        messages = [match(number + 1, NEXT + 300 * number + 1, 65_000) for number in range(3)]
        fed = service.ask({"op": "feed", "request_id": 7, "messages": messages, "on_bar": True})
        closed = [each["bar"][0] for each in fed["closed"]]
        assert (fed["request_id"], closed) == (7, [NEXT - 300, NEXT, NEXT + 300])
        pushed = [service.receive() for _ in closed]
        assert [push["newest_timestamp_ms"] for push in pushed] == [1000 * start for start in closed]
        assert {(push["op"], push["error"]["code"], push["error"]["retryable"]) for push in pushed} == {
            ("forecast", "not_found", False)
        }
        assert len(service.ask({"op": "bars", "stream": STREAM})["bars"]) == 900 + 1  # and the open one
        dropped = service.ask({"op": "forget", "stream": STREAM})
        assert (dropped["rows"], dropped["newest_timestamp_ms"]) == (900, pushed[-1]["newest_timestamp_ms"])
        stats = service.ask({"op": "stats"})
        assert stats["failed"] == {"not_found": 1}, stats
        assert service.finish() == ([], 0)
        assert "Traceback" not in service.log


def test_over_http_it_is_the_same() -> None:
    with HttpService(program=PROGRAM) as service, httpx.Client(base_url=service.url) as client:
        assert "TA-Lib is not installed" in service.log
        assert client.post(f"/streams/{STREAM}/history", json={"candles": candles(600)}).status_code == 200
        answer = client.post("/forecast", json={"stream": STREAM})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert "vinocast doctor" in answer.json()["error"]["message"]
        assert str(ROOT) not in answer.text


def test_the_doctor_says_that_it_is_missing_and_how_to_install_it(tmp_path: Path) -> None:
    copy_model(tmp_path, "only")
    for program, state, code, said in (
        (PROGRAM, "FAIL", 1, INSTALL),
        ((sys.executable, "-m", "vinocast"), "ok", 0, "with TA-Lib 0."),
    ):
        command = [*program, "doctor", "--models", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE, cwd=ROOT)
        (line,) = [line for line in done.stdout.splitlines() if line[5:].startswith("market ")]
        assert (line[:4].strip(), done.returncode, said in line) == (state, code, True), line


def test_training_on_candles_says_it_before_it_begins() -> None:
    command = ["train", "forecast", "--features", "market", "--data", "examples/host.csv", "--output", "never"]
    done = subprocess.run(
        [*PROGRAM, *command], capture_output=True, text=True, check=False, timeout=2 * PATIENCE, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "TA-Lib cannot be imported" in done.stderr
    assert INSTALL in done.stderr
    assert "Traceback" not in done.stderr
