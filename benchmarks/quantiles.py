"""What the quantiles of a window add to a forecast over lines, as numbers and as base64.

    python -m benchmarks.quantiles

A service of its own answers the same window without quantiles and with nine, in turns of fifty. A time is a client's:
from the request that is written to the last byte of its reply. Exits with 1 where nine quantiles in base64 add more
than 0.15 ms to the median of a forecast without.
"""

from __future__ import annotations

import base64
import itertools
import sys
import time

import click
import numpy as np
from vinocast.measure.bench.processes import StdioService
from vinocast.measure.bench.requests import random_windows, request
from vinocast.settings import Settings

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
FORMS: dict[str, dict[str, object]] = {
    "numbers, points alone": {},
    "numbers, nine quantiles": {"quantile_levels": LEVELS},
    "base64, points alone": {"encoding_format": "base64"},
    "base64, nine quantiles": {"quantile_levels": LEVELS, "encoding_format": "base64"},
}
TURN = 50
MOST_ADDED_MS = 0.15


@click.command(context_settings={"show_default": True})
@click.option("--rounds", type=click.IntRange(1, 1000), default=16, help=f"Turns of {TURN} requests, of each form.")
def main(rounds: int) -> None:
    """Measure what quantiles add to a forecast over lines."""
    packed = [
        {"past_values_b64": base64.b64encode(each.tobytes()).decode(), "shape": each.shape}
        for each in random_windows(512, 7)
    ]
    bodies = {name: [request("stdio", "", {**each, **fields}) for each in packed] for name, fields in FORMS.items()}
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    with StdioService(Settings()) as service:
        client = service.client()
        for each in bodies.values():
            client.ask(each)
        service.wait_until_quiet()
        for _ in range(rounds):
            for name, each in bodies.items():
                for body in itertools.islice(itertools.cycle(each), TURN):
                    start = time.perf_counter()
                    (reply,) = client.ask([body])
                    times[name].append((time.perf_counter() - start) * 1e3)
                    if b'"success":true' not in reply:
                        raise SystemExit(f"not answered: {reply[:500]!r}")
    alone = float(np.median(times["numbers, points alone"]))
    added = {name: float(np.median(values)) - alone for name, values in times.items()}
    print(f"{'':26}{'median':>9}{'p99':>9}{'added':>9}   ms; {rounds * TURN} of each, in turns")
    for name, values in times.items():
        print(f"{name:26}{np.median(values):9.3f}{np.quantile(values, 0.99):9.3f}{added[name]:9.3f}")
    sys.exit(added["base64, nine quantiles"] > MOST_ADDED_MS)


if __name__ == "__main__":
    main()
