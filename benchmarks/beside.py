"""Forecasts of one client while long requests of another follow each other."""

from __future__ import annotations

import itertools
import select
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vinocast.measure.bench.load import Body, Wire

FIRST_ID = 10**9


def ask_beside(
    one: Wire, other: Wire, bodies: Iterator[Body], long: Body | None, seconds: float, pause: float = 0.0
) -> tuple[list[float], list[bytes]]:
    """Ask over one wire for so long while ``long`` is asked over the other, again a pause after it is answered.

    Returns the seconds of each round trip of the one, and the replies to the other.
    """
    numbers = itertools.count(FIRST_ID)
    latencies: list[float] = []
    replies: list[bytes] = []
    due: float | None = time.perf_counter()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        one.send(next(bodies), next(numbers))
        answered = False
        while not answered:
            if long is not None and due is not None and time.perf_counter() >= due:
                other.send(long, next(numbers))
                due = None
            writing = [wire.write_fd for wire in (one, other) if wire.unsent]
            reading, writable, _ = select.select([one.read_fd, other.read_fd], writing, [], 60)
            for wire in (one, other):
                if wire.write_fd in writable:
                    wire.flush()
            if one.read_fd in reading and one.receive():
                latencies.append(time.perf_counter() - start)
                answered = True
            if other.read_fd in reading and long is not None:
                for reply in other.receive():
                    replies.append(reply)
                    due = time.perf_counter() + pause
    return latencies, replies


def print_times(times: dict[str, list[float]]) -> dict[str, float]:
    """Print a line for each list of seconds, and return the p99 of each in milliseconds."""
    print(f"{'a forecast':16}{'requests':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    p99 = {}
    for name, latencies in times.items():
        p50, p99[name] = np.quantile(latencies, (0.5, 0.99)) * 1e3
        print(f"{name:16}{len(latencies):>9}{p50:>9.2f}{p99[name]:>9.2f}{max(latencies) * 1e3:>9.2f}")
    return p99
