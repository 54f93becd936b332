"""Forecasts beside their history: a page by plotly, or a PNG by matplotlib, alike wherever one is drawn."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import SetupError
from vinocast.extras import missing_extra

if TYPE_CHECKING:
    from pathlib import Path

    import plotly.graph_objects as go
    from numpy.typing import NDArray

MOST_PANELS = 24
LINE, PAST = "#1f77b4", "#6e6e6e"
BAND = "rgba(31, 119, 180, {opacity})"
# Of the bands, which lie upon one another.
OPACITY = 0.2
SUFFIXES = (".html", ".png")


@dataclass(frozen=True)
class Panel:
    """One series: its history and its forecast, each with times or numbers to stand at, and bands around the forecast.

    Attributes:
        title: what it is called.
        past_times: [rows], where the history stands.
        past: [rows]; of no row where there is no history.
        times: [steps], where the forecast stands.
        points: [steps].
        bands: what to call each, and its lower and its upper bound, [2, steps]; the widest first.
    """

    title: str
    past_times: Sequence[Any] | NDArray[Any]
    past: NDArray[np.float64]
    times: Sequence[Any] | NDArray[Any]
    points: NDArray[np.floating]
    bands: Sequence[tuple[str, NDArray[np.floating]]]


def pairs(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Return the places of ascending levels that are the edges of a band, the widest first."""
    return list(zip(range(len(levels) // 2), reversed(range(len(levels))), strict=False))


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


def to_figure(title: str, panels: Sequence[Panel], *, together: bool) -> go.Figure:
    """Return a figure with a panel below the other; ``together`` if all are of the same times.

    Raises:
        ModuleNotFoundError: plotly is not installed.
    """
    import plotly.graph_objects as go  # noqa: PLC0415 - of an extra, and slow to import
    from plotly.subplots import make_subplots  # noqa: PLC0415 - as above

    titles = [panel.title for panel in panels]
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=together, subplot_titles=titles)
    for row, panel in enumerate(panels, 1):
        place = {"row": row, "col": 1}
        if len(panel.past):
            history = go.Scatter(x=panel.past_times, y=panel.past, name="history", line_color=PAST)
            figure.add_trace(history, **place)
        for name, (low, high) in panel.bands:
            band = {"fill": "toself", "fillcolor": BAND.format(opacity=OPACITY), "line_width": 0, "mode": "lines"}
            around = np.concatenate((high, low[::-1]))
            figure.add_trace(
                go.Scatter(x=_there_and_back(panel.times), y=around, name=name, hoverinfo="skip", **band), **place
            )
        figure.add_trace(go.Scatter(x=panel.times, y=panel.points, name="forecast", line_color=LINE), **place)
    figure.update_layout(showlegend=False, title=title, height=140 + 220 * len(panels), template="plotly_white")
    return figure


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


def to_file(path: Path, title: str, drawn: Sequence[Panel]) -> bytes:
    """Return what a picture's file holds, in the format that its name ends with."""
    return to_html(title, drawn).encode() if path.suffix.lower() == ".html" else to_png(title, drawn)


def _there_and_back(times: Sequence[Any] | NDArray[Any]) -> Sequence[Any] | NDArray[Any]:
    return np.concatenate((times, times[::-1])) if isinstance(times, np.ndarray) else [*times, *times[::-1]]
