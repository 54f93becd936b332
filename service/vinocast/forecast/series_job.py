"""Forecasts of several series in the lane: read in parts, computed in parts, and finished in parts."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import InvalidRequestError, InvalidShapeError, InvalidValueError
from vinocast.forecast.computation import Computation, computing_bytes, horizons, late
from vinocast.forecast.prepare import count_times, fill_gaps, follow, pad_front
from vinocast.forecast.quantiles import deviations
from vinocast.requests import ForecastedSeries, ForecastOfOne

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.times.frequency import Frequency
    from vinocast.engine.ticket import Ticket
    from vinocast.forecast.engine import ForecastEngine
    from vinocast.forecast.kind import ServedForecaster
    from vinocast.requests import Forecast, Series, SeriesSource

# What is read of series before others go on: as long as an inference.
PART_SECONDS = 1e-3
# Series whose quantiles are made at a time.
QUANTILES_TOGETHER = 128
# What the forecast of one series takes beside its numbers and what is repeated of it.
OUTPUT_BYTES = 320
NO_POINTS = np.empty(0, np.float32)


class SeriesJob:
    """Forecasts of several series, which are read in parts and computed in parts.

    What is wrong with any of them is found before the first is computed. Whatever goes wrong ends this request alone.

    Args:
        ticket: who waits for it.
        model: what computes it, of layout ``series``.
        source: the series.
        request: how they are to be forecast.
        freq: the step between the times of their points; None where none was given.
        most_missing: the share of a series' points that may be filled.
    """

    def __init__(
        self,
        ticket: Ticket,
        model: ServedForecaster,
        source: SeriesSource,
        request: Forecast,
        freq: Frequency | None,
        most_missing: float,
    ) -> None:
        manifest = model.manifest
        self.ticket = ticket
        self.model = model
        self._request = request
        self._freq = freq
        self._most_missing = most_missing
        self._steps = request.prediction_length or manifest.horizon
        self._rolls = self._steps > manifest.horizon
        self._rows = len(source) * horizons(self._steps, manifest)
        self._decoded = time.monotonic()
        self._started: float | None = None
        # Once this is read to its end, nothing of the request is held, which may be long.
        self._reading = source.read(gaps=request.missing == "interpolate")
        self._path, self._read_bytes = source.path, source.nbytes
        request.series = None
        self._read_all = False
        self._kept_bytes = 0
        self._columns = np.empty((len(source), manifest.context), np.float32).T
        self._outputs: list[ForecastOfOne] = []
        self._times: dict[tuple[str, int], Sequence[str]] = {}  # many series start together
        self._whole = request.quantile_levels is not None
        self._computation = Computation(self._columns, range(len(source)), self._steps, whole=self._whole)
        self._forecast: NDArray[np.float32] | None = None
        self._points = np.empty((0, 0), np.float32)
        self._finished = 0

    @property
    def rows(self) -> int:
        """Series to compute, each as often as it takes."""
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes at most: what it is read from, what is read, and what is computed."""
        count = self._columns.shape[1]
        computing = computing_bytes(self.model.manifest, count, self._steps, whole=self._whole)
        return self._read_bytes + self._columns.nbytes + computing + count * OUTPUT_BYTES

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self.model.settled

    def run_part(self) -> bool:
        """Read some series, compute some, or finish some; answer after the last."""
        now = time.monotonic()
        if self._request.deadline is not None and now > self._request.deadline:
            self.ticket.refuse(late(self._computation.done, self._rows))
            return True
        if self._started is None:
            self._started = now
        try:
            engine = self.model.loaded()
            if self._request.quantile_levels is not None:
                engine.check_quantiles()
            if not self._read_all:
                self._read(now + PART_SECONDS)
                return False
            if self._forecast is None:
                if self._computation.step(engine):
                    self._forecast = self._computation.forecast
                    # A row for each series, as a reply is written from.
                    self._points = np.ascontiguousarray(engine.points(self._forecast).T)
                return False
            self._finish(engine, self._forecast)
            if self._finished < len(self._outputs):
                return False
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self.ticket.fail(error)
        else:
            self.ticket.succeed(
                ForecastedSeries(
                    self.model.label,
                    self._computation.seconds,
                    self._started - self._decoded,
                    self._outputs,
                    self._rolls,
                    version=self.model.folder.version,
                )
            )
        return True

    def _read(self, until: float) -> None:
        claim, before = self.ticket.claim, self._kept_bytes
        for series in self._reading:
            self._prepare(len(self._outputs), series)
            if time.monotonic() > until:
                claim.must_hold(claim.nbytes + self._kept_bytes - before)
                return
        self._read_all = True
        claim.must_hold(claim.nbytes + self._kept_bytes - before - self._read_bytes)
        if self._freq is not None and not self._times:
            raise InvalidRequestError("freq: expected start in one of inputs beside it, or no freq", "freq")

    def _prepare(self, index: int, series: Series) -> None:
        path, context = self._path(index), len(self._columns)
        values = series.values[-context:, None]
        if len(values) < context and self._request.short == "refuse":
            raise InvalidShapeError(
                f'{path}: expected at least {context} points, got {len(values)}; "short": "pad" makes them up', path
            )
        filled = 0
        if self._request.missing == "interpolate" and np.isnan(values).any():
            filled = fill_gaps(values, self._most_missing, path)
        self._columns[:, index] = pad_front(values, context)[:, 0] if len(values) < context else values[:, 0]
        self._kept_bytes += sys.getsizeof(series.item_id)
        self._outputs.append(
            ForecastOfOne(
                series.item_id,
                NO_POINTS,
                timestamps=self._timestamps(index, series),
                filled=filled,
                padded=context - len(values),
            )
        )

    def _timestamps(self, index: int, series: Series) -> Sequence[int] | Sequence[str] | None:
        request = self._request
        if series.start is None:
            return count_times(request, self._steps)
        path = self._path(index).removesuffix("target") + "start"
        if self._freq is None:
            raise InvalidRequestError(f"{path}: expected freq beside it in the request", path)
        key = (series.start, len(series.values))
        if key not in self._times:
            self._times[key] = follow(series.start, self._freq, len(series.values), self._steps, path)
        return self._times[key]

    def _finish(self, engine: ForecastEngine, forecast: NDArray[np.float32]) -> None:
        """Check some forecasts, and make their quantiles."""
        levels, points = self._request.quantile_levels, self._points
        stop = len(points) if levels is None else min(len(points), self._finished + QUANTILES_TOGETHER)
        part = slice(self._finished, stop)
        finite = np.isfinite(points[part]).all(axis=1)
        if not finite.all():
            path = self._path(self._finished + int(finite.argmin()))
            raise InvalidValueError(f"{path}: its values spread too far for a forecast in float32", path)
        made = None
        if levels is not None:
            # The model's own quantiles are in the units of the series.
            scales = self._scales(part, engine.manifest.minimum_variance) if forecast.ndim == 2 else None
            made = engine.quantiles(levels, forecast[..., part], scales, None).transpose(2, 0, 1).copy()
        for place, output in enumerate(self._outputs[part]):
            output.points = points[self._finished + place]
            if levels is not None and made is not None:
                output.quantiles = dict(zip(levels, made[place], strict=True))
        self._finished = stop

    def _scales(self, part: slice, minimum_variance: float) -> NDArray[np.float32]:
        """Return the deviations of some series, but for what was padded."""
        scales = deviations(self._columns.T[part], minimum_variance)
        for place, output in enumerate(self._outputs[part], part.start):
            if output.padded:
                scales[place - part.start] = deviations(self._columns[output.padded :, place], minimum_variance)
        return scales
