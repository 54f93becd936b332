"""Forecasts in the lane: what is computed, and how it is answered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.engine.lane import TOO_LATE
from vinocast.errors import DeadlineExceededError, InvalidValueError, RequestError
from vinocast.requests import Forecasted, StreamPosition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.engine.lane import Job
    from vinocast.engine.ticket import Ticket
    from vinocast.forecast.kind import ServedForecaster


@dataclass(slots=True)
class ForecastJob:
    """One forecast in the lane.

    Attributes:
        ticket: who waits for it.
        model: what computes it.
        window: float32 [context, channels].
        position: of the stream that the window is from; None for any other window.
        targets: channel indices.
        deadline: the moment of ``time.monotonic`` after which it is not worth starting.
        decoded: the moment at which it was decoded.
    """

    ticket: Ticket
    model: ServedForecaster
    window: NDArray[np.float32]
    position: StreamPosition | None
    targets: Sequence[int]
    deadline: float | None
    decoded: float

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
        """Answer with a forecast, unless it came out beyond float32."""
        if not np.isfinite(points).all():
            self.fail(InvalidValueError("the window's values spread too far for a forecast in float32", "past_values"))
            return
        names = self.model.manifest.channels
        channels = [names[index] for index in self.targets]
        self.ticket.succeed(
            Forecasted(self.model.name, inference_seconds, queue_seconds, points, channels, position=self.position)
        )


class WideForecastJob:
    """A forecast of more series than go through the net together, done in parts. Whatever goes wrong ends it alone."""

    def __init__(self, job: ForecastJob) -> None:
        self._job = job
        self._started: float | None = None
        self._parts: list[NDArray[np.float32]] = []
        self._done = 0
        self._inference_seconds = 0.0

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
        """Series to compute."""
        return self._job.rows

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self._job.runnable()

    def run_part(self) -> bool:
        """Compute some series; answer after the last."""
        job, now = self._job, time.monotonic()
        if job.deadline is not None and now > job.deadline:
            late = f"deadline_ms: the deadline passed after {self._done} of {self.rows} series"
            job.fail(DeadlineExceededError(late if self._done else TOO_LATE, "deadline_ms"))
            return True
        if self._started is None:
            self._started = now
        try:
            engine = job.model.loaded()
            targets = job.targets[self._done : self._done + engine.most_series]
            (part,), seconds = engine.forecast_together([(job.window, targets)])
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            job.ticket.fail(error)
            return True
        self._parts.append(part)
        self._done += len(targets)
        self._inference_seconds += seconds
        if self._done < self.rows:
            return False
        job.succeed(np.concatenate(self._parts, axis=1), self._inference_seconds, self._started - job.decoded)
        return True
