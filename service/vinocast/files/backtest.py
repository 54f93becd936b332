"""``--backtest``: a model on a file's own past, beside forecasts that need none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from vinocast.errors import SetupError, printable
from vinocast.evaluation.backtests import Backtest, Tested, score_windows, season_before
from vinocast.evaluation.baselines import usual_seasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.tables.table import Item
    from vinocast.files.forecasts import TableForecaster

# Of all series together.
MOST_WINDOWS = 50_000
# That are read before all windows, and forecast in them at each level, of which each takes 45 to 66 bytes together with
# what it is compared with: 2 GB. Measured as the largest resident size of 300 to 7,200 windows, with 9 and 99 levels.
MOST_NUMBERS = 1 << 25


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
        SetupError: a series that holds fewer windows; more windows, or numbers in them, than are kept; a season longer
            than a context.
    """
    table, steps = forecaster.table, forecaster.steps
    for item in table.items:
        if (held := count_windows(forecaster, item, pad=pad)) < windows:
            whose = "" if item.name is None else f"{table.item} '{printable(item.name)}': "
            raise SetupError(
                f"{table.source}: {whose}--backtest {windows}: its {len(item.lines)} steps hold {held} windows of "
                f"{steps} steps behind the {1 if pad else forecaster.context} that the model reads before: ask for "
                f"fewer, or for a shorter --prediction-length{'' if pad else ', or say --short pad'}"
            )
    if (total := windows * len(table.items) * len(table.columns)) > MOST_WINDOWS:
        raise SetupError(
            f"--backtest {windows}: {total} windows in all are more than {MOST_WINDOWS}: ask for fewer, or for fewer "
            "--columns"
        )
    numbers = total * (forecaster.context + steps * len(levels))
    if numbers > MOST_NUMBERS:
        raise SetupError(
            f"--backtest {windows}: {total} windows in all, of {forecaster.context} steps that are read and {steps} "
            f"that are forecast at {len(levels)} levels, are {numbers} numbers, more than the {MOST_NUMBERS} that are "
            "kept: ask for fewer, or for fewer --columns or --quantiles"
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
    history = by_column([forecast.window.history for forecast in made])
    points = by_column([forecast.points for forecast in made])
    quantiles = None
    if made[0].quantiles.size:
        quantiles = np.stack(
            [by_column([forecast.quantiles[place] for forecast in made]) for place in range(len(levels))]
        )
    if season is None:
        season = season_before(history, () if table.counted else usual_seasons(table.frequency))
    before = np.concatenate([item.values[:stop] for item, stop in stops[::windows]])
    scored = Tested(actual, history, points, quantiles)
    return score_windows(forecaster.name, scored, table.columns, np.nanstd(before, axis=0), season, levels)


def to_json(backtest: Backtest) -> bytes:
    """Return one object, a line; what is no number is null."""
    return orjson.dumps(backtest, option=orjson.OPT_APPEND_NEWLINE)
