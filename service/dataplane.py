"""The one door to inference that every transport uses.

A transport hands in a decoded request and a function to call with the reply's bytes; the data plane resolves the
model, checks the window, and puts a job into the lane that the transport drives.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from service import __version__, schemas
from service.errors import (
    InternalError,
    InvalidRequestError,
    InvalidValueError,
    NotReadyError,
    RequestError,
    ShuttingDownError,
    UnknownModelError,
    UnknownTargetError,
    quote,
)
from service.forecast import windows
from service.forecast.streams import Streams
from service.runtime.cpu import cpu_budget
from service.runtime.lane import Lane
from service.runtime.manifest import bundled_models
from service.runtime.profiles import find_profile
from service.runtime.repository import Repository, ServedModel
from service.runtime.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from service.runtime.lane import Job
    from service.settings import Settings

    # Called once a request, in the thread that drives the lane: the reply, and the error if it is one.
    Answer = Callable[[bytes, RequestError | None], None]


class DataPlane:
    """Models, lane and statistics of one service. Everything but :meth:`start` is for the transport's one thread."""

    def __init__(self, settings: Settings) -> None:
        self._profile = find_profile(settings.profile)
        self._budget = cpu_budget()
        self._repository = Repository(settings.models or bundled_models(), settings.default_model)
        self._statistics = Statistics()
        self._closed = False
        self._streams = Streams(settings.max_streams, settings.stream_idle_seconds)
        self.lane = Lane(settings.queue_rows)

    def start(self, wake: Callable[[], object]) -> None:
        """Load the models in the background; ``wake`` is called from that thread whenever one has settled."""
        self._repository.load(self._profile, self._budget, lambda _: wake())

    def close(self) -> None:
        """Refuse new work and load no more models; what the lane holds is still to be stepped through."""
        self._closed = True
        self._repository.close()

    @property
    def default_model(self) -> ServedModel:
        """The model that answers when a request names none."""
        return self._repository.find(None)

    @property
    def ready(self) -> bool:
        """Whether the default model has passed its self-test and new work is accepted."""
        return self.default_model.forecaster is not None and not self._closed

    def forecast(
        self, fields: dict[str, Any], body: bytes, received: float, answer: Answer, *, wait_for_model: bool = True
    ) -> None:
        """Answer a forecast request, now if it is refused, else when the lane comes to it.

        Args:
            fields: the parsed body.
            body: its bytes, whose literals tell whether a window may hold booleans.
            received: ``time.monotonic`` of its receipt, from which the deadline counts.
            answer: called once with the reply.
            wait_for_model: let the request wait while its model loads, instead of refusing it.
        """
        echoed = schemas.echo(fields)
        try:
            if self._closed:
                raise ShuttingDownError("the service is shutting down")
            request = schemas.parse_forecast(fields)
            model = self._repository.find(request.model)
            if not (wait_for_model or model.settled):
                raise NotReadyError(f"model {model.name} is still loading")
            job = ForecastJob(
                plane=self,
                echoed=echoed,
                answer=answer,
                model=model,
                window=self._window(request, model, body),
                targets=_targets(request.targets, model.manifest.channels),
                deadline=None if request.deadline_ms is None else received + request.deadline_ms / 1e3,
                decoded=time.monotonic(),
            )
            self.lane.submit(job)
        except RequestError as error:
            self.refuse(echoed, error, answer)

    def observe(self, fields: dict[str, Any], body: bytes, answer: Answer) -> None:
        """Append rows to a stream and answer at once; the arguments are those of :meth:`forecast`."""
        echoed = schemas.echo(fields)
        try:
            request = schemas.parse_observe(fields)
            manifest = self._repository.find(request.model).manifest
            # One row may come without the brackets of the array of rows.
            one = not isinstance(request.values[0], list)
            values = windows.rows_to_array(
                [request.values] if one else request.values,
                len(manifest.channels),
                may_hold_booleans=windows.may_hold_booleans(body),
                field="values",
                one_row=one,
            )
            stream = self._streams.find_or_create(request.stream, manifest.context, len(manifest.channels))
            stream.observe(values, request.timestamp_ms)
        except RequestError as error:
            self.refuse(echoed, error, answer)
        else:
            self._statistics.answered["observe"] += 1
            reply = {
                **echoed,
                "stream": request.stream,
                "rows": stream.rows,
                "missing": stream.missing,
                "success": True,
            }
            answer(schemas.encode(reply), None)

    def streams(self) -> list[dict[str, Any]]:
        """Return what every stream holds."""
        return self._streams.describe()

    def _window(self, request: schemas.ForecastRequest, model: ServedModel, body: bytes) -> NDArray[np.float32]:
        context, channels = model.manifest.context, len(model.manifest.channels)
        if request.past_values is not None:
            return windows.window_from_rows(
                request.past_values, context, channels, may_hold_booleans=windows.may_hold_booleans(body)
            )
        if request.past_values_b64 is not None and request.shape is not None:
            rows, columns = request.shape
            return windows.window_from_base64(request.past_values_b64, (rows, columns), context, channels)
        if request.stream is None:
            raise InvalidRequestError("expected past_values, past_values_b64 with shape, or stream", "past_values")
        return self._streams.find(request.stream).window(context, channels)

    def refuse(self, echoed: dict[str, Any], error: RequestError, answer: Answer) -> None:
        """Answer with an error and count it."""
        self._statistics.failure(error.code)
        answer(schemas.failure(echoed, error), error)

    def succeed(self, op: str, reply: dict[str, Any], answer: Answer) -> None:
        """Answer with a forecast and count it."""
        self._statistics.success(op, reply["inference_time_ms"], reply["queue_time_ms"])
        answer(schemas.encode(reply), None)

    def ping(self) -> dict[str, Any]:
        """Return version, models and readiness."""
        return {
            "version": __version__,
            "ready": self.ready,
            "default_model": self._repository.default,
            "profile": self._profile.name,
            "models": [model.describe() for model in self._repository.models.values()],
        }

    def stats(self) -> dict[str, Any]:
        """Return counters, latency quantiles and what waits."""
        return {**self._statistics.summary(), "queued_requests": len(self.lane), "queued_rows": self.lane.rows}


