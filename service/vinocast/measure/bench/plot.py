"""The results as a page with charts. The charts' library comes inside the page, so it needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plotly.graph_objects import Bar, Figure

if TYPE_CHECKING:
    from vinocast.measure.bench.benchmark import BenchmarkResults
    from vinocast.measure.bench.figures import Row

# The value of each label, by the name of the bars.
Series = dict[str, dict[str, float]]

# Where each part of a request's time stands in a bar, first to last.
PARTS = {
    "wire": "wire_ms",
    "read+parse": "read_parse_ms",
    "queue": "queue_ms",
    "infer": "infer_ms",
    "encode+write": "encode_write_ms",
}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>vinocast bench</title>
<body style="font-family: sans-serif; max-width: 1100px; margin: auto">
<h1>vinocast bench</h1><p>{model}, profile {profile}, {cores} cores of {cpu}, Python {python}, OpenVINO {openvino}</p>
{charts}</body></html>
"""


def to_html(results: BenchmarkResults) -> str:
    """Return the page."""
    charts = [
        _bars("The model alone: infer() and the floor of its arithmetic, ms", _model(results)),
        _bars("Round trip of one client, ms", _round_trips(results)),
        _bars("Where a request's time goes, one client, ms", _parts(results), stacked=True),
        _bars("Requests per second by clients", _throughput(results)),
        _bars("Open loop by arrivals per second: latency from the scheduled arrival, ms", _open_loop(results)),
    ]
    html = "\n".join(chart.to_html(full_html=False, include_plotlyjs=index == 0) for index, chart in enumerate(charts))
    return PAGE.format(**results.machine, charts=html)


def _bars(title: str, series: Series, *, stacked: bool = False) -> Figure:
    """Draw one bar for each series at each label."""
    bars = [Bar(name=name, x=list(values), y=list(values.values())) for name, values in series.items()]
    return Figure(bars, {"title": title, "barmode": "stack" if stacked else "group"})


def _model(results: BenchmarkResults) -> Series:
    return {
        "floor": {raw.graph: raw.floor_ms for raw in results.raw},
        "p50": {raw.graph: raw.infer_ms["p50"] for raw in results.raw},
        "p99": {raw.graph: raw.infer_ms["p99"] for raw in results.raw},
    }


def _round_trips(results: BenchmarkResults) -> Series:
    rows = [row for row in results.loads if row.cell.clients == 1 and row.cell.form != "empty"]
    return {name: {_label(row): row.latency_ms[name] for row in rows} for name in ("p50", "p95", "p99")}


def _parts(results: BenchmarkResults) -> Series:
    return {
        name: {f"{s.transport} {s.form} {s.targets}": getattr(s, field) for s in results.split}
        for name, field in PARTS.items()
    }


def _throughput(results: BenchmarkResults) -> Series:
    series: Series = {}
    for row in results.loads:
        if row.cell.clients is not None and row.cell.form != "empty":
            series.setdefault(f"{row.cell.clients} clients", {})[_label(row)] = row.requests_per_second
    return series


def _open_loop(results: BenchmarkResults) -> Series:
    series: Series = {}
    for row in results.loads:
        if row.cell.rate is not None:
            for name in ("p50", "p99"):
                series.setdefault(f"{row.cell.rate:g}/s, {name}", {})[_label(row)] = row.latency_ms[name]
    return series


def _label(row: Row) -> str:
    return f"{row.cell.transport} {row.cell.form} {row.cell.targets}"
