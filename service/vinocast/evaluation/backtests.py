"""A model on past values, beside forecasts that need none: whether it is to be trusted there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import printable
from vinocast.evaluation.baselines import drift, find_season, last_value, residual_quantiles, seasonal_naive
from vinocast.evaluation.comparison import LEAST_WINDOWS, SURE, Comparison, compare
from vinocast.evaluation.scores import coverage, mae, mase, mse, weighted_quantile_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Baseline = Callable[[Floats, int], Floats]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Of columns, each with scores of its own.
MOST_LISTED = 24
ALL = "all columns"


@dataclass(frozen=True)
class Scores:
    """Of one method on some series; see ``vinocast.evaluation.scores``. NaN where there was nothing to score."""

    mse: float
    mae: float
    mase: float
    weighted_quantile_loss: float
    coverage: float


@dataclass(frozen=True)
class Backtest:
    """What a model and the baselines scored on the same windows, and whether the model is the better one.

    As a text it is a table for a person.

    Attributes:
        model: its name.
        windows: of each series.
        steps: of each window.
        series: how many.
        season: in steps, of the seasonal naive and of MASE; 1 where there is none.
        levels: of the quantiles; the widest two are those of the coverage.
        scores: by column, or ``all columns``, and by method: the model first. MSE and MAE of ``all columns`` are in
            units of each column's deviation before the first window.
        comparisons: by column, or ``all columns``: the model with the last value and, where there is a season, with
            the seasonal naive, which comes last.
    """

    model: str
    windows: int
    steps: int
    series: int
    season: int
    levels: Sequence[float]
    scores: dict[str, dict[str, Scores]]
    comparisons: dict[str, list[Comparison]]

    @property
    def verdicts(self) -> list[str]:
        """Whether the model beats what needs none, on all columns together, a sentence each."""
        return [_sentence(self.model, each) for each in next(iter(self.comparisons.values()))]

    def __str__(self) -> str:
        """Return a table with a block for each column, and below it the verdicts and what the figures mean."""
        return "\n".join(_lines(self))


@dataclass(frozen=True)
class Tested:
    """What was forecast, and what came.

    Attributes:
        actual: [columns, items, windows, steps], each item's windows oldest first; NaN are gaps.
        history: [columns, items, windows, context], what was read before each, without gaps; NaN in front of a shorter
            one, as what a model is padded with would be scored otherwise.
        points: [columns, items, windows, steps], the model's.
        quantiles: [levels, columns, items, windows, steps]; None of a model that has none.
    """

    actual: Floats
    history: Floats
    points: Floats
    quantiles: Floats | None


def score_windows(
    model: str, windows: Tested, columns: Sequence[str], deviations: Floats, season: int, levels: Sequence[float]
) -> Backtest:
    """Score a model's forecasts, and those of baselines from the same histories.

    Args:
        model: its name.
        windows: what was forecast.
        columns: their names.
        deviations: [columns], the unit of each where all are scored together; 1 stands for 0.
        season: in steps, 1 where there is none.
        levels: of the quantiles.
    """
    actual, history = windows.actual, windows.history
    steps = actual.shape[-1]
    seasonal = f"seasonal naive ({season})"
    baselines: dict[str, Baseline] = {"last value": last_value}
    if season > 1:
        baselines[seasonal] = lambda past, steps: seasonal_naive(past, steps, min(season, past.shape[-1]))
    baselines["drift"] = drift
    methods: dict[str, tuple[Floats, Floats | None]] = {model: (windows.points, windows.quantiles)} | {
        name: _forecast(baseline, history, steps, levels, max(2, season)) for name, baseline in baselines.items()
    }

    def score(of: Any, unit: Floats | float = 1.0) -> dict[str, Scores]:
        """Return the scores of some columns by method, in a unit for each."""
        scale = np.asarray(unit)
        return {
            name: _score(actual[of] / scale, points[of] / scale, quantiles, history[of] / scale, season, levels)
            for name, (points, all_quantiles) in methods.items()
            for quantiles in (None if all_quantiles is None else all_quantiles[:, of] / scale,)
        }

    def compared(of: slice, unit: Floats | float = 1.0) -> list[Comparison]:
        own = _errors(actual[of], windows.points[of], unit)
        return [
            compare(name, own, _errors(actual[of], methods[name][0][of], unit))
            for name in ("last value", seasonal)
            if name in methods
        ]

    scores: dict[str, dict[str, Scores]] = {}
    comparisons: dict[str, list[Comparison]] = {}
    if len(columns) > 1:
        units = np.where(deviations > 0, deviations, 1)[:, None, None, None]
        scores[ALL], comparisons[ALL] = score(slice(None), units), compared(slice(None), units)
    if len(columns) <= MOST_LISTED:
        scores |= {column: score(place) for place, column in enumerate(columns)}
        comparisons |= {column: compared(slice(place, place + 1)) for place, column in enumerate(columns)}
    _, items, count = actual.shape[:3]
    return Backtest(model, count, steps, items * len(columns), season, levels, scores, comparisons)


def season_before(history: Floats, usual: Sequence[int]) -> int:
    """Return the season of what was read before the first windows, of the items of which most is known.

    Args:
        history: as :class:`Tested` has it.
        usual: seasons to try first.
    """
    first = history[:, :, 0]
    lengths = _lengths(first)
    return find_season(first[:, lengths == lengths.max(), -lengths.max() :], usual)


def _lengths(history: Floats) -> NDArray[np.int64]:
    """Return how many steps are known of each history [columns, …, context], which are the last ones: [...]."""
    lengths: NDArray[np.int64] = (~np.isnan(history[0])).sum(axis=-1)
    return lengths


def _forecast(
    baseline: Baseline, history: Floats, steps: int, levels: Sequence[float], least: int
) -> tuple[Floats, Floats]:
    """Return a baseline's points and quantiles, each of as much as is known before the window."""
    points = np.empty((*history.shape[:-1], steps))
    quantiles = np.empty((len(levels), *points.shape))
    lengths = _lengths(history)
    for length in np.unique(lengths).tolist():
        some = lengths == length
        past = history[:, some, -length:]
        points[:, some] = baseline(past, steps)
        quantiles[:, :, some] = residual_quantiles(baseline, past, steps, levels, least)
    return points, quantiles


