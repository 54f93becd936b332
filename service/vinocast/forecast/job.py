"""Forecasts of a window in the lane: what is computed, and how it is answered."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import InvalidValueError, RequestError
from vinocast.forecast.bands import BAND
from vinocast.forecast.computation import Computation, horizons, late
from vinocast.forecast.quantiles import scales_of
from vinocast.requests import Forecasted, StreamPosition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.engine.lane import Job
    from vinocast.engine.ticket import Ticket
    from vinocast.forecast.bands import Tally
    from vinocast.forecast.kind import ServedForecaster
    from vinocast.forecast.stream import Expected
    from vinocast.requests import QuantilesFrom


@dataclass(slots=True)
class ForecastJob:
    """One forecast of a window in the lane.

    Attributes:
        ticket: who waits for it.
        model: what computes it.
        window: float32 [context, columns].
        targets: indices of its columns; of a market model, of its outputs.
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
        tally: of how many outcomes lay in the bands of the model's forecasts of streams, where some are kept.
        scales: the scales of the targets' errors, once :meth:`measure` has measured them.
        warnings: what makes the forecast less than it could be.
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
    tally: Tally | None = None
    scales: NDArray[np.float32] | None = None
    warnings: Sequence[str] = ()

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
        whole = any(job.levels is not None for job in jobs)
        try:
            for job in jobs:
                job.measure()
            forecasts, seconds = self.model.loaded().forecast_together(
                [(job.window, job.targets) for job in jobs], whole=whole
            )
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            for job in jobs:
                job.ticket.fail(error)
        else:
            for job, forecast in zip(jobs, forecasts, strict=True):
                job.succeed(forecast, seconds, start - job.decoded)

    def measure(self) -> None:
        """Measure the scales of the targets' errors where they are asked for.

        Before the inference, which leaves nothing of the window in the caches: then it takes a third of the time.
        """
        own = bool(self.model.manifest.quantile_levels)  # which are in the units of the series
        if self.expected is not None or (self.levels is not None and not own):
            self.scales = scales_of(self.model.manifest, self.window, self.targets, self.padded)

    def succeed(self, forecast: NDArray[np.float32], inference_seconds: float, queue_seconds: float) -> None:
        """Answer with what :meth:`result` returns, or with what it raises."""
        try:
            result = self.result(forecast, inference_seconds, queue_seconds)
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self.ticket.fail(error)
        else:
            self.ticket.succeed(result)

    def result(self, forecast: NDArray[np.float32], inference_seconds: float, queue_seconds: float) -> Forecasted:
        """Return the result that a forecast [steps or more, targets] makes, perhaps whole.

        Raises InvalidValueError where it, or a quantile, came out beyond float32.
        """
        points = self.model.loaded().points(forecast)[: self.steps]
        if not np.isfinite(points).all():
            raise InvalidValueError("the window's values spread too far for a forecast in float32", "past_values")
        quantiles, quantiles_from = None, None
        if self.levels is not None or self.expected is not None:
            quantiles, quantiles_from = self._quantiles(forecast, points)
        return Forecasted(
            self.model.label,
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
            self.warnings,
            version=self.model.folder.version,
        )

    def _quantiles(
        self, forecast: NDArray[np.float32], points: NDArray[np.float32]
    ) -> tuple[dict[float, NDArray[np.float32]] | None, QuantilesFrom | None]:
        """Return the quantiles that are wanted and whose they are; have a stream's whole forecast wait for outcomes."""
        engine, scales = self.model.loaded(), self.scales
        made, made_from = None, None
        if self.levels is not None:
            made = engine.quantiles(self.levels, forecast[..., : self.steps, :], scales, self.known)
        if self.expected is not None and scales is not None:
            if self.levels is not None and made is not None:
                made_from = self.expected.improve(made, self.levels, points, scales, self.targets)
            whole = forecast[..., : engine.manifest.horizon, :]
            if self.tally is not None and self.expected.judges:
                self._keep_band(self.expected, whole, scales, self.tally)
            self.expected.remember(engine.points(whole), scales, self.targets)
        return None if made is None or self.levels is None else dict(zip(self.levels, made, strict=True)), made_from

    def _keep_band(
        self, expected: Expected, forecast: NDArray[np.float32], scales: NDArray[np.float32], tally: Tally
    ) -> None:
        """Have the band of a stream's whole forecast wait for outcomes, where the model has quantiles."""
        engine = self.model.loaded()
        # Nobody has asked for it, so that what is wrong with it is no fault of the request.
        with contextlib.suppress(RequestError):
            ends = engine.quantiles(BAND, forecast, scales, self.known)
            expected.improve(ends, BAND, engine.points(forecast), scales, self.targets)
            expected.outcomes.bands.remember(expected.position, ends, self.targets, tally)


class WideForecastJob:
    """A forecast of a window that takes several inferences, done in parts. Whatever goes wrong ends it alone.

    It is of more series than go through the net together, or of more steps than the model's horizon.
    """

    def __init__(self, job: ForecastJob) -> None:
        self._job = job
        self._started: float | None = None
        self._computation = Computation(job.window, job.targets, job.steps, whole=job.levels is not None)

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
            job.fail(late(self._computation.done, self.rows))
            return True
        if self._started is None:
            self._started = now
        try:
            if self._computation.done == 0:
                job.measure()
            if not self._computation.step(job.model.loaded()):
                return False
            forecast = self._computation.forecast
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            job.ticket.fail(error)
            return True
        job.succeed(forecast, self._computation.seconds, self._started - job.decoded)
        return True
