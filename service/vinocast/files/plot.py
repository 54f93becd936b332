"""A picture of forecasts behind the end of their history: a page by plotly, or a PNG by matplotlib."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import SetupError, printable
from vinocast.extras import missing_extra
from vinocast.pictures import LINE, MOST_PANELS, OPACITY, PAST, Panel, pairs, to_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.data.tables.table import Table
    from vinocast.files.forecasts import ItemForecast

# Of the history, as many forecasts' lengths are drawn.
PAST_LENGTHS = 4
SUFFIXES = (".html", ".png")


def check(path: Path) -> None:
    """Raise SetupError where the picture could not be drawn: by its name, or as an extra is not installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise SetupError(f"--plot {path}: expected a name that ends with {' or '.join(SUFFIXES)}")
    try:
        if path.suffix.lower() == ".html":
            import plotly.graph_objects  # noqa: F401, PLC0415 - of an extra
        else:
            import matplotlib.figure  # noqa: F401, PLC0415 - of an extra
    except ModuleNotFoundError as error:
        raise missing_extra("plot", error) from error


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


def to_html(title: str, drawn: Sequence[Panel]) -> str:
    """Return a page that needs no network."""
    page: str = to_figure(title, drawn, together=False).to_html(include_plotlyjs=True)
    return page


def to_png(title: str, drawn: Sequence[Panel]) -> bytes:
    """Return a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - of an extra, and slow to import

    figure = Figure(figsize=(11, 1 + 2.4 * len(drawn)), layout="constrained")
    for axes, panel in zip(figure.subplots(len(drawn), squeeze=False)[:, 0], drawn, strict=True):
        axes.plot(panel.past_times, panel.past, color=PAST, linewidth=1)
        for _, (low, high) in panel.bands:
            axes.fill_between(panel.times, low, high, color=LINE, alpha=OPACITY, linewidth=0)
        axes.plot(panel.times, panel.points, color=LINE, linewidth=1.2)
        # Names may hold a dollar, which matplotlib would read as mathematics.
        axes.set_title(panel.title.replace("$", r"\$"), fontsize=9)
    figure.suptitle(title.replace("$", r"\$"), fontsize=10)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A name in letters that its font does not have is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
