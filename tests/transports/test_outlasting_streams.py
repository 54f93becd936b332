"""Streams that outlast their service, by --state: however it ends, and whatever becomes of the folder."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import VINOCAST, HttpService, Reply, StdioService, packed, random_windows, wait_until

FORECAST = {"stream": "a"}


def fill(service: StdioService, name: str = "a", count: int = 512) -> Reply:
    window = random_windows(1)[0]
    return service.ask({"op": "observe", "stream": name, "values": window[:count].tolist()})


def predictions(service: StdioService) -> Any:
    return service.ask(FORECAST)["predictions"]


def snapshot_of(folder: Path) -> tuple[int, int]:
    """What is another whenever a snapshot has been written."""
    found = (folder / "streams").stat()
    return found.st_ino, found.st_mtime_ns


def wait_for_another(folder: Path) -> None:
    written = snapshot_of(folder)
    wait_until(lambda: snapshot_of(folder) != written, "another snapshot")


@pytest.mark.parametrize("end", ["end of input", "SIGTERM", "SIGINT"])
def test_a_stream_is_forecast_after_a_restart_as_before(tmp_path: Path, end: str) -> None:
    with StdioService("--state", tmp_path) as service:
        assert fill(service)["rows"] == 512
        before = predictions(service)
        if end == "end of input":
            assert service.finish() == ([], 0)
        else:
            service.signal(getattr(signal, end))
            assert service.wait() == 0
    with StdioService("--state", tmp_path) as service:
        assert predictions(service) == before
        assert service.ask({"op": "observe", "stream": "a", "values": [[1] * 7]})["rows"] == 512
        assert predictions(service) != before
        assert f"{tmp_path}/streams: 1 streams are as they were at 20" in service.log


def test_over_http_as_over_lines(tmp_path: Path) -> None:
    body = {"values": random_windows(1)[0].tolist()}
    with HttpService("--state", tmp_path) as service:
        assert httpx.post(f"{service.url}/streams/a/observations", json=body).json()["rows"] == 512
        before = httpx.post(f"{service.url}/forecast", json=FORECAST).json()["predictions"]
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    with HttpService("--state", tmp_path, "--state-seconds", "1") as service:
        assert httpx.post(f"{service.url}/forecast", json=FORECAST).json()["predictions"] == before
        wait_for_another(tmp_path)
        assert httpx.post(f"{service.url}/forecast", json=FORECAST).json()["predictions"] == before


def test_what_a_killed_service_has_kept_is_there(tmp_path: Path) -> None:
    with StdioService("--state", tmp_path, "--state-seconds", "1") as service:
        fill(service)
        before = predictions(service)
        wait_until((tmp_path / "streams").exists, "a snapshot")
        fill(service, "b", 3)
        wait_for_another(tmp_path)
        wait_for_another(tmp_path)  # as the first may have begun before
        service.signal(signal.SIGKILL)
        service.wait()
    with StdioService("--state", tmp_path) as service:
        assert predictions(service) == before
        assert service.ask({"op": "observe", "stream": "b", "values": [[1] * 7]})["rows"] == 4


@pytest.mark.slow
def test_a_service_whose_parent_dies_keeps_its_streams(tmp_path: Path) -> None:
    parent_code = """
