"""A model on a file's own past, beside forecasts that need none: whether it is to be trusted there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from vinocast.errors import SetupError, printable
from vinocast.evaluation.baselines import (
    drift,
    find_season,
    last_value,
    residual_quantiles,
    seasonal_naive,
    usual_seasons,
)
from vinocast.evaluation.scores import coverage, mae, mase, mse, weighted_quantile_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from vinocast.data.tables.table import Item
    from vinocast.files.forecasts import TableForecaster

    Baseline = Callable[[NDArray[np.float64], int], NDArray[np.float64]]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Of all series together: each takes 6 kB.
MOST_WINDOWS = 50_000
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
    """What a model and the baselines scored.

    Attributes:
        model: its name.
        windows: of each series.
        steps: of each window.
        series: how many.
        season: in steps, of the seasonal naive and of MASE; 1 where there is none.
        levels: of the quantiles; the widest two are those of the coverage.
        scores: by column, or ``all columns``, and by method: the model first. MSE and MAE of ``all columns`` are in
            units of each column's deviation before the first window.
    """

    model: str
    windows: int
    steps: int
    series: int
    season: int
    levels: Sequence[float]
    scores: dict[str, dict[str, Scores]]


def count_windows(forecaster: TableForecaster, item: Item, *, pad: bool) -> int:
    """Return how many windows, each one forecast before the next, an item holds."""
    return max(0, (len(item.lines) - (1 if pad else forecaster.context)) // forecaster.steps)


def run(
    forecaster: TableForecaster, windows: int, season: int | None, levels: Sequence[float], *, pad: bool
) -> Backtest:
    """Forecast the last ``windows`` times as many steps as a forecast has, and score that.

    Args:
        forecaster: whose wishes have the quantiles of ``levels``, where its model has any.
        windows: of each series.
        season: in steps; None to find it.
        levels: of the quantiles.
        pad: whether series may be shorter than the model's context.

    Raises:
        SetupError: a series that holds fewer windows; more windows than are kept; a season longer than a context.
    """
    table, steps = forecaster.table, forecaster.steps
    for item in table.items:
        if (held := count_windows(forecaster, item, pad=pad)) < windows:
            whose = "" if item.name is None else f"{table.item} '{printable(item.name)}': "
            raise SetupError(
                f"{table.source}: {whose}--backtest {windows}: its {len(item.lines)} steps hold {held} windows of "
                f"{steps} steps behind the {1 if pad else forecaster.context} that the model reads before"
            )
    if (total := windows * len(table.items) * len(table.columns)) > MOST_WINDOWS:
        raise SetupError(
            f"--backtest {windows}: {total} windows in all are more than {MOST_WINDOWS}: ask for fewer, or for fewer "
            "--columns"
        )
    if season is not None and season >= forecaster.context:
        raise SetupError(f"--season {season}: expected fewer steps than the {forecaster.context} that the model reads")
    stops = [
        (item, len(item.lines) - steps * back) for item in table.items for back in range(windows, 0, -1)
    ]  # each series' windows, oldest first
    made = list(forecaster.forecast(stops, "backtest"))
    count, columns = len(table.items), len(table.columns)

    def by_column(arrays: list[NDArray[Any]]) -> NDArray[np.float64]:
        """Return [columns, items, windows, …] of what each window has as [steps, columns]."""
        stacked = np.array(arrays, np.float64).reshape(count, windows, -1, columns)
        return np.ascontiguousarray(np.moveaxis(stacked, -1, 0))

    actual = by_column([item.values[stop : stop + steps] for item, stop in stops])
    history = by_column([forecast.window.values for forecast in made])
    points = by_column([forecast.points for forecast in made])
    quantiles = None
    if made[0].quantiles.size:
        quantiles = np.stack(
            [by_column([forecast.quantiles[place] for forecast in made]) for place in range(len(levels))]
        )
    if season is None:
        season = find_season(history[:, :, 0], () if table.counted else usual_seasons(table.frequency))
    baselines: dict[str, Baseline] = {"last value": last_value}
    if season > 1:
        baselines[f"seasonal naive ({season})"] = partial(seasonal_naive, season=season)
    baselines["drift"] = drift
    methods: dict[str, tuple[NDArray[np.float64], NDArray[np.float64] | None]] = {
        forecaster.name: (points, quantiles)
    } | {
        name: (baseline(history, steps), residual_quantiles(baseline, history, steps, levels, max(2, season)))
        for name, baseline in baselines.items()
    }

    def score(of: Any, unit: NDArray[np.float64] | float = 1.0) -> dict[str, Scores]:
        """Return the scores of some columns by method, in a unit for each."""
        scale = np.asarray(unit)
        return {
            name: _score(actual[of] / scale, points[of] / scale, quantiles, history[of] / scale, season, levels)
            for name, (points, all_quantiles) in methods.items()
            for quantiles in (None if all_quantiles is None else all_quantiles[:, of] / scale,)
        }

    scores: dict[str, dict[str, Scores]] = {}
    if columns > 1:
        before = np.concatenate([item.values[:stop] for item, stop in stops[::windows]])
        deviations = np.nanstd(before, axis=0)
        scores[ALL] = score(slice(None), np.where(deviations > 0, deviations, 1)[:, None, None, None])
    if columns <= MOST_LISTED:
        scores |= {column: score(place) for place, column in enumerate(table.columns)}
    return Backtest(forecaster.name, windows, steps, count * columns, season, levels, scores)


def _score(
    actual: NDArray[np.float64],
    points: NDArray[np.float64],
    quantiles: NDArray[np.float64] | None,
    history: NDArray[np.float64],
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


def to_json(backtest: Backtest) -> bytes:
    """Return one object, a line; what is no number is null."""
    return orjson.dumps(backtest, option=orjson.OPT_APPEND_NEWLINE)


def to_text(backtest: Backtest) -> str:
    """Return a table with a block for each column, and below it what its figures mean."""
    levels = backtest.levels
    covered = f"in {levels[0]:g}-{levels[-1]:g}" if len(levels) > 1 else "covered"
    lines = [
        f"{backtest.windows} windows of {backtest.steps} steps, of {backtest.series} series; "
        + (f"a season of {backtest.season} steps" if backtest.season > 1 else "no season found")
    ]
    width = max(len(method) for methods in backtest.scores.values() for method in methods) + 2
    for column, methods in backtest.scores.items():
        heads = ("MSE", "MAE", "MASE", "WQL", covered)
        lines += ["", printable(column), f"  {'':{width}}" + "".join(f"{head:>12}" for head in heads)]
        for method, scores in methods.items():
            figures = (scores.mse, scores.mae, scores.mase, scores.weighted_quantile_loss)
            shown = "".join(f"{'-' if np.isnan(figure) else f'{figure:.5g}':>12}" for figure in figures)
            share = "-" if np.isnan(scores.coverage) else f"{scores.coverage:.1%}"
            lines.append(f"  {method:{width}}{shown}{share:>12}")
    return "\n".join([*lines, "", *_legend(backtest)])


def _legend(backtest: Backtest) -> list[str]:
    lines = []
    if ALL in backtest.scores:
        lines.append("MSE, MAE of all columns: in units of each column's deviation before the first window.")
    lines += [
        "MASE: MAE over that of the seasonal naive within the history; below 1 is better than it.",
        "WQL: weighted quantile loss; a method without quantiles is scored by its points.",
    ]
    if len(backtest.levels) > 1:
        wanted = backtest.levels[-1] - backtest.levels[0]
        lines.append(f"The last column: how many values fell between those quantiles; {wanted:.0%} is right.")
    return lines
