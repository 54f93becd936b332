"""The results as a table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from vinocast.measure.tune.variants import GATE, TIE, WORTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vinocast.measure.tune.tuning import Tuned, TuningResults
    from vinocast.measure.tune.variants import Row

HEADINGS = ("cap", "weights", "rest", "threads", "pinned", "p50", "p99", "p50", "p99", "faster", "MSE", "worst", "")
RULE = (
    f"Rule: the smallest p50 of a whole window among those whose MSE is within {GATE:.1%} of f32; what is within "
    f"{TIE:.0%} of it\nis as fast, and the smallest p99 decides. Other numbers than those of f32 must be faster by "
    f"{WORTH:.0%}."
)
# Load average of a machine that does something else as well.
BUSY = 0.7
LEGEND = (
    "Milliseconds of infer(). faster: than the default profile, by p50 of a whole window. MSE: change against f32 over "
    "windows held back;\nworst: largest difference from f32's forecasts, in deviations of a channel."
)


def to_text(results: TuningResults) -> str:
    """Return the tables of all models, the rule, and what was written."""
    lines = [line for model in results.models for line in _model(model)]
    speed = ", ".join(
        f"{model.name} {model.default.window.p50 / model.chosen.window.p50:.2f} times as fast"
        for model in results.models
    )
    lines += [LEGEND, RULE, "", *(f"Left out: {reason}" for reason in results.left_out)]
    if results.load_average > BUSY:
        lines.append(
            f"The load average was {results.load_average:.1f} before the start: others were at work, and these figures "
            "are theirs too. Tune again when they are not."
        )
    lines.append(f"Cap for all models: {results.isa_cap or 'none'}. Against the default profile: {speed}.")
    if isinstance(results.path, Path):
        lines.append(f"Written to {results.path}; use it with --profile tuned.")
    return "\n".join(lines)


def _model(model: Tuned) -> Iterator[str]:
    measured = model.measured
    channels = len(measured.folder.manifest.channels)
    yield f"{model.name}: {channels} series, then 1 series; checked with {measured.series.path}"
    if measured.note:
        yield measured.note
    table = [HEADINGS, *(_cells(model, row) for row in sorted(measured.rows, key=_order))]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""


def _order(row: Row) -> tuple[bool, float]:
    """The fastest first; what was not measured, of NaN, last."""
    return math.isnan(row.window.p50), row.window.p50


def _cells(model: Tuned, row: Row) -> tuple[str, ...]:
    variant = row.variant
    weights = "int8" if variant.int8 else model.measured.folder.manifest.precision
    times = (row.window.p50, row.window.p99, row.single.p50, row.single.p99)
    remarks = [
        text
        for text, applies in (
            ("chosen", row is model.chosen),
            ("the default", row is model.default),
            (f"dropped: {row.problem}", row.problem),
        )
        if applies
    ]
    return (
        variant.isa_cap or "none",
        weights,
        variant.precision,
        str(variant.threads),
        "yes" if variant.pinned else "no",
        *(f"{time:.3f}" for time in times),
        f"{model.default.window.p50 / row.window.p50:.2f}",
        f"{row.mse_change:+.2%}",
        f"{row.worst:.3f}",
        ", ".join(remarks),
    )
