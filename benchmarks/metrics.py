"""What metrics cost: of a request, and of a forecast while Prometheus asks for them, over HTTP.

    python -m benchmarks.metrics
    python -m benchmarks.metrics --seconds 10

The service holds 1,000 streams and has refused requests of several ops with many codes. Forecasts are asked alone and
beside twenty scrapes a second, in turns. In a process of its own, for one process and for several that count together,
it prints what it takes to count a request, and for how long at once a scrape with every op, code and protocol holds the
loop. Exits with 1 where the one is over 0.01 ms, or the other, or what scrapes add to the p99 of a forecast, over 2 ms.
"""

from __future__ import annotations

import itertools
import os
import select
import subprocess
import sys
import tempfile
import time

import click
import numpy as np
from vinocast.errors import RequestError
from vinocast.measure.bench.load import FIRST_ID, Body
from vinocast.measure.bench.processes import HttpService
from vinocast.measure.bench.requests import forecasts, random_windows, request
from vinocast.monitoring.ended import Ended, Origin
from vinocast.ops import OPS
from vinocast.settings import Settings

from benchmarks.beside import ask_beside, print_times

STREAMS = 1000
ROUNDS = 10
# Between two scrapes; Prometheus leaves 15 s.
PAUSE = 0.05
OTHERS = [("forecast", name) for name in ("kserve", "sagemaker", "open_inference", "grpc")]
OTHERS += [("glyphs", name) for name in ("open_inference", "grpc")]
MOST_MS, MOST_US = 2.0, 10.0
COUNTED = 100_000
SCRAPE = Body(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: ", b"\r\n\r\n")


@click.command(context_settings={"show_default": True})
@click.option("--seconds", type=click.FloatRange(1, 600), default=10.0, help="Time for each of the two loads.")
@click.option("--within", is_flag=True, hidden=True, help="Measure within this process, and print two figures.")
def main(seconds: float, within: bool) -> None:
    """Measure forecasts alone and beside scrapes, then what it takes to count."""
    if within:
        print(*measure_within())
        return
    bodies = itertools.cycle(forecasts("http", "json", random_windows(512, 7), None))
    alone: list[float] = []
    beside: list[float] = []
    pages: list[bytes] = []
    with HttpService(Settings()) as service:
        service.wait_until_quiet()
        fill(service)
        one, other = service.wires()[:2]
        for _ in range(ROUNDS):
            alone += ask_beside(one, other, bodies, None, seconds / ROUNDS)[0]
            one, other = service.wires()[:2]
            latencies, got = ask_beside(one, other, bodies, SCRAPE, seconds / ROUNDS, PAUSE)
            one, other = service.wires()[:2]
            beside += latencies
            pages += got
    p99 = print_times({"alone": alone, "beside scrapes": beside})
    print(f"{len(pages)} scrapes of {len(pages[-1])} bytes")
    added, right = p99["beside scrapes"] - p99["alone"], True
    print(f"{'counted by':24}{'us a request':>14}{'held ms':>9}")
    for name, shared in (("one process", False), ("one of several", True)):
        with tempfile.TemporaryDirectory() as folder:
            env = os.environ | ({"PROMETHEUS_MULTIPROC_DIR": folder} if shared else {})
            command = [sys.executable, "-m", "benchmarks.metrics", "--within"]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        microseconds, held = map(float, done.stdout.split())
        print(f"{name:24}{microseconds:>14.1f}{held:>9.2f}")
        right = right and microseconds <= MOST_US and held <= MOST_MS
    sys.exit(not (right and added <= MOST_MS))


def fill(service: HttpService) -> None:
    """Have a service keep streams, and count requests that are refused in many ways."""
    row = [[0.0] * 7]
    asked = [request("http", f"/streams/s{number}/observations", {"values": row}) for number in range(STREAMS)]
    wrong: list[dict[str, object]] = [{}, {"wrong": 1}, {"model": "none"}, {"stream": "none"}, {"values": [[1]]}]
    paths = ("/forecast", "/glyphs", "/feed", "/streams/s1/observations", "/invocations", "/v2/models/x/infer")
    asked += [request("http", path, fields) for path in paths for fields in wrong]
    wire = service.wires()[0]
    for number, body in enumerate(asked, FIRST_ID):
        wire.send(body, number)
        replies: list[bytes] = []
        while not replies:
            select.select([wire.read_fd], [], [], 60)
            replies = wire.receive()


def measure_within() -> tuple[float, float]:
    """Return microseconds to count a request, and milliseconds of the longest part of a page of all there can be."""
    from vinocast.monitoring.metrics import Metrics  # noqa: PLC0415 - it reads the environment when it is imported

    shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
    metrics = Metrics({}, {}, dict, dict, shared=shared)
    codes = [kind("") for kind in RequestError.__subclasses__()]
    for op, protocol in (*((name, "http") for name in OPS), *OTHERS):
        for error in (None, *codes):
            metrics(Ended(Origin(protocol, f"/{op}"), op, None, error, 0.001, "" if error else "some-model"))
    counted = Ended(Origin("http", "/forecast"), "forecast", None, None, 0.001, "some-model", 0.001, 0.0001)
    start = time.process_time()
    for _ in range(COUNTED):
        metrics(counted)
    microseconds = (time.process_time() - start) / COUNTED * 1e6
    held = []
    for _ in range(ROUNDS):
        pages, longest = metrics.pages(), 0.0
        page: bytes | None = b""
        while page is not None:
            # Of the processor: what else runs on this machine is no part of it.
            start = time.process_time()
            page = next(pages, None)
            longest = max(longest, time.process_time() - start)
        held.append(longest)
    return microseconds, float(np.median(held)) * 1e3


if __name__ == "__main__":
    main()
