"""Forecasts of all series of a table, by the rules of the service."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from vinocast.data.bundled import BUNDLED_GENERAL, bundled_models
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.tuned import find_profile
from vinocast.errors import RequestError, SetupError, printable, shown
from vinocast.forecast.computation import Computation
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import check_columns, find_forecaster
from vinocast.forecast.prepare import fill_gaps, pad_front
from vinocast.forecast.quantiles import deviations
from vinocast.forecast.units import as_they_are, find_units, follows_units
from vinocast.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.data.tables.table import Item, Table
    from vinocast.forecast.units import Units

# Series that are made ready, and forecast, before the next: more would only take memory.
SERIES_TOGETHER = 1024


@dataclass(frozen=True)
class Wishes:
    """How series are to be forecast.

    Attributes:
        steps: how many; None for the model's horizon.
        levels: of the quantiles, ascending.
        missing: what becomes of gaps.
        most_missing: the share of a series that may be filled.
        short: what becomes of fewer steps than the model's context.
        rollout: whether steps beyond the horizon are made by feeding forecasts back.
    """

    steps: int | None = None
    levels: tuple[float, ...] = ()
    missing: Literal["refuse", "interpolate"] = "refuse"
    most_missing: float = 0.3
    short: Literal["refuse", "pad"] = "refuse"
    rollout: bool = False


@dataclass(frozen=True)
class Window:
    """The steps of an item that a model reads.

    Attributes:
        item: the item.
        stop: the step of the item that follows.
        values: float32 [context, columns], in ``units``.
        units: of the columns.
        filled: how many values were interpolated.
        padded: how many steps were made up in front.
    """

    item: Item
    stop: int
    values: NDArray[np.float32]
    units: Units
    filled: int
    padded: int

    @property
    def history(self) -> NDArray[np.float64]:
        """What is known of what is read, float64 [context, columns], in the units of the table; NaN before it."""
        read = self.values * self.units.scales + self.units.offsets
        read[: self.padded] = np.nan
        return read


@dataclass(frozen=True)
class ItemForecast:
    """What follows a window: points [steps, columns] and quantiles [levels, steps, columns].

    They are float32, and float64 where a column's unit has an offset.
    """

    window: Window
    points: NDArray[np.floating]
    quantiles: NDArray[np.floating]


def load_forecaster(models: Path | None, name: str | None, profile: str, *, strict: bool = False) -> ForecastEngine:
    """Load a model as ``serve`` would choose it for any series, for one shape alone, which starts sooner.

    Without ``models``, ``name`` may be any model's folder.

    Raises:
        SetupError: there is no such model, the choice is not clear, or it is damaged.
    """
    if models is None:
        folder = find_forecaster(name or BUNDLED_GENERAL, bundled_models())
    else:
        from vinocast.engine.repository import Repository  # noqa: PLC0415 - what most do without
        from vinocast.forecast.kind import FORECASTER  # noqa: PLC0415 - as above
        from vinocast.kinds import KINDS  # noqa: PLC0415 - as above

        try:
            folder = Repository(models, name, KINDS).find(FORECASTER, None, general=True).folder
        except RequestError as error:
            raise SetupError(f"{models}: {error.message}") from None
    engine = ForecastEngine(folder)
    engine.load(Compiler(find_profile(profile), cpu_budget(), strict=strict))
    return engine


class TableForecaster:
    """A model and a table that it can forecast.

    Attributes:
        name: of the model.
        table: the table.
        steps: that are forecast.

    Raises:
        SetupError: the model cannot forecast the table's columns, or not as is wished.
    """

    def __init__(self, engine: ForecastEngine, table: Table, wishes: Wishes) -> None:
        manifest = engine.manifest
        check_columns(engine.folder)
        self.name = engine.folder.label
        self.table = table
        self.steps = wishes.steps or manifest.horizon
        self.context = manifest.context
        self._engine = engine
        self._wishes = wishes
        self._apart = manifest.layout == "series"
        if self.steps > manifest.horizon and not wishes.rollout:
            raise SetupError(
                f"--prediction-length {self.steps}: model {self.name} forecasts {manifest.horizon} steps; --rollout "
                "makes more by feeding forecasts back, and the further the worse"
            )
        if wishes.levels and self.steps > manifest.horizon:
            raise SetupError(
                f"--quantiles are known for the {manifest.horizon} steps of the model, and not for --rollout"
            )
        if wishes.levels and not engine.has_quantiles:
            raise SetupError(
                f"--quantiles: model {self.name} has no table of residuals; make one with 'vinocast calibrate'"
            )
        if self._apart:
            self._columns = list(range(len(table.columns)))
        elif set(manifest.channels) == set(table.columns):
            self._columns = [table.columns.index(channel) for channel in manifest.channels]
        else:
            raise SetupError(
                f"model {self.name} forecasts its channels together, and only "
                f"{printable(', '.join(manifest.channels))}; {table.source} has "
                f"{printable(', '.join(table.columns)[:200])}"
            )
        # Of each column, the model's channel of that name.
        self._known = [manifest.places.get(name) for name in table.columns]

    @property
    def has_quantiles(self) -> bool:
        """Whether quantiles can be asked for."""
        return self._engine.has_quantiles

    @cached_property
    def _follows_units(self) -> bool:
        return follows_units(self._engine, 1 if self._apart else len(self._columns))

    def cut(self, item: Item, stop: int) -> Window:
        """Return the window of an item that ends before a step.

        Raises:
            SetupError: gaps or too few steps, where they are refused.
        """
        start = max(0, stop - self.context)
        exact = item.values[start:stop]
        units = find_units(exact)
        if units.odd and not self._follows_units:
            units = as_they_are(exact.shape[1])
        values = units.read(exact).astype(np.float32)
        filled = 0
        if (gaps := np.isnan(values)).any():
            filled = self._fill(item, start, values, gaps)
        if (rows := len(values)) < self.context:
            if self._wishes.short == "refuse":
                whose = "" if item.name is None else f"{self.table.item} '{printable(item.name)}': "
                raise SetupError(
                    f"{self.table.source}: {whose}{rows} steps are fewer than the {self.context} that model "
                    f"{self.name} reads: --short pad puts their mean before them"
                )
            values = pad_front(values, self.context)
        return Window(item, stop, values, units, filled, self.context - rows)

    def _fill(self, item: Item, start: int, values: NDArray[np.float32], gaps: NDArray[np.bool_]) -> int:
        if self._wishes.missing == "refuse":
            step, column = np.argwhere(gaps)[0].tolist()
            count = int(gaps.sum())
            raise SetupError(
                f"{self.table.place(item, start + step, column)}: no value, one of {count} in the {len(values)} steps "
                "that are read: --missing interpolate fills them"
            )
        shares = gaps.mean(axis=0)
        if (shares > self._wishes.most_missing).any() or gaps.all(axis=0).any():
            column = int(shares.argmax())
            count = int(gaps[:, column].sum())
            whose = "" if item.name is None else f"{self.table.item} '{printable(item.name)}', "
            raise SetupError(
                f"{self.table.source}: {whose}column '{printable(self.table.columns[column])}': {count} of the "
                f"{len(values)} steps that are read have no value, more than may be filled (--max-missing-share); "
                "--columns chooses others"
            )
        return fill_gaps(values, 1.0, self.table.source)

    def forecast(self, windows: Sequence[tuple[Item, int]], label: str = "forecast") -> Iterator[ItemForecast]:
        """Forecast windows, each of an item and the step that it ends before, in their order.

        Shows its progress on standard error, and raises what :meth:`cut` does, for each before any is computed.
        """
        count = len(self.table.columns)
        together = max(1, SERIES_TOGETHER // count) if self._apart else 1
        for item, stop in windows if len(windows) > together else ():
            self.cut(item, stop)
        with progress(len(windows) * count, label) as bar:
            for start in range(0, len(windows), together):
                cut = [self.cut(item, stop) for item, stop in windows[start : start + together]]
                yield from self._forecast(cut, bar.update)

    def _forecast(self, windows: Sequence[Window], done: Callable[[int], None]) -> Iterator[ItemForecast]:
        # A row in memory for each series, as the net reads them.
        series = np.concatenate([window.values[:, self._columns].T for window in windows])
        whole = bool(self._wishes.levels)
        computation = Computation(series.T, range(len(series)), self.steps, whole=whole)
        told = 0
        while True:
            ended = computation.step(self._engine)
            # A rollout computes each series more than once.
            now = len(series) if ended else min(len(series), computation.done)
            done(now - told)
            told = now
            if ended:
                break
        forecast = computation.forecast
        points = self._engine.points(forecast)
        quantiles = self._quantiles(forecast, windows)
        back = np.argsort(self._columns)
        for place, window in enumerate(windows):
            columns = place * len(self._columns) + back
            made = [window.units.written(numbers[..., columns]) for numbers in (points, quantiles)]
            if not all(np.isfinite(numbers).all() for numbers in made):
                whose = "" if window.item.name is None else f" of '{printable(window.item.name)}'"
                raise SetupError(f"{self.table.source}: values{whose} spread too far for a forecast in float32")
            yield ItemForecast(window, *made)

    def _quantiles(self, forecast: NDArray[np.float32], windows: Sequence[Window]) -> NDArray[np.float32]:
        """Return quantiles [levels, steps, n]: by channel where the model knows the column's name."""
        levels = self._wishes.levels
        quantiles = np.empty((len(levels), *forecast.shape[-2:]), np.float32)
        if not levels:
            return quantiles
        # Of what is known: padding never moves, and would have a band be too narrow.
        least = self._engine.manifest.minimum_variance
        scales = np.concatenate(
            [deviations(window.values[window.padded :, self._columns].T, least) for window in windows]
        )
        channels = list(itertools.islice(itertools.cycle(self._known[place] for place in self._columns), len(scales)))
        known = np.array([channel is not None for channel in channels])
        try:
            for which in (known, ~known):
                if which.any():
                    own = [channel for channel in channels if channel is not None] if which is known else None
                    some = np.ascontiguousarray(forecast[..., which])
                    made = self._engine.quantiles(levels, some, scales[which], own)
                    quantiles[..., which] = made
        except RequestError as error:
            raise SetupError(f"{shown(self.table.source)}: {error.message}") from None
        return quantiles
