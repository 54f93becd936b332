"""One process with all cores against several with a share each: requests per second over HTTP, measured in turns.

    python -m benchmarks.workers
    python -m benchmarks.workers --workers 4 --seconds 10

Client and services run on the same cores, and only one service at a time has anything to do. A first round of all loads
does not count: the services are still compiling.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack

import click
from vinocast.data.bundled import BUNDLED_FORECASTER, bundled_models
from vinocast.forecast.manifest import open_forecaster
from vinocast.measure.bench.figures import Cell, Samples, figures
from vinocast.measure.bench.load import ClosedLoop
from vinocast.measure.bench.processes import HttpService
from vinocast.measure.bench.requests import forecasts, random_windows
from vinocast.measure.children import sharpen_timers
from vinocast.settings import Settings

CLIENTS = (1, 4, 16)
ROUNDS = 10
SETTLE = 16


@click.command(context_settings={"show_default": True})
@click.option("--workers", type=click.IntRange(2), default=2, help="Of the service that is compared with one process.")
@click.option("--seconds", type=click.FloatRange(0, 60, min_open=True), default=4.0, help="For each line of the table.")
def main(workers: int, seconds: float) -> None:
    """Print, for base64 windows, latency and throughput of both."""
    sharpen_timers()
    manifest = open_forecaster(bundled_models() / BUNDLED_FORECASTER).manifest
    channels = len(manifest.channels)
    windows = random_windows(manifest.context, channels)
    counts = (1, workers)
    loads = list(itertools.product((channels, 1), CLIENTS, counts))
    samples = {load: Samples() for load in loads}
    with ExitStack() as stack:
        services = {count: stack.enter_context(HttpService(Settings(), "--workers", str(count))) for count in counts}
        for counted in (False, *[True] * ROUNDS):
            for targets, clients, count in loads:
                wanted = None if targets == channels else [channels - 1]
                bodies = itertools.cycle(forecasts("http", "base64", windows, wanted))
                client = services[count].client()
                client.drive(ClosedLoop(most=SETTLE), bodies, clients)
                part = client.drive(ClosedLoop(seconds / ROUNDS), bodies, clients)
                if counted:
                    samples[targets, clients, count].add(part)
    print(f"{'targets':>8}{'clients':>8}{'workers':>8}{'p50':>8}{'p99':>8}  ms{'requests/s':>12}{'ratio':>7}")
    for targets, clients, count in loads:
        rate = {
            each: figures(Cell("http", "base64", targets, clients), samples[targets, clients, each]) for each in counts
        }
        row = rate[count]
        ratio = row.requests_per_second / rate[1].requests_per_second
        print(
            f"{targets:8}{clients:8}{count:8}{row.latency_ms['p50']:8.2f}{row.latency_ms['p99']:8.2f}    "
            f"{row.requests_per_second:12.0f}{ratio:7.2f}"
        )


if __name__ == "__main__":
    main()
