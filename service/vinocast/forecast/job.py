"""Forecasts in the lane: what is computed, and how it is answered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.engine.lane import TOO_LATE
from vinocast.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    InvalidShapeError,
    InvalidValueError,
    RequestError,
)
from vinocast.forecast.prepare import count_times, fill_gaps, follow, pad_front
from vinocast.forecast.quantiles import deviations
from vinocast.requests import Forecasted, ForecastedSeries, ForecastOfOne, StreamPosition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.times.frequency import Frequency
    from vinocast.engine.lane import Job
    from vinocast.engine.ticket import Ticket
    from vinocast.forecast.engine import ForecastEngine
    from vinocast.forecast.kind import ServedForecaster
    from vinocast.forecast.manifest import ForecasterManifest
    from vinocast.forecast.streams import Expected
    from vinocast.requests import Forecast, QuantilesFrom, Series, SeriesSource

# What is read of series before others go on: as long as an inference.
PART_SECONDS = 1e-3
# Series whose quantiles are made at a time.
QUANTILES_TOGETHER = 128
NO_POINTS = np.empty(0, np.float32)


@dataclass(slots=True)
class ForecastJob:
    """One forecast of a window in the lane.

    Attributes:
        ticket: who waits for it.
        model: what computes it.
        window: float32 [context, columns].
        targets: indices of its columns.
        channels: their names.
        steps: how many are wanted; more than the horizon are for :class:`WideForecastJob`.
        deadline: the moment of ``time.monotonic`` after which it is not worth starting.
        decoded: the moment at which it was decoded.
        position: of the stream that the window is from; None for any other window.
        levels: of the quantiles that are wanted; None for none.
        known: the indices of the targets among the model's channels; None where they are none of them.
        timestamps: of the steps; None where they are not known.
        filled: how many values of the window are interpolated.
        padded: how many rows of it are made up.
        expected: where the forecast of a stream waits for its outcomes; None where none are kept.
    """

    ticket: Ticket
    model: ServedForecaster
    window: NDArray[np.float32]
    targets: Sequence[int]
    channels: Sequence[str]
    steps: int
    deadline: float | None
    decoded: float
    position: StreamPosition | None = None
    levels: Sequence[float] | None = None
    known: Sequence[int] | None = None
    timestamps: Sequence[int] | Sequence[str] | None = None
    filled: int = 0
    padded: int = 0
    expected: Expected | None = None

    @property
    def rows(self) -> int:
        """Series to compute."""
        return len(self.targets)

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self.model.settled

    def fail(self, error: RequestError) -> None:
        """Answer with an error."""
        self.ticket.refuse(error)

    def joins(self, first: Job, rows: int) -> bool:
        """Whether one inference can serve both: the same model, and series that it has a compiled shape for."""
        if not isinstance(first, ForecastJob) or first.model is not self.model or self.model.engine is None:
            return False
        return rows <= self.model.engine.most_series

    def run(self, together: Sequence[Job]) -> None:
        """Compute and answer. Whatever goes wrong ends these requests alone."""
        jobs = [job for job in together if isinstance(job, ForecastJob)]
        start = time.monotonic()
        try:
            forecasts, seconds = self.model.loaded().forecast_together([(job.window, job.targets) for job in jobs])
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            for job in jobs:
                job.ticket.fail(error)
        else:
            for job, points in zip(jobs, forecasts, strict=True):
                job.succeed(points, seconds, start - job.decoded)

    def succeed(self, points: NDArray[np.float32], inference_seconds: float, queue_seconds: float) -> None:
        """Answer with a forecast [steps or more, targets], unless it came out beyond float32."""
        whole, points = points, points[: self.steps]
        if not np.isfinite(points).all():
            self.fail(InvalidValueError("the window's values spread too far for a forecast in float32", "past_values"))
            return
        quantiles, quantiles_from = None, None
        if self.levels is not None or self.expected is not None:
            try:
                quantiles, quantiles_from = self._quantiles(whole, points)
            except Exception as error:  # noqa: BLE001 - one request must not end the service
                self.ticket.fail(error)
                return
        self.ticket.succeed(
            Forecasted(
                self.model.name,
                inference_seconds,
                queue_seconds,
                points,
                self.channels,
                quantiles,
                self.timestamps,
                self.filled,
                self.padded,
                self.steps > self.model.manifest.horizon,
                self.position,
                quantiles_from,
            )
        )

    def _quantiles(
        self, whole: NDArray[np.float32], points: NDArray[np.float32]
    ) -> tuple[dict[float, NDArray[np.float32]] | None, QuantilesFrom | None]:
        """Return the quantiles that are wanted and whose they are; have a stream's whole forecast wait for outcomes."""
        engine = self.model.loaded()
        # Padding never moves, and would have a band be too narrow.
        scales = deviations(self.window[self.padded :].T[list(self.targets)])
        made, made_from = None, None
        if self.levels is not None:
            made = engine.quantiles(self.levels, points, scales, self.known)
            if self.expected is not None:
                made_from = self.expected.improve(made, self.levels, points, scales, self.targets)
        if self.expected is not None:
            self.expected.remember(whole[: engine.manifest.horizon], scales, self.targets)
        return None if made is None or self.levels is None else dict(zip(self.levels, made, strict=True)), made_from


