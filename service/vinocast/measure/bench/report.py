"""The results as text for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import orjson

from vinocast.measure.bench.figures import QUANTILES

if TYPE_CHECKING:
    from vinocast.measure.bench.benchmark import BenchmarkResults
    from vinocast.measure.bench.figures import Row


def to_json(results: BenchmarkResults) -> bytes:
    """Return the results as one JSON object, indented."""
    return orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def to_text(results: BenchmarkResults) -> str:
    """Return the results as tables; times in milliseconds."""
    return "\n".join(_lines(results))


def _lines(results: BenchmarkResults) -> Iterator[str]:
    machine, names = results.machine, list(QUANTILES)
    yield "{model}, profile {profile}, on {cores} cores of {cpu}, load average {load_average}".format(**machine)
    yield "Python {python}, OpenVINO {openvino}, Vinocast {vinocast}".format(**machine)
    yield "In force: " + ", ".join(f"{name} {value}" for name, value in machine["in_force"].items())
    yield ""
    yield f"The model alone; a matrix product reaches {results.matmul_gflops:.0f} GFLOP/s"
    yield from table(
        ["graph", "samples", *names, "MMAC", "floor", "floor/p50"],
        ([r.graph, r.samples, *r.infer_ms.values(), r.multiply_adds / 1e6, r.floor_ms, r.share] for r in results.raw),
    )
    yield ""
    yield "Closed loop: each client sends its next request when it has the reply to the last"
    yield from _loads(results, "clients", lambda row: row.cell.clients, "overhead", lambda row: row.overhead_ms)
    yield ""
    yield "Open loop: arrivals at a fixed rate, latency from the scheduled arrival"
    yield from _loads(results, "rate", lambda row: row.cell.rate, "late", lambda row: row.late_ms)
    yield ""
    yield "Where a request's time goes, one client, medians"
    yield from table(
        ["transport", "form", "targets", "wire", "read+parse", "queue", "infer", "encode+write"],
        (
            [s.transport, s.form, s.targets, s.wire_ms, s.read_parse_ms, s.queue_ms, s.infer_ms, s.encode_write_ms]
            for s in results.split
        ),
    )
    yield ""
    yield from table(["start-up", "seconds"], (list(item) for item in results.start_up_seconds.items()))
    yield ""
    yield from table(
        ["resident memory, MB", "start", "end"],
        ([name, memory["start"], memory["end"]] for name, memory in results.memory_mb.items()),
    )


def _loads(
    results: BenchmarkResults,
    variable: str,
    value: Callable[[Row], float | None],
    more: str,
    figure: Callable[[Row], float | None],
) -> Iterator[str]:
    """Yield the table of the loads that have a value of the variable, with one more figure."""
    yield from table(
        ["transport", "form", "targets", variable, "samples", *QUANTILES, "requests/s", more, "failed", "missed"],
        (
            [
                *(row.cell.transport, row.cell.form, row.cell.targets, value(row), row.samples),
                *(*row.latency_ms.values(), row.requests_per_second),
                *("" if figure(row) is None else figure(row), row.failed, row.missed),
            ]
            for row in results.loads
            if value(row) is not None
        ),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield lines of columns, text to the left and numbers to the right."""
    rows = [list(row) for row in rows]
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    text = [all(isinstance(row[i], str) and row[i] for row in rows) for i in range(len(head))]
    for line in cells:
        yield "  ".join(
            value.ljust(width) if left else value.rjust(width)
            for value, width, left in zip(line, widths, text, strict=True)
        ).rstrip()


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1f}" if value >= 100 else f"{value:.3f}"
