"""The tables of a run, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.zeroshot.bars import Bar, geometric, part
from benchmarks.zeroshot.figures import BANDS, SHORT, TIMED, Measured, Times
from benchmarks.zeroshot.methods import Naive

STATED, ALL = "geometric mean of the sets of the bars", "geometric mean of all"


def to_markdown(measured: Sequence[Measured], model: str, times: Mapping[str, Times], to_hold: Sequence[Bar]) -> str:
    """Return what was measured: of ``model`` itself, all methods side by side, short series, times, and the bars."""
    return "\n\n".join(
        [_own(measured, model), *_beside(measured), _short(measured, model), times_to_markdown(times, to_hold)]
    )


def times_to_markdown(times: Mapping[str, Times], to_hold: Sequence[Bar]) -> str:
    """Return the times, and what is to hold."""
    return "\n\n".join([_times(times), _bars(to_hold)])


def _own(measured: Sequence[Measured], model: str) -> str:
    heads = ["data", "windows", "season", "MAE", "MASE", "WQL", "80 %", "80 % calibrated", "90 %", "90 % calibrated"]
    rows = []
    for each in measured:
        own = each.figures[model]
        covered = [shares[band] for band in BANDS for shares in (own.coverage, each.calibrated)]
        size = f"{each.windows} of {len(each.found.data.columns)}"
        rows.append(
            [each.found.data.name, size, str(each.found.data.season), *map(_number, (own.mae, own.mase, own.wql))]
            + [_percent(share) for share in covered]
        )
    return _table(
        f"{model}: errors in deviations of the training rows, and how many values the bands cover", heads, rows
    )


def _beside(measured: Sequence[Measured]) -> Iterable[str]:
    methods = [name for name in measured[0].figures if name != Naive.name]
    for title, figure in (("MAE of the 0.5 quantile", "mae"), ("Weighted quantile loss", "wql")):
        parts = [[part(each, name, figure) for name in methods] for each in measured]
        yield _table(
            f"{title}, over that of the seasonal naive",
            ["data", *methods],
            [
                *([each.found.data.name, *map(_number, row)] for each, row in zip(measured, parts, strict=True)),
                *_means(measured, parts),
            ],
        )


def _means(measured: Sequence[Measured], parts: Sequence[Sequence[float]]) -> Iterable[list[str]]:
    stated = [row for each, row in zip(measured, parts, strict=True) if each.found.stated]
    for title, rows in ((STATED, stated), (ALL, parts)):
        if rows and (title == STATED or len(rows) > len(stated)):
            yield [title, *map(_number, map(geometric, zip(*rows, strict=True)))]


def _short(measured: Sequence[Measured], model: str) -> str:
    parts = [[each.short[points] for points in SHORT] for each in measured]
    return _table(
        f"{model}, MAE with the newest points of a window alone, over that of the seasonal naive on the same points",
        ["data", *(f"{points} points" for points in SHORT)],
        [
            *([each.found.data.name, *map(_number, row)] for each, row in zip(measured, parts, strict=True)),
            *_means(measured, parts),
        ],
    )


def _times(times: Mapping[str, Times]) -> str:
    one, seven = TIMED
    return _table(
        "Milliseconds of a call from Python with all quantiles, and of the inference in it",
        ["", f"{one} series", f"{seven} series", "each of them", "infer(), 1", f"infer(), {seven}"],
        [
            [name, *map(_number, (each.call[one], each.call[seven], each.call[seven] / seven))]
            + [_number(each.inference[count]) for count in TIMED]
            for name, each in times.items()
        ],
    )


def _bars(to_hold: Sequence[Bar]) -> str:
    rows = [
        [bar.text, _number(bar.figure), f"{bar.least:g} to {bar.most:g}", "yes" if bar.holds else "NO"]
        for bar in to_hold
    ]
    return _table("What is to hold", ["", "is", "may be", "holds"], rows)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [title, "", f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f}"
