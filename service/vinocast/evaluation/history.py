"""A backtest of values that a caller in Python has, by whatever forecasts a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import InvalidRequestError, InvalidShapeError
from vinocast.evaluation.backtests import Backtest, Tested, score_windows, season_before
from vinocast.forecast.prepare import fill_gaps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from vinocast.results import Forecast


def backtest_values(
    forecast: Callable[[NDArray[np.float32]], Forecast],
    values: NDArray[np.float32],
    columns: Sequence[str],
    *,
    windows: int,
    steps: int,
    context: int,
    season: int | None,
    usual: Sequence[int],
    levels: Sequence[float],
    pad: bool,
) -> Backtest:
    """Forecast the last ``windows`` times ``steps`` rows, each window from what was before it, and score that.

    Args:
        forecast: of rows [context, columns], or fewer where there are no more, the next steps and quantiles of
            ``levels``, or none. It refuses what it does not take.
        values: [rows, columns], oldest row first; NaN are gaps.
        columns: their names.
        windows: how many, one forecast apart.
        steps: of a forecast.
        context: rows that the model reads.
        season: in steps; None to find it.
        usual: seasons to try first.
        levels: of the quantiles, ascending.
        pad: whether a window may have fewer rows than ``context``.

    Raises:
        InvalidRequestError: no window, or a season that a context has no room for.
        InvalidShapeError: fewer rows than the windows need.
    """
    if windows < 1:
        raise InvalidRequestError(f"windows: expected 1 at least, got {windows}", "windows")
    if season is not None and not 1 <= season < context:
        raise InvalidRequestError(f"season: expected 1 to {context - 1} steps, got {season}", "season")
    least = windows * steps + (1 if pad else context)
    if len(values) < least:
        raise InvalidShapeError(
            f"values: expected {least} rows at least, for {windows} windows of {steps} steps behind the "
            f"{1 if pad else context} that are read before; got {len(values)}",
            "values",
        )
    stops = [len(values) - steps * back for back in range(windows, 0, -1)]
    pasts = [values[max(0, stop - context) : stop] for stop in stops]
    made = [forecast(past) for past in pasts]
    histories = [past.copy() for past in pasts]
    for past in histories:
        fill_gaps(past, 1.0, "values")

    def by_column(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Return [columns, 1, windows, …] of what each window has as [steps, columns]."""
        return np.ascontiguousarray(np.moveaxis(np.array(arrays, np.float64), -1, 0)[:, None])

    history = by_column(
        [np.pad(past, ((context - len(past), 0), (0, 0)), constant_values=np.nan) for past in histories]
    )
    scored = Tested(
        by_column([values[stop : stop + steps] for stop in stops]),
        history,
        by_column([each.predictions for each in made]),
        np.stack([by_column([each.quantiles[level] for each in made]) for level in levels])
        if made[0].quantiles
        else None,
    )
    season = season or season_before(history, usual)
    deviations = np.nanstd(values[: stops[0]], axis=0, dtype=np.float64)
    return score_windows(made[0].model, scored, columns, deviations, season, levels)
