"""How long many series in one request take, and a forecast beside them, over HTTP.

    python -m benchmarks.series

Prints two things that are to hold, and exits with 1 when one does not. A request of 1,000 series of 512 points takes at
most 1.3 times what its parts take by themselves in this process, in turns: to parse it by orjson, to infer, to write
the reply by orjson. And the p99 of a forecast beside such requests, one after the other, is at most three times its p99
alone and one part of the series.
"""

from __future__ import annotations

import itertools
import sys
import time

import click
import numpy as np
import orjson
from vinocast.data.bundled import bundled_models
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.profiles import DEFAULT_PROFILE
from vinocast.engine.tuned import find_profile
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import find_forecaster
from vinocast.measure.bench.processes import HttpService
from vinocast.measure.bench.requests import forecasts, random_windows, request
from vinocast.settings import Settings

from benchmarks.beside import ask_beside, print_times

WITH_NUMPY = orjson.OPT_SERIALIZE_NUMPY


@click.command(context_settings={"show_default": True})
@click.option("--series", type=click.IntRange(1, 4096), default=1000, help="Series of a request.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=15, help="Requests, and parts by themselves.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=10.0, help="Time for forecasts, alone and beside.")
def main(series: int, rounds: int, seconds: float) -> None:
    """Measure many series in one request, then forecasts beside such requests."""
    compiler = Compiler(find_profile(DEFAULT_PROFILE), cpu_budget(), strict=False)
    engine = ForecastEngine(find_forecaster(None, bundled_models()))
    engine.load(compiler)
    engine.load_rest(compiler)
    context, channels = engine.manifest.context, len(engine.manifest.channels)
    (window,) = random_windows(context, series, 1)
    inputs = [{"item_id": index, "target": values} for index, values in enumerate(np.ascontiguousarray(window.T))]
    text = orjson.dumps({"inputs": inputs}, option=WITH_NUMPY)
    body = request("http", "/forecast", orjson.loads(text))
    bare: list[float] = []
    served: list[float] = []
    with HttpService(Settings()) as service:
        service.wait_until_quiet()
        client = service.client()
        for _ in range(rounds):
            start = time.perf_counter()
            parsed = orjson.loads(text)
            points, _ = engine.forecast(window, range(series))
            rows = np.ascontiguousarray(points.T)
            outputs = [{"item_id": index, "predictions": values} for index, values in enumerate(rows)]
            orjson.dumps({"outputs": outputs}, option=WITH_NUMPY)
            bare.append(time.perf_counter() - start)
            del parsed, outputs
            start = time.perf_counter()
            (reply,) = client.ask([body])
            served.append(time.perf_counter() - start)
            if len(orjson.loads(reply)["outputs"]) != series:
                raise SystemExit(f"not answered: {reply[:500]!r}")
        one, other = service.wires()[:2]
        bodies = itertools.cycle(forecasts("http", "json", random_windows(context, channels), None))
        alone, _ = ask_beside(one, other, bodies, None, seconds)
        beside, replies = ask_beside(one, other, bodies, body, seconds)
    ratio = float(np.median(served) / np.median(bare))
    print(f"{series} series, {len(text) / 1e6:.1f} MB: request {np.median(served) * 1e3:.1f} ms, bare "
          f"{np.median(bare) * 1e3:.1f} ms, ratio {ratio:.3f} (at most 1.3), median of {rounds}, in turns")  # fmt: skip
    p99 = print_times({"alone": alone, "beside series": beside})
    times = [orjson.loads(reply)["inference_time_ms"] for reply in replies]
    part = float(np.median(times)) / -(-series // engine.most_series) if times else float("nan")
    bound = 3 * p99["alone"] + part
    print(f"a part of {engine.most_series} series: {part:.2f} ms; {len(times)} requests of {series} series")
    print(f"bound, three times the p99 alone and a part: {bound:.2f} ms")
    sys.exit(not (ratio <= 1.3 and p99["beside series"] <= bound))


if __name__ == "__main__":
    main()
