"""What is drawn of a table: the end of each history, and the forecast behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import printable
from vinocast.pictures import MOST_PANELS, Panel, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.tables.table import Table
    from vinocast.files.forecasts import ItemForecast

# Of the history, as many forecasts' lengths are drawn.
PAST_LENGTHS = 4


def panels(table: Table, levels: Sequence[float], forecasts: Sequence[ItemForecast]) -> list[Panel]:
    """Return a panel for each of the first series."""
    found: list[Panel] = []
    for forecast in forecasts:
        item, stop, steps = forecast.window.item, forecast.window.stop, len(forecast.points)
        start = max(0, stop - PAST_LENGTHS * steps)
        for column, name in enumerate(table.columns):
            if len(found) == MOST_PANELS:
                return found
            whose = [] if item.name is None else [item.name]
            found.append(
                Panel(
                    printable(", ".join([*whose, *([name] if len(table.columns) > 1 or not whose else [])])),
                    _places(table, table.times(item, start, stop - start)),
                    item.values[start:stop, column],
                    _places(table, table.times(item, stop, steps)),
                    forecast.points[:, column],
                    [
                        (f"{levels[low]:g} to {levels[high]:g}", forecast.quantiles[[low, high], :, column])
                        for low, high in pairs(levels)
                    ],
                )
            )
    return found


def _places(table: Table, times: NDArray[np.datetime64]) -> NDArray[Any]:
    return times.astype(np.int64) / table.form.epoch if table.counted else times
