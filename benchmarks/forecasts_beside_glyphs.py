"""How long a forecast takes while batches of glyphs are recognized back to back, over HTTP.

    python -m benchmarks.forecasts_beside_glyphs

Prints the round trip of a forecast alone and beside the batches, and what a part of a batch takes, which is what a
forecast may have to wait for. Exits with 1 when the p99 beside the batches is over three times the p99 alone
and a part.
"""

from __future__ import annotations

import itertools
import select
import sys
import time

import click
import numpy as np
import orjson
from vinocast.glyphs.recognizer import MOST_GLYPHS
from vinocast.measure.bench.processes import HttpService
from vinocast.measure.bench.requests import forecasts, random_windows, request
from vinocast.settings import Settings

FIRST_ID = 10**9


@click.command(context_settings={"show_default": True})
@click.option("--grids", type=click.IntRange(1, 4096), default=1024, help="Grids of a batch.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=10.0, help="Time for each of the two loads.")
def main(grids: int, seconds: float) -> None:
    """Measure forecasts alone, then beside batches of glyphs."""
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 1024, (grids, 16, 16)) * (generator.random((grids, 16, 16)) < 0.4)
    batch = request("http", "/glyphs", {"grids": ids.tolist(), "topk": 1})
    bodies = itertools.cycle(forecasts("http", "json", random_windows(512, 7), None))
    numbers = itertools.count(FIRST_ID)
    times: dict[str, list[float]] = {"alone": [], "beside glyphs": []}
    parts: list[float] = []
    with HttpService(Settings()) as service:
        service.wait_until_quiet()
        one, other = service.wires()[:2]
        for name, latencies in times.items():
            if name != "alone":
                other.send(batch, next(numbers))
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                start = time.perf_counter()
                one.send(next(bodies), next(numbers))
                answered = False
                while not answered:
                    writing = [wire.write_fd for wire in (one, other) if wire.unsent]
                    reading, writable, _ = select.select([one.read_fd, other.read_fd], writing, [], 60)
                    for wire in (one, other):
                        if wire.write_fd in writable:
                            wire.flush()
                    if one.read_fd in reading and one.receive():
                        latencies.append(time.perf_counter() - start)
                        answered = True
                    if other.read_fd in reading:
                        for reply in other.receive():
                            parts.append(orjson.loads(reply)["inference_time_ms"] / -(-grids // MOST_GLYPHS))
                            other.send(batch, next(numbers))
    part = float(np.median(parts)) if parts else float("nan")
    print(f"{'a forecast':16}{'requests':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    p99 = {}
    for name, latencies in times.items():
        p50, p99[name] = np.quantile(latencies, (0.5, 0.99)) * 1e3
        print(f"{name:16}{len(latencies):>9}{p50:>9.2f}{p99[name]:>9.2f}{max(latencies) * 1e3:>9.2f}")
    bound = 3 * p99["alone"] + part
    print(f"a part of {MOST_GLYPHS} glyphs: {part:.2f} ms; {len(parts)} batches of {grids} grids")
    print(f"bound, three times the p99 alone and a part: {bound:.2f} ms")
    sys.exit(not p99["beside glyphs"] <= bound)


if __name__ == "__main__":
    main()
