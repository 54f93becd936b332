"""A picture of forecasts behind the end of their history: a page by plotly, or a PNG by matplotlib."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import SetupError, printable
from vinocast.extras import missing_extra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.data.tables.table import Table
    from vinocast.files.forecasts import ItemForecast

MOST_PANELS = 24
# Of the history, as many forecasts' lengths are drawn.
PAST_LENGTHS = 4
SUFFIXES = (".html", ".png")
LINE, PAST = "#1f77b4", "#6e6e6e"
OPACITY = 0.2


@dataclass(frozen=True)
class Panel:
    """One series: its history and its forecast, each with times as datetime64 or as numbers, and bands around it.

    Attributes:
        bands: the lower and the upper bound, float32 [2, steps] each, and what to call it; the widest first.
    """

    title: str
    past_times: NDArray[Any]
    past: NDArray[np.float64]
    times: NDArray[Any]
    points: NDArray[np.float32]
    bands: Sequence[tuple[str, NDArray[np.float32]]]


def check(path: Path) -> None:
    """Raise SetupError where the picture could not be drawn: by its name, or as an extra is not installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise SetupError(f"--plot {path}: expected a name that ends with {' or '.join(SUFFIXES)}")
    try:
        if path.suffix.lower() == ".html":
            import plotly.graph_objects  # noqa: F401, PLC0415 - of an extra
        else:
            import matplotlib.figure  # noqa: F401, PLC0415
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
            pairs = zip(range(len(levels) // 2), reversed(range(len(levels))), strict=False)
            found.append(
                Panel(
                    printable(", ".join([*whose, *([name] if len(table.columns) > 1 or not whose else [])])),
                    _places(table, table.times(item, start, stop - start)),
                    item.values[start:stop, column],
                    _places(table, table.times(item, stop, steps)),
                    forecast.points[:, column],
                    [
                        (f"{levels[low]:g} to {levels[high]:g}", forecast.quantiles[[low, high], :, column])
                        for low, high in pairs
                    ],
                )
            )
    return found


def _places(table: Table, times: NDArray[np.datetime64]) -> NDArray[Any]:
    return times.astype(np.int64) / table.form.epoch if table.counted else times


def to_html(title: str, drawn: Sequence[Panel]) -> str:
    """Return a page that needs no network."""
    import plotly.graph_objects as go  # noqa: PLC0415 - of an extra, and slow to import
    from plotly.subplots import make_subplots  # noqa: PLC0415

    figure = make_subplots(rows=len(drawn), cols=1, subplot_titles=[panel.title for panel in drawn])
    for row, panel in enumerate(drawn, 1):
        place = {"row": row, "col": 1}
        figure.add_trace(go.Scatter(x=panel.past_times, y=panel.past, name="history", line_color=PAST), **place)
        for name, (low, high) in panel.bands:
            edge = {"x": panel.times, "line_width": 0, "mode": "lines", "name": name, "hoverinfo": "skip"}
            figure.add_trace(go.Scatter(y=low, **edge), **place)
            figure.add_trace(
                go.Scatter(y=high, fill="tonexty", fillcolor=f"rgba(31, 119, 180, {OPACITY})", **edge), **place
            )
        figure.add_trace(go.Scatter(x=panel.times, y=panel.points, name="forecast", line_color=LINE), **place)
    figure.update_layout(showlegend=False, title=title, height=140 + 220 * len(drawn), template="plotly_white")
    page: str = figure.to_html(include_plotlyjs=True)
    return page


def to_png(title: str, drawn: Sequence[Panel]) -> bytes:
    """Return a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

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
