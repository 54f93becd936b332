"""Forecasts beside what came: how far off they were, and a picture of both."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from vinocast.pictures import MOST_PANELS, Panel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vinocast.markets import Bar
    from vinocast.sources.pairing import Told

# Of each stream: forecasts that are scored, and drawn.
MOST_KEPT, MOST_DRAWN = 50_000, 2_000
# What a bar tells of the targets that a forecast may have.
OUTCOMES: Mapping[str, Callable[[Bar], float | None]] = {
    "close": lambda bar: bar.close,
    "high": lambda bar: bar.high,
    "low": lambda bar: bar.low,
    "volume": lambda bar: bar.volume,
    "log_volume": lambda bar: None if bar.volume is None else math.log1p(bar.volume),
}


@dataclass(frozen=True)
class Score:
    """How far off the forecasts of the next bar were, for one target of a stream.

    Attributes:
        stream: its name.
        target: the name of the channel.
        count: of the forecasts whose bar has come.
        error: mean absolute error.
        last: that of the last value, repeated.
        band: the outer levels that were asked for; empty for none.
        held: the share of the outcomes within their band.
    """

    stream: str
    target: str
    count: int
    error: float
    last: float
    band: tuple[float, ...]
    held: float | None


@dataclass(frozen=True)
class _Made:
    """A forecast of the next bar: where it was made, each target's value there, and its band."""

    bar: Bar
    points: Mapping[str, float]
    levels: tuple[float, ...]
    bands: Mapping[str, tuple[float, float]]


class Outcomes:
    """Keeps the newest forecasts of each stream, one bar ahead, and the bars."""

    def __init__(self, seconds: int) -> None:
        """Take the length of a bar."""
        self._seconds = seconds
        self._made: dict[str, deque[_Made]] = {}
        self._bars: dict[str, deque[Bar]] = {}

    def take(self, told: Told) -> None:
        """Keep a bar, and its forecast."""
        self._bars.setdefault(told.stream, deque(maxlen=MOST_KEPT)).append(told.bar)
        forecast = told.forecast
        if forecast is None or forecast.predictions.ndim != 2:
            return
        known = [(place, name) for place, name in enumerate(forecast.channels) if name in OUTCOMES]
        levels = tuple(forecast.quantiles)
        outer = [forecast.quantiles[level] for level in (levels[0], levels[-1])] if len(levels) > 1 else []
        self._made.setdefault(told.stream, deque(maxlen=MOST_KEPT)).append(
            _Made(
                told.bar,
                {name: float(forecast.predictions[0, place]) for place, name in known},
                (levels[0], levels[-1]) if outer else (),
                {name: (float(outer[0][0, place]), float(outer[1][0, place])) for place, name in known}
                if outer
                else {},
            )
        )

    def scores(self) -> list[Score]:
        """Return a score for each stream and each target whose outcomes are known."""
        found = []
        for stream, made in self._made.items():
            bars = {bar.start: bar for bar in self._bars[stream]}
            for target in made[-1].points:
                value = OUTCOMES[target]
                errors, lasts, held = [], [], []
                for each in made:
                    follows = bars.get(each.bar.start + self._seconds)
                    outcome, last = follows and value(follows), value(each.bar)
                    if outcome is None or last is None or target not in each.points:
                        continue
                    errors.append(abs(each.points[target] - outcome))
                    lasts.append(abs(last - outcome))
                    if target in each.bands:
                        low, high = each.bands[target]
                        held.append(low <= outcome <= high)
                if errors:
                    share = float(np.mean(held)) if held else None
                    mean, naive = float(np.mean(errors)), float(np.mean(lasts))
                    found.append(Score(stream, target, len(errors), mean, naive, made[-1].levels, share))
        return found

    def panels(self) -> list[Panel]:
        """Return a panel for each stream and target, the first of them: the bars, and the forecasts one bar before."""
        found: list[Panel] = []
        for stream, made in self._made.items():
            newest = list(made)[-MOST_DRAWN:]
            bars = [bar for bar in self._bars[stream] if bar.start >= newest[0].bar.start and bar.close is not None]
            for target in newest[-1].points:
                value = OUTCOMES[target]
                drawn = [each for each in newest if target in each.points]
                band = [each.bands[target] for each in drawn if target in each.bands]
                called = " to ".join(f"{level:g}" for level in newest[-1].levels)
                found.append(
                    Panel(
                        f"{stream} {target}",
                        [_moment(bar.start) for bar in bars],
                        np.array([value(bar) for bar in bars], np.float64),
                        [_moment(each.bar.start + self._seconds) for each in drawn],
                        np.array([each.points[target] for each in drawn], np.float32),
                        [(called, np.array(band, np.float32).T)] if band and len(band) == len(drawn) else [],
                    )
                )
        return found[:MOST_PANELS]


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