def _errors(actual: Floats, points: Floats, unit: Floats | float) -> Floats:
    """Return the mean absolute error of each window [windows], of all columns and items together; NaN of gaps alone."""
    errors = np.abs(actual - points) / unit
    known = ~np.isnan(errors)
    counts = known.sum(axis=(0, 1, 3))
    sums = np.where(known, errors, 0).sum(axis=(0, 1, 3))
    means: Floats = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means


def _score(
    actual: Floats,
    points: Floats,
    quantiles: Floats | None,
    history: Floats,
    season: int,
    levels: Sequence[float],
) -> Scores:
    covered = float("nan")
    if quantiles is not None and len(levels) > 1:
        covered = coverage(actual, quantiles[0], quantiles[-1])
    # A forecast of points stands for all of its quantiles.
    stand_in = np.broadcast_to(points, (len(levels), *points.shape)) if quantiles is None else quantiles
    return Scores(
        mse(actual, points),
        mae(actual, points),
        mase(actual, points, history, season),
        weighted_quantile_loss(actual, stand_in, levels),
        covered,
    )


def _sentence(model: str, compared: Comparison) -> str:
    than = "the " + compared.than
    part = "" if np.isnan(compared.error_ratio) else f"its error is {compared.error_ratio:.3g} of that one's, and "
    if np.isnan(compared.confidence):
        return (
            f"Whether {model} beats {than} here cannot be told: {part}{compared.windows} windows are fewer than the "
            f"{LEAST_WINDOWS} that a test needs."
        )
    sure = f"{part}it is better with a confidence of {_percent(compared.confidence)}"
    if compared.verdict == "better":
        return f"{model} beats {than} here: {sure}."
    if compared.verdict == "worse":
        part = part.removesuffix("and ")
        return f"{model} is WORSE than {than} here: {part}with a confidence of {_percent(1 - compared.confidence)}."
    return (
        f"Whether {model} beats {than} here cannot be told from {compared.windows} windows: {sure}, and "
        f"{_percent(SURE)} are needed."
    )


def _percent(share: float) -> str:
    """Return a share that is rounded down, so that none which falls short looks like one that does not."""
    return f"{np.floor(min(share, 0.999) * 1000) / 10:.3g} %"


def _lines(backtest: Backtest) -> Iterator[str]:
    levels = backtest.levels
    covered = f"in {levels[0]:g}-{levels[-1]:g}" if len(levels) > 1 else "covered"
    yield f"{backtest.windows} windows of {backtest.steps} steps, of {backtest.series} series; " + (
        f"a season of {backtest.season} steps" if backtest.season > 1 else "no season found"
    )
    width = max(len(method) for methods in backtest.scores.values() for method in methods) + 2
    for column, methods in backtest.scores.items():
        heads = ("MSE", "MAE", "MASE", "WQL", covered)
        yield from ("", printable(column), f"  {'':{width}}" + "".join(f"{head:>12}" for head in heads))
        for method, scores in methods.items():
            figures = (scores.mse, scores.mae, scores.mase, scores.weighted_quantile_loss)
            shown = "".join(f"{'-' if np.isnan(figure) else f'{figure:.5g}':>12}" for figure in figures)
            share = "-" if np.isnan(scores.coverage) else f"{scores.coverage:.1%}"
            yield f"  {method:{width}}{shown}{share:>12}"
    yield from ("", *backtest.verdicts, *_by_column(backtest), "", *_legend(backtest))


def _by_column(backtest: Backtest) -> Iterator[str]:
    """Return how many columns the model is better on, where there are several."""
    columns = {column: each for column, each in backtest.comparisons.items() if column != ALL}
    if len(columns) < 2 or backtest.windows < LEAST_WINDOWS:
        return
    for place, than in enumerate(each.than for each in next(iter(columns.values()))):
        verdicts = {column: each[place].verdict for column, each in columns.items()}
        worse = [printable(column) for column, verdict in verdicts.items() if verdict == "worse"]
        named = f" ({', '.join(worse)})" if worse else ""
        better = sum(verdict == "better" for verdict in verdicts.values())
        yield f"By column, against the {than}: better on {better} of {len(columns)}, worse on {len(worse)}{named}."


def _legend(backtest: Backtest) -> Iterator[str]:
    if ALL in backtest.scores:
        yield "MSE, MAE of all columns: in units of each column's deviation before the first window."
    yield "MASE: MAE over that of the seasonal naive within the history; below 1 is better than it."
    yield "WQL: weighted quantile loss; a method without quantiles is scored by its points."
    if len(backtest.levels) > 1:
        wanted = backtest.levels[-1] - backtest.levels[0]
        yield f"The last column: how many values fell between those quantiles; {wanted:.0%} is right."
    yield "Confidence: of a Diebold-Mariano test on the absolute errors of the windows; docs/forecast-files.md."
