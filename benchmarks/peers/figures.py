"""What a run says: a row per server, and ours against the best of the peers. Times are milliseconds unless named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vinocast.measure.bench.figures import quantiles
from vinocast.measure.bench.requests import Transport

CLIENTS = (1, 4)


@dataclass
class Samples:
    """What a number of clients has had from a server: round trips of right answers, and how many were none."""

    latency_ms: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Load:
    """The figures of a closed loop of some clients; ``cpu_ms`` is the server's processor time of a request."""

    samples: int
    failed: int
    p50_ms: float
    p99_ms: float
    requests_per_second: float
    cpu_ms: float


@dataclass(frozen=True)
class Row:
    """The figures of a server.

    Attributes:
        title: its name.
        transport: that it is asked over.
        targets: forecasts in a reply.
        peer: whether it is one of the peers, not ours.
        loads: by the number of clients.
        rss_mb: resident memory after the loads, of all its processes, MB of 10^6 bytes.
        start_up_seconds: from spawn to first answer.
        difference: largest from our forecasts, in deviations of the channel's window.
    """

    title: str
    transport: Transport
    targets: int
    peer: bool
    loads: dict[int, Load]
    rss_mb: float
    start_up_seconds: float
    difference: float


@dataclass(frozen=True)
class Bar:
    """One figure of ours over HTTP against the best peer's.

    Attributes:
        figure: which.
        targets: of ours; a peer always computes all.
        ours: the figure.
        best: of the peers.
        peer: whose it is.
        ratio: ours over the best.
        limit: of the ratio: from above for a time, from below for a rate.
        holds: whether the ratio keeps it.
    """

    figure: str
    targets: int
    ours: float
    best: float
    peer: str
    ratio: float
    limit: float
    holds: bool


@dataclass(frozen=True)
class Report:
    """What a run found."""

    machine: dict[str, Any]
    seconds: float
    rounds: int
    rows: list[Row]
    bars: list[Bar]
    failures: dict[str, str]


def load(samples: Samples) -> Load:
    """Return the figures of some samples."""
    found, count = quantiles(samples.latency_ms), len(samples.latency_ms)
    rate = count / samples.seconds if samples.seconds else 0.0
    cpu = samples.cpu_seconds * 1e3 / (count + samples.failed) if count + samples.failed else 0.0
    return Load(count, samples.failed, found["p50"], found["p99"], round(rate, 1), round(cpu, 2))


def bars(rows: Sequence[Row]) -> list[Bar]:
    """Compare ours over HTTP, for all targets and for one, with the best peer of each figure; of no peers, nothing."""
    peers = [row for row in rows if row.peer]
    if not peers:
        return []
    quickest = min(peers, key=lambda row: row.loads[1].p50_ms)
    busiest = max(peers, key=lambda row: row.loads[4].requests_per_second)
    found = []
    for row in rows:
        if row.peer or row.transport != "http":
            continue
        times, rates = (0.3, 4.0) if row.targets == 1 else (0.65, 1.5)
        ours, best = row.loads[1].p50_ms, quickest.loads[1].p50_ms
        found.append(
            Bar(
                "p50 at 1 client, ms", row.targets, ours, best, quickest.title, ours / best, times, ours <= times * best
            )
        )
        ours, best = row.loads[4].requests_per_second, busiest.loads[4].requests_per_second
        found.append(
            Bar("requests/s at 4", row.targets, ours, best, busiest.title, ours / best, rates, ours >= rates * best)
        )
    return found
