"""Forecasts behind the end of their history as a figure of plotly, alike wherever one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from numpy.typing import NDArray

MOST_PANELS = 24
LINE, PAST = "#1f77b4", "#6e6e6e"
BAND = "rgba(31, 119, 180, {opacity})"
# Of the bands, which lie upon one another.
OPACITY = 0.2


@dataclass(frozen=True)
class Panel:
    """One series: its history and its forecast, each with times or numbers to stand at, and bands around the forecast.

    Attributes:
        title: what it is called.
        past_times: [rows], where the history stands.
        past: [rows]; of no row where there is no history.
        times: [steps], where the forecast stands.
        points: float32 [steps].
        bands: what to call each, and its lower and its upper bound, float32 [2, steps]; the widest first.
    """

    title: str
    past_times: Sequence[Any] | NDArray[Any]
    past: NDArray[np.float64]
    times: Sequence[Any] | NDArray[Any]
    points: NDArray[np.float32]
    bands: Sequence[tuple[str, NDArray[np.float32]]]


def pairs(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Return the places of ascending levels that are the edges of a band, the widest first."""
    return list(zip(range(len(levels) // 2), reversed(range(len(levels))), strict=False))


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


def _there_and_back(times: Sequence[Any] | NDArray[Any]) -> Sequence[Any] | NDArray[Any]:
    return np.concatenate((times, times[::-1])) if isinstance(times, np.ndarray) else [*times, *times[::-1]]
