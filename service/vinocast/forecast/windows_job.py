"""Forecasts of several windows in the lane: read in parts, and computed an inference at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vinocast.forecast.computation import FLOAT32, Computation, computing_bytes, horizons, late
from vinocast.forecast.series_job import PART_SECONDS
from vinocast.requests import ForecastedWindows

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from vinocast.engine.ticket import Ticket
    from vinocast.forecast.engine import ForecastEngine
    from vinocast.forecast.job import ForecastJob
    from vinocast.forecast.kind import ServedForecaster
    from vinocast.requests import Forecast, Forecasted, WindowsSource


class WindowsJob:
    """Forecasts of several windows of a model's channels, each by itself.

    What is wrong with any of them is found before the first is computed. Whatever goes wrong ends this request alone.

    Args:
        ticket: who waits for it.
        model: what computes it.
        source: the windows.
        request: how they are to be forecast.
        steps: how many are wanted.
        prepare: makes of a window, and of its path, what is computed.
    """

    def __init__(
        self,
        ticket: Ticket,
        model: ServedForecaster,
        source: WindowsSource,
        request: Forecast,
        steps: int,
        prepare: Callable[[NDArray[np.float32], str], ForecastJob],
    ) -> None:
        self.ticket = ticket
        self.model = model
        self._source: WindowsSource | None = source
        self._count = len(source)
        self._nbytes = source.nbytes
        self._request = request
        self._steps = steps
        self._prepare = prepare
        self._whole = request.quantile_levels is not None
        self._gaps = request.missing == "interpolate"
        self._decoded = time.monotonic()
        self._started: float | None = None
        self._jobs: list[ForecastJob] = []
        self._computation: Computation | None = None  # of a window that takes several inferences
        self._outputs: list[Forecasted] = []
        self._seconds = 0.0
        request.windows = None

    @property
    def rows(self) -> int:
        """Series to compute, each as often as it takes."""
        return self._count * len(self.model.manifest.channels) * horizons(self._steps, self.model.manifest)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes at most: what it is read from, what is read, and what is computed."""
        manifest = self.model.manifest
        series = self._count * len(manifest.channels)
        computing = computing_bytes(manifest, series, self._steps, whole=self._whole)
        return self._nbytes + series * manifest.context * FLOAT32 + computing

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self.model.settled

    def run_part(self) -> bool:
        """Read some windows, or compute some; answer after the last."""
        now = time.monotonic()
        if self._request.deadline is not None and now > self._request.deadline:
            self.ticket.refuse(late(len(self._outputs) * len(self.model.manifest.channels), self.rows))
            return True
        if self._started is None:
            self._started = now
        try:
            engine = self.model.loaded()
            if self._source is not None:
                self._read(self._source, now + PART_SECONDS)
                return False
            self._compute(engine, self._started - self._decoded)
            if len(self._outputs) < self._count:
                return False
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self.ticket.fail(error)
        else:
            rolls = self._steps > self.model.manifest.horizon
            queued = self._started - self._decoded
            self.ticket.succeed(
                ForecastedWindows(
                    self.model.label, self._seconds, queued, self._outputs, rolls, version=self.model.folder.version
                )
            )
        return True

    def _read(self, source: WindowsSource, until: float) -> None:
        while len(self._jobs) < self._count:
            index = len(self._jobs)
            self._jobs.append(self._prepare(source.window(index, gaps=self._gaps), source.path(index)))
            if time.monotonic() > until:
                return
        self._source = None

    def _compute(self, engine: ForecastEngine, queued: float) -> None:
        """Compute the windows that go through the net together, or a part of one that takes several inferences."""
        place = len(self._outputs)
        job = self._jobs[place]
        if self._steps > engine.manifest.horizon or 0 < engine.most_series < job.rows:
            if self._computation is None:
                job.measure()
                self._computation = Computation(job.window, job.targets, self._steps, whole=self._whole)
            if self._computation.step(engine):
                self._outputs.append(job.result(self._computation.forecast, self._computation.seconds, queued))
                self._seconds += self._computation.seconds
                self._computation = None
            return
        jobs = self._jobs[place : place + max(1, engine.most_series // job.rows)]
        for each in jobs:
            each.measure()
        forecasts, seconds = engine.forecast_together([(each.window, each.targets) for each in jobs], whole=self._whole)
        self._seconds += seconds
        self._outputs += [
            each.result(forecast, seconds, queued) for each, forecast in zip(jobs, forecasts, strict=True)
        ]