class Computation:
    """Forecasts of some columns of a window, in parts of one inference each, and as far as is wanted.

    What is beyond the horizon is forecast from the forecast: the columns that are wanted go on by themselves where
    channels are independent, all of them where they are not.

    Attributes:
        done: series that were computed, each as often as it takes.
        seconds: spent in infer().
    """

    def __init__(self, window: NDArray[np.float32], targets: Sequence[int], steps: int) -> None:
        self._window = window
        self._targets = targets
        self._steps = steps
        self._picked: Sequence[int] | None = None  # of what is computed, where that is more than is wanted
        self._parts: list[NDArray[np.float32]] = []  # of this horizon
        self._place = 0
        self._horizons: list[NDArray[np.float32]] = []
        self.done = 0
        self.seconds = 0.0

    def step(self, engine: ForecastEngine) -> bool:
        """Compute some series of one horizon; return whether that was the last part."""
        horizon, independent = engine.manifest.horizon, engine.most_series > 0
        if not independent and self._picked is None and self._steps > horizon:
            self._picked, self._targets = self._targets, range(self._window.shape[1])
        targets = self._targets[self._place : self._place + (engine.most_series or len(self._targets))]
        (part,), seconds = engine.forecast_together([(self._window, targets)])
        self._parts.append(part)
        self._place += len(targets)
        self.done += len(targets)
        self.seconds += seconds
        if self._place < len(self._targets):
            return False
        points = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts, axis=1)
        self._horizons.append(points)
        if len(self._horizons) * horizon >= self._steps:
            return True
        window = self._window if len(self._horizons) > 1 else self._window[:, list(self._targets)]
        self._window = np.concatenate((window, points))[-len(window) :]
        self._parts, self._place, self._targets = [], 0, range(window.shape[1])
        return False

    @property
    def points(self) -> NDArray[np.float32]:
        """What was computed, float32 [steps, targets] in C's order."""
        points = self._horizons[0] if len(self._horizons) == 1 else np.concatenate(self._horizons)
        return np.ascontiguousarray((points if self._picked is None else points[:, list(self._picked)])[: self._steps])


