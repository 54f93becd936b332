"""The report as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from vinocast.measure.bench.report import table

from benchmarks.peers.figures import CLIENTS, Report


def to_text(report: Report) -> str:
    """Return the report as tables; times in milliseconds, CPU of a request too, memory in MB, start-up in seconds."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield "{model}, profile {profile}, on {cores} cores of {cpu}, load average {load_average}".format(**report.machine)
    yield f"Closed loop, {report.seconds:g} s of each load in {report.rounds} rounds of all servers"
    yield ""
    names = [f"{name}@{clients}" for clients in CLIENTS for name in ("p50", "p99", "requests/s", "CPU")]
    yield from table(
        ["server", "targets", *names, "failed", "RSS", "start-up", "difference"],
        (
            [
                *(row.title, row.targets),
                *(
                    figure
                    for load in row.loads.values()
                    for figure in (load.p50_ms, load.p99_ms, load.requests_per_second, load.cpu_ms)
                ),
                sum(load.failed for load in row.loads.values()),
                *(f"{row.rss_mb:.0f}", f"{row.start_up_seconds:.2f}", f"{row.difference:.0e}"),
            ]
            for row in report.rows
        ),
    )
    if report.bars:
        yield ""
        yield "vinocast serve against the best of the peers"
        yield from table(
            ["figure", "targets", "ours", "best peer", "", "ratio", "bar", "holds"],
            (
                [
                    *(bar.figure, bar.targets, bar.ours, bar.best, bar.peer, f"{bar.ratio:.2f}"),
                    *(f"at {'most' if bar.limit < 1 else 'least'} {bar.limit:g}", "yes" if bar.holds else "NO"),
                ]
                for bar in report.bars
            ),
        )
    for title, reason in report.failures.items():
        yield ""
        yield f"{title} is left out: {reason.strip()}"
