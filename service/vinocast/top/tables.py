"""What is shown of two scrapes: tables of text, for a page and for the screen."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vinocast.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vinocast.top.scrapes import Labels, Scrape

__all__ = ["TITLES", "Table", "page", "quantile", "tables"]
NONE = "-"
SHARES = {"p50": 0.5, "p99": 0.99}
TIMES = {
    "total": "vinocast_request_seconds",
    "queue": "vinocast_queue_seconds",
    "inference": "vinocast_inference_seconds",
}
# What is held, by its metric and that of its limit.
HELD = {
    "series that wait": ("vinocast_queued_rows", "vinocast_queue_rows_limit"),
    "requests that wait": ("vinocast_queued_requests", ""),
    "bytes that wait": ("vinocast_waiting_bytes", "vinocast_waiting_bytes_limit"),
    "streams": ("vinocast_streams", ""),
    "connections": ("vinocast_connections", ""),
    "processes that are ready": ("vinocast_ready", ""),
}
TITLES = ("requests", "times in ms", "held", "models")


@dataclass(frozen=True)
class Table:
    """A title, and rows of as many cells as there are columns."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(before: Scrape, after: Scrape) -> list[Table]:
    """Return a table for each of TITLES; of a scrape and itself, those without rates and times."""
    seconds = after.moment - before.moment
    ended, grown = _totals(after.samples), _totals(_growth(before, after))
    requests = [
        (op or NONE, code or "answered", f"{grown[op, code] / seconds:.1f}" if seconds > 0 else NONE, f"{count:.0f}")
        for (op, code), count in sorted(ended.items())
    ]
    buckets = _buckets(_growth(before, after))
    times = [
        (
            op or NONE,
            *(
                _milliseconds(quantile(buckets[name, op], share))
                for name in TIMES.values()
                for share in SHARES.values()
            ),
        )
        for op in sorted({op for op, _ in ended})
    ]
    now = {name: value for (name, labels), value in after.samples.items() if not labels}
    held = [(what, _whole(now.get(name)), _whole(now.get(limit))) for what, (name, limit) in HELD.items()]
    states = [
        (dict(labels)["model"], dict(labels)["state"], f"{count:.0f}")
        for (name, labels), count in after.samples.items()
        if name == "vinocast_model_state" and count
    ]
    columns = ("op", *(f"{time} {share}" for time in TIMES for share in SHARES))
    shown: list[tuple[tuple[str, ...], Sequence[tuple[str, ...]]]] = [
        (("op", "code", "a second", "in all"), requests),
        (columns, times),
        (("what", "now", "limit"), held),
        (("model", "state", "processes"), sorted(states)),
    ]
    return [
        Table(title, head, [tuple(printable(cell) for cell in row) for row in rows])
        for title, (head, rows) in zip(TITLES, shown, strict=True)
    ]


def page(shown: list[Table]) -> str:
    """Return tables as lines, with the first column to the left and the others under their names."""
    return "\n\n".join("\n".join([table.title, *_lines(table)]) for table in shown)


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return a quantile of a histogram, as Prometheus reckons it: even within a bucket.

    Args:
        buckets: how many were at most as long, by that length, up to infinity.
        share: from 0 to 1.

    Returns:
        In seconds; infinity where it is beyond the last bucket, None where nothing was counted.
    """
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    rank = share * buckets[bounds[-1]]
    for low, high in itertools.pairwise([0.0, *bounds]):
        under = buckets.get(low, 0.0)
        if buckets[high] >= rank and buckets[high] > under:
            return math.inf if math.isinf(high) else low + (high - low) * (rank - under) / (buckets[high] - under)
    return math.inf


def _growth(before: Scrape, after: Scrape) -> dict[tuple[str, Labels], float]:
    """Return by how much each count has grown; of a service that was started anew between them, since its start."""
    counts = {key: value for key, value in after.samples.items() if key[0].endswith(("_total", "_bucket"))}
    old = {key: value for key, value in before.samples.items() if key[0].startswith("vinocast_requests_total")}
    anew = any(counts.get(key, 0.0) < value for key, value in old.items())
    return {key: value - (0.0 if anew else before.samples.get(key, 0.0)) for key, value in counts.items()}


def _totals(samples: Mapping[tuple[str, Labels], float]) -> defaultdict[tuple[str, str], float]:
    """Return how many requests have ended, by op and code."""
    found: defaultdict[tuple[str, str], float] = defaultdict(float)
    for labels, value in _named(samples, "vinocast_requests_total"):
        found[labels["op"], labels["code"]] += value
    return found


def _buckets(samples: Mapping[tuple[str, Labels], float]) -> defaultdict[tuple[str, str], defaultdict[float, float]]:
    """Return the buckets of each histogram by op, whatever their other labels."""
    found: defaultdict[tuple[str, str], defaultdict[float, float]] = defaultdict(lambda: defaultdict(float))
    for name in TIMES.values():
        for labels, value in _named(samples, f"{name}_bucket"):
            found[name, labels["op"]][float(labels["le"])] += value
    return found


def _named(samples: Mapping[tuple[str, Labels], float], name: str) -> Iterator[tuple[dict[str, str], float]]:
    return ((dict(labels), value) for (each, labels), value in samples.items() if each == name)


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    return "> 20000" if math.isinf(seconds) else f"{1e3 * seconds:.2f}"


def _whole(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _lines(table: Table) -> Iterator[str]:
    rows = [table.columns, *table.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.columns))]
    for row in rows:
        first, *others = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(["", first, *others])