class WideForecastJob:
    """A forecast of a window that takes several inferences, done in parts. Whatever goes wrong ends it alone.

    It is of more series than go through the net together, or of more steps than the model's horizon.
    """

    def __init__(self, job: ForecastJob) -> None:
        self._job = job
        self._started: float | None = None
        self._computation = Computation(job.window, job.targets, job.steps)

    @property
    def ticket(self) -> Ticket:
        """Who waits for it."""
        return self._job.ticket

    @property
    def model(self) -> ServedForecaster:
        """What computes it."""
        return self._job.model

    @property
    def rows(self) -> int:
        """Series to compute, each as often as it takes."""
        return self._job.rows * horizons(self._job.steps, self.model.manifest)

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self._job.runnable()

    def run_part(self) -> bool:
        """Compute some series; answer after the last."""
        job, now = self._job, time.monotonic()
        if job.deadline is not None and now > job.deadline:
            job.fail(_late(self._computation.done, self.rows))
            return True
        if self._started is None:
            self._started = now
        try:
            if not self._computation.step(job.model.loaded()):
                return False
            points = self._computation.points
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            job.ticket.fail(error)
            return True
        job.succeed(points, self._computation.seconds, self._started - job.decoded)
        return True


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
        self._columns = np.empty((len(source), manifest.context), np.float32).T
        self._outputs: list[ForecastOfOne] = []
        self._times: dict[tuple[str, int], Sequence[str]] = {}  # many series start together
        self._computation = Computation(self._columns, range(len(source)), self._steps)
        self._points: NDArray[np.float32] | None = None
        self._finished = 0

    @property
    def rows(self) -> int:
        """Series to compute, each as often as it takes."""
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes at most: what it is read from, what is read, and what is computed."""
        return self._read_bytes + self._columns.nbytes + self._columns.shape[1] * self._steps * self._columns.itemsize

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self.model.settled

    def run_part(self) -> bool:
        """Read some series, compute some, or finish some; answer after the last."""
        now = time.monotonic()
        if self._request.deadline is not None and now > self._request.deadline:
            self.ticket.refuse(_late(self._computation.done, self._rows))
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
            if self._points is None:
                if self._computation.step(engine):
                    # A row for each series, as a reply is written from.
                    self._points = np.ascontiguousarray(self._computation.points.T)
                return False
            self._finish(engine, self._points)
            if self._finished < len(self._outputs):
                return False
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self.ticket.fail(error)
        else:
            self.ticket.succeed(
                ForecastedSeries(
                    self.model.name,
                    self._computation.seconds,
                    self._started - self._decoded,
                    self._outputs,
                    self._rolls,
                )
            )
        return True

    def _read(self, until: float) -> None:
        for series in self._reading:
            self._prepare(len(self._outputs), series)
            if time.monotonic() > until:
                return
        self._read_all = True
        self.ticket.claim.must_hold(self.ticket.claim.nbytes - self._read_bytes)
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

    def _finish(self, engine: ForecastEngine, points: NDArray[np.float32]) -> None:
        """Check some forecasts, and make their quantiles."""
        levels = self._request.quantile_levels
        stop = len(points) if levels is None else min(len(points), self._finished + QUANTILES_TOGETHER)
        part = slice(self._finished, stop)
        finite = np.isfinite(points[part]).all(axis=1)
        if not finite.all():
            path = self._path(self._finished + int(finite.argmin()))
            raise InvalidValueError(f"{path}: its values spread too far for a forecast in float32", path)
        made = None
        if levels is not None:
            scales = deviations(self._columns.T[part])
            for place, output in enumerate(self._outputs[part]):
                if output.padded:
                    scales[place] = deviations(self._columns[output.padded :, self._finished + place])
            made = engine.quantiles(levels, points[part].T, scales, None).transpose(2, 0, 1).copy()
        for place, output in enumerate(self._outputs[part]):
            output.points = points[self._finished + place]
            if levels is not None and made is not None:
                output.quantiles = dict(zip(levels, made[place], strict=True))
        self._finished = stop


def horizons(steps: int, manifest: ForecasterManifest) -> int:
    """Return how many times a model is asked for so many steps."""
    return -(-steps // manifest.horizon)


def _late(done: int, rows: int) -> DeadlineExceededError:
    late = f"deadline_ms: the deadline passed after {done} of {rows} series"
    return DeadlineExceededError(late if done else TOO_LATE, "deadline_ms")