@dataclass(slots=True)
class ForecastJob:
    """One forecast in the lane."""

    plane: DataPlane
    echoed: dict[str, Any]
    answer: Answer
    model: ServedModel
    window: NDArray[np.float32]
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
        self.plane.refuse(self.echoed, error, self.answer)

    def joins(self, first: Job, rows: int) -> bool:
        """Whether one inference can serve both: the same model, and series that it has a compiled shape for."""
        if not isinstance(first, ForecastJob) or first.model is not self.model or self.model.forecaster is None:
            return False
        return rows <= self.model.forecaster.most_series

    def run(self, together: Sequence[Job]) -> None:
        """Compute and answer. Whatever goes wrong ends these requests alone."""
        jobs = [job for job in together if isinstance(job, ForecastJob)]
        start = time.monotonic()
        try:
            if self.model.forecaster is None:
                raise UnknownModelError(f"model: {self.model.name} is not served: {self.model.refused}", "model")
            forecasts, seconds = self.model.forecaster.forecast_together([(job.window, job.targets) for job in jobs])
        except RequestError as error:
            for job in jobs:
                job.fail(error)
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            internal = InternalError.logged(error)
            for job in jobs:
                job.fail(internal)
        else:
            for job, predictions in zip(jobs, forecasts, strict=True):
                job.succeed(predictions, seconds, start - job.decoded)

    def succeed(self, predictions: NDArray[np.float32], inference_seconds: float, queue_seconds: float) -> None:
        """Answer with a forecast, unless it came out beyond float32."""
        if not np.isfinite(predictions).all():
            self.fail(InvalidValueError("the window's values spread too far for a forecast in float32", "past_values"))
            return
        reply = {
            **self.echoed,
            "predictions": predictions,
            "inference_time_ms": round(inference_seconds * 1e3, 4),
            "queue_time_ms": round(queue_seconds * 1e3, 4),
            "model": self.model.name,
            "success": True,
        }
        self.plane.succeed("forecast", reply, self.answer)


def _targets(wanted: list[str | int] | None, channels: list[str]) -> Sequence[int]:
    """Return channel indices; raises UnknownTargetError, or InvalidRequestError for one named twice."""
    if wanted is None:
        return range(len(channels))
    indices: list[int] = []
    for position, target in enumerate(wanted):
        path = f"targets[{position}]"
        if isinstance(target, int) and 0 <= target < len(channels):
            index = target
        elif isinstance(target, str) and target in channels:
            index = channels.index(target)
        else:
            names = ", ".join(channels)
            raise UnknownTargetError(
                f"{path}: expected one of {names} or 0..{len(channels) - 1}, got {quote(target)}", path
            )
        if index in indices:
            raise InvalidRequestError(f"{path}: expected each target once, got {quote(target)} again", path)
        indices.append(index)
    return indices