import subprocess, sys, time
command = [sys.argv[1], "stdio", "--state", sys.argv[2]]
service = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sibling = subprocess.Popen(["sleep", "60"], pass_fds=[service.stdin.fileno()], stdout=subprocess.DEVNULL)
service.stdin.write(b'{"op": "observe", "stream": "a", "values": [[1, 2, 3, 4, 5, 6, 7]]}\\n')
service.stdin.flush()
service.stdout.readline()
print(sibling.pid, flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", parent_code, str(VINOCAST), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        sibling = int(parent.stdout.readline())
        parent.kill()
    try:
        wait_until((tmp_path / "streams").exists, "the streams are kept")
    finally:
        os.kill(sibling, signal.SIGKILL)
    with StdioService("--state", tmp_path) as service:
        assert service.ask({"op": "observe", "stream": "a", "values": [[1] * 7]})["rows"] == 2


def test_a_full_disk_costs_the_snapshot_and_no_answer(tmp_path: Path) -> None:
    with StdioService("--state", tmp_path) as service:
        fill(service, "b", 3)
        service.finish()
    kept = (tmp_path / "streams").read_bytes()

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    with StdioService("--state", tmp_path, "--state-seconds", "1", preexec_fn=fill_the_disk) as service:
        assert fill(service)["rows"] == 512
        wait_until(lambda: "the streams cannot be kept: File too large" in service.log, "a snapshot fails")
        assert len(predictions(service)) == 96
        assert service.finish() == ([], 0)
    assert (tmp_path / "streams").read_bytes() == kept
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lock", "streams"]


def test_a_folder_that_cannot_be_made_is_said_and_the_service_serves(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with StdioService("--state", tmp_path / "file" / "state", "--state-seconds", "1") as service:
        assert fill(service)["rows"] == 512
        assert len(predictions(service)) == 96
        assert service.finish() == ([], 0)
        assert service.log.count("no streams will be kept: Not a directory") == 1
        assert "Traceback" not in service.log


def test_two_services_do_not_share_a_folder(tmp_path: Path) -> None:
    with StdioService("--state", tmp_path) as first:
        fill(first)
        with StdioService("--state", tmp_path) as second:
            assert second.finish() == ([], 1)
            assert second.log.endswith(f"vinocast: --state {tmp_path}: another service keeps its streams there\n")
        assert len(predictions(first)) == 96


def test_several_workers_have_no_streams_to_keep(tmp_path: Path) -> None:
    command = [str(VINOCAST), "serve", "--port", "0", "--workers", "2", "--state", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == f"vinocast: --state {tmp_path}: no streams are kept where several workers share a port\n"


def test_forecasts_are_answered_while_a_snapshot_is_written(tmp_path: Path) -> None:
    window = random_windows(1)[0]
    with StdioService("--state", tmp_path, "--state-seconds", "1") as service:
        service.send(*({"op": "observe", "stream": f"{at}", "values": window.tolist()} for at in range(40)))
        assert all(service.receive()["success"] for _ in range(40))
        expected = service.ask(packed(window))["predictions"]
        first, limit = None, time.monotonic() + 10
        while first is None or snapshot_of(tmp_path) == first:
            assert time.monotonic() < limit
            assert service.ask(packed(window))["predictions"] == expected
            if first is None and (tmp_path / "streams").exists():
                first = snapshot_of(tmp_path)


def candles(first: int, count: int) -> list[list[float]]:
    chance = random.Random(first)
    closes = [100 + chance.random() for _ in range(count)]
    return [[300 * (first + at), close - 1, close + 1, close, close, 5 * close] for at, close in enumerate(closes)]


def trade(number: int, bar: int, price: float) -> Reply:
    moment = datetime.fromtimestamp(300 * bar + 1, UTC).isoformat()
    return {
        "type": "match", "trade_id": number, "price": f"{price}", "size": "1", "product_id": "A-USD", "side": "buy",
        "sequence": number, "time": moment,
    }  # fmt: skip


def test_a_market_stream_goes_on_where_it_was(tmp_path: Path) -> None:
    feeds = [
        {"op": "feed", "messages": [trade(at, 600 + at // 2, 100 + at) for at in range(first, first + 5)]}
        for first in (1, 6)
    ]
    asked = {"stream": "A-USD@5m", "missing": "interpolate"}, {"op": "bars", "stream": "A-USD@5m", "last": 900}

    def answers(service: StdioService) -> list[Any]:
        forecast, bars = (service.ask(each) for each in asked)
        return [forecast["predictions"], forecast["newest_timestamp_ms"], bars["bars"], bars["counts"]]

    with StdioService("--state", tmp_path) as service:
        service.ask({"op": "history", "stream": "A-USD@5m", "candles": candles(0, 600)})
        service.ask(feeds[0])
        halfway = answers(service)
        assert service.finish() == ([], 0)
    with StdioService() as service:
        service.ask({"op": "history", "stream": "A-USD@5m", "candles": candles(0, 600)})
        for each in feeds:
            whole_reply = service.ask(each)
        whole = answers(service)
    with StdioService("--state", tmp_path, "--state-seconds", "1") as service:
        assert answers(service) == halfway
        assert service.ask(feeds[1]) == whole_reply
        assert answers(service) == whole
        wait_for_another(tmp_path)
        wait_for_another(tmp_path)
        service.signal(signal.SIGKILL)
    with StdioService("--state", tmp_path, "--products", "B-USD") as service:
        assert service.ask(asked[1])["error"]["code"] == "unknown_stream"
        assert "1 market streams of before are dropped" in service.log
        service.signal(signal.SIGKILL)
    with StdioService("--state", tmp_path) as service:
        assert answers(service) == whole
