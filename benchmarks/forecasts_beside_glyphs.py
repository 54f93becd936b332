"""How long a forecast takes while batches of glyphs are recognized back to back, over HTTP.

    python -m benchmarks.forecasts_beside_glyphs

Prints the round trip of a forecast alone and beside the batches, and what a part of a batch takes, which is what a
forecast may have to wait for. Exits with 1 when the p99 beside the batches is over three times the p99 alone
and a part.
"""

from __future__ import annotations

import itertools
import sys

import click
import numpy as np
import orjson
from vinocast.glyphs.recognizer import MOST_GLYPHS
from vinocast.measure.bench.processes import HttpService
from vinocast.measure.bench.requests import forecasts, random_windows, request
from vinocast.settings import Settings

from benchmarks.beside import ask_beside, print_times


@click.command(context_settings={"show_default": True})
@click.option("--grids", type=click.IntRange(1, 4096), default=1024, help="Grids of a batch.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=10.0, help="Time for each of the two loads.")
def main(grids: int, seconds: float) -> None:
    """Measure forecasts alone, then beside batches of glyphs."""
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 1024, (grids, 16, 16)) * (generator.random((grids, 16, 16)) < 0.4)
    batch = request("http", "/glyphs", {"grids": ids.tolist(), "topk": 1})
    bodies = itertools.cycle(forecasts("http", "json", random_windows(512, 7), None))
    with HttpService(Settings()) as service:
        service.wait_until_quiet()
        one, other = service.wires()[:2]
        alone, _ = ask_beside(one, other, bodies, None, seconds)
        beside, replies = ask_beside(one, other, bodies, batch, seconds)
    parts = [orjson.loads(reply)["inference_time_ms"] / -(-grids // MOST_GLYPHS) for reply in replies]
    part = float(np.median(parts)) if parts else float("nan")
    p99 = print_times({"alone": alone, "beside glyphs": beside})
    bound = 3 * p99["alone"] + part
    print(f"a part of {MOST_GLYPHS} glyphs: {part:.2f} ms; {len(parts)} batches of {grids} grids")
    print(f"bound, three times the p99 alone and a part: {bound:.2f} ms")
    sys.exit(not p99["beside glyphs"] <= bound)


if __name__ == "__main__":
    main()
