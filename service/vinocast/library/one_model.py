"""What stands in a data plane's place in a process that asks its own model."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, cast

from vinocast.engine.budget import Budget, Claim
from vinocast.engine.statistics import Statistics
from vinocast.engine.ticket import Ticket
from vinocast.errors import RequestError
from vinocast.forecast.streams import NoStreams
from vinocast.handlers.forecast import forecast
from vinocast.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from vinocast import requests
    from vinocast.dataplane import DataPlane
    from vinocast.engine.lane import Job, LongJob
    from vinocast.forecast.kind import ServedForecaster


class OneModel:
    """What the handler of forecasts asks of a data plane, where there is one model or two, and who asks computes.

    Attributes:
        lane, repository: this itself.
        max_missing_share: as services have it, unless a setting says otherwise.
        queue_rows: nothing waits here.
        streams: none.
    """

    max_missing_share = Settings.max_missing_share
    queue_rows = sys.maxsize

    def __init__(self, model: ServedForecaster, general: Callable[[], ServedForecaster] | None) -> None:
        self._model = model
        self._load_general = general
        self._general: ServedForecaster | None = None
        self._lock = threading.Lock()
        self.repository = self.lane = self
        self.streams = NoStreams()

    def find(
        self,
        kind: object,  # noqa: ARG002 - the signature of a repository
        name: str | None,  # noqa: ARG002 - the same
        *,
        general: bool = False,
    ) -> ServedForecaster:
        """Return the model; of two the one for any series, where that is asked for."""
        if not general or self._load_general is None:
            return self._model
        with self._lock:
            if self._general is None:
                self._general = self._load_general()
        return self._general

    def submit(self, job: Job) -> None:
        """Compute a job at once."""
        job.run([job])

    def submit_long(self, job: LongJob) -> None:
        """Compute a long job at once, to its end."""
        while not job.run_part():
            pass

    def answer(self, request: requests.Forecast) -> object:
        """Return what is answered, or raise what is refused."""
        outcome: list[object] = []
        # Of its own, as several threads may ask: nobody adds them up.
        ticket = Ticket("forecast", outcome.append, Statistics(["forecast"]), Claim(Budget(sys.maxsize)), patient=True)
        forecast(cast("DataPlane", self), request, ticket)
        (answer,) = outcome
        if isinstance(answer, RequestError):
            raise answer
        return answer
