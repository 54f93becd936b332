"""The one door to inference that every transport uses.

A transport hands in a decoded request and a function to call with the reply's bytes; the data plane resolves the
model, checks the window, and puts a job into the lane that the transport drives.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast import __version__, schemas
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.lane import SERIES_A_PART, Lane
from vinocast.engine.manifest import bundled_models
from vinocast.engine.profiles import find_profile
from vinocast.engine.repository import Repository
from vinocast.engine.statistics import Statistics
from vinocast.errors import (
    InvalidRequestError,
    NotReadyError,
    PayloadTooLargeError,
    RequestError,
    ShuttingDownError,
    UnknownTargetError,
    quote,
)
from vinocast.forecast import windows
from vinocast.forecast.streams import NoStreams, Streams
from vinocast.jobs import Caller, ForecastJob, GlyphsJob, WideForecastJob
from vinocast.settings import REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from vinocast.engine.lifecycle import ServedForecaster
    from vinocast.engine.manifest import ForecasterManifest
    from vinocast.jobs import Answer
    from vinocast.settings import Settings


# The base64 of a raster's pixels without compression, in four colours; what waits in the lane is bounded by it.
BYTES_A_GLYPH = 100_000
# Channels that an error message names.
MOST_NAMED = 20
log = logging.getLogger(__name__)


class DataPlane:
    """Models, lane and statistics of one service. Everything but :meth:`start` is for the transport's one thread.

    Attributes:
        lane: what waits; the transport steps it.
        max_request_bytes: the longest request that the transport is to take in.
    """

    def __init__(self, settings: Settings, streams: Streams | None = None) -> None:
        self._profile = find_profile(settings.profile)
        self._budget = cpu_budget()
        self._repository = Repository(settings.models or bundled_models(), settings.default_model)
        self._statistics = Statistics()
        self._closed = False
        self._streams = streams or Streams(settings.max_streams, settings.stream_idle_seconds, settings.max_steps_ahead)
        self._queue_rows = settings.queue_rows
        self._strict_profile = settings.strict_profile
        self.lane = Lane(settings.queue_rows)
        self.max_request_bytes = _longest_request(settings.max_request_bytes, self._repository.widest)

    def start(self, wake: Callable[[], object], *, glyphs_on_demand: bool = False) -> None:
        """Load the models in the background; ``wake`` is called from that thread whenever one has settled.

        With ``glyphs_on_demand`` a glyph model is loaded for the first request that asks for it.
        """
        self._repository.load(
            self._profile,
            self._budget,
            lambda _: wake(),
            strict=self._strict_profile,
            on_demand=glyphs_on_demand,
        )

    def close(self) -> None:
        """Refuse new work and load no more models; what the lane holds is still to be stepped through."""
        self._closed = True
        self._repository.close()

    @property
    def default_model(self) -> ServedForecaster:
        """The model that answers when a request names none."""
        return self._repository.forecaster(None)

    @property
    def ready(self) -> bool:
        """Whether the default model has passed its self-test and new work is accepted."""
        return self.default_model.engine is not None and not self._closed

    @property
    def warm(self) -> bool:
        """Whether the service is ready, and no glyph model is still loading."""
        return self.ready and all(model.settled for model in self._repository.recognizers)

    @property
    def keeps_streams(self) -> bool:
        """Whether rows can be appended to streams, which several workers cannot share."""
        return not isinstance(self._streams, NoStreams)

    @property
    def recognizes(self) -> bool:
        """Whether there is a glyph model that has not been refused."""
        return any(model.refused is None for model in self._repository.recognizers)

    def forecast(
        self, fields: dict[str, Any], body: bytes, received: float, answer: Answer, *, wait_for_model: bool = True
    ) -> WideForecastJob | None:
        """Answer a forecast request, now if it is refused, else when the lane comes to it.

        Args:
            fields: the parsed body.
            body: its bytes, whose literals tell whether a window may hold booleans.
            received: ``time.monotonic`` of its receipt, from which the deadline counts.
            answer: called once with the reply.
            wait_for_model: let the request wait while its model loads, instead of refusing it.

        Returns the job of a wide forecast, so that it can be abandoned; none for any other.
        """
        caller = Caller(schemas.echo(fields), answer, self._statistics)
        try:
            if self._closed:
                raise ShuttingDownError("the service is shutting down")
            request = schemas.parse_forecast(fields)
            model = self._repository.forecaster(request.model)
            if not (wait_for_model or model.settled):
                raise NotReadyError(f"model {model.name} is still loading")
            window, newest = self._window(request, model, body)
            job = ForecastJob(
                caller=caller,
                model=model,
                window=window,
                newest=newest,
                targets=_targets(request.targets, model.manifest),
                deadline=None if request.deadline_ms is None else received + request.deadline_ms / 1e3,
                decoded=time.monotonic(),
            )
            if job.rows > SERIES_A_PART and model.manifest.layout == "series":
                wide = WideForecastJob(job)
                self.lane.submit_long(wide)
                return wide
            self.lane.submit(job)
        except RequestError as error:
            caller.refuse(error)
        return None

    def observe(self, fields: dict[str, Any], body: bytes, answer: Answer, *, stream: str | None = None) -> None:
        """Append rows to a stream and answer at once; the arguments are those of :meth:`forecast`.

        ``stream`` is the name in a path, where there is one.
        """
        caller = Caller(schemas.echo(fields), answer, self._statistics)
        try:
            request = schemas.validate(schemas.ObserveRequest, schemas.with_stream(fields, stream))
            manifest = self._repository.forecaster(request.model).manifest
            # One row may come without the brackets of the array of rows.
            one = not isinstance(request.values[0], list)
            values = windows.rows_to_array(
                [request.values] if one else request.values,
                len(manifest.channels),
                may_hold_booleans=windows.may_hold_booleans(body),
                field="values",
                one_row=one,
            )
            observed = self._streams.observe(
                request.stream, manifest.context, len(manifest.channels), values, request.timestamp_ms
            )
        except RequestError as error:
            caller.refuse(error)
        else:
            caller.succeed("observe", {"stream": request.stream, "rows": observed.rows, "missing": observed.missing})

    def forget(self, fields: dict[str, Any], answer: Answer, *, stream: str | None = None) -> None:
        """Drop a stream and answer at once; the arguments are those of :meth:`observe`."""
        caller = Caller(schemas.echo(fields), answer, self._statistics)
        try:
            request = schemas.validate(schemas.ForgetRequest, schemas.with_stream(fields, stream))
            dropped = self._streams.forget(request.stream)
        except RequestError as error:
            caller.refuse(error)
        else:
            reply = {"stream": request.stream, "rows": dropped.rows, "newest_timestamp_ms": dropped.newest_ms}
            caller.succeed("forget", reply)

    def glyphs(
        self, fields: dict[str, Any], body: bytes, answer: Answer, *, wait_for_model: bool = True
    ) -> GlyphsJob | None:
        """Answer a glyphs request in the lane; the arguments are those of :meth:`forecast`.

        Returns the job, so that it can be abandoned; none where the request was refused.
        """
        caller = Caller(schemas.echo(fields), answer, self._statistics)
        try:
            if self._closed:
                raise ShuttingDownError("the service is shutting down")
            request = schemas.parse_glyphs(fields)
            model = self._repository.recognizer(request.model)
            self._repository.demand(model)
            if not (wait_for_model or model.settled):
                raise NotReadyError(f"model {model.name} is still loading")
            glyphs, field = (
                (request.grids, "grids") if request.grids is not None else (request.rasters or [], "rasters")
            )
            if len(glyphs) > self._queue_rows:
                raise PayloadTooLargeError(f"{field}: expected at most {self._queue_rows}, got {len(glyphs)}", field)
            if len(body) > BYTES_A_GLYPH * len(glyphs) + BYTES_A_GLYPH:
                raise PayloadTooLargeError(f"{field}: expected at most {BYTES_A_GLYPH} bytes a glyph", field)
            job = GlyphsJob(
                caller,
                model,
                glyphs,
                field,
                request.topk,
                windows.may_hold_booleans(body),
                time.monotonic(),
                normalize=request.normalize,
            )
            self.lane.submit_long(job)
        except RequestError as error:
            caller.refuse(error)
            return None
        return job

    def streams(self) -> list[dict[str, Any]]:
        """Return what every stream holds."""
        return self._streams.describe()

    def _window(
        self, request: schemas.ForecastRequest, model: ServedForecaster, body: bytes
    ) -> tuple[NDArray[np.float32], dict[str, int | None]]:
        """Return the window and, where it is a stream's, what the reply says of the stream at this moment."""
        context, channels = model.manifest.context, len(model.manifest.channels)
        if request.past_values is not None:
            window = windows.window_from_rows(
                request.past_values, context, channels, may_hold_booleans=windows.may_hold_booleans(body)
            )
            return window, {}
        if request.past_values_b64 is not None and request.shape is not None:
            rows, columns = request.shape
            return windows.window_from_base64(request.past_values_b64, (rows, columns), context, channels), {}
        if request.stream is None:
            raise InvalidRequestError("expected past_values, past_values_b64 with shape, or stream", "past_values")
        stream = self._streams.find(request.stream)
        newest = {"newest_timestamp_ms": stream.newest_ms, "rows_since_newest": stream.rows_since_newest}
        return stream.window(context, channels), newest

    def refuse(self, echoed: dict[str, Any], error: RequestError, answer: Answer) -> None:
        """Answer with an error and count it."""
        Caller(echoed, answer, self._statistics).refuse(error)

    def succeed(self, op: str, echoed: dict[str, Any], reply: dict[str, Any], answer: Answer) -> None:
        """Answer with what was not computed, and count it."""
        self._statistics.success(op)
        answer(schemas.encode({**echoed, **reply, "success": True}), None)

    def ping(self) -> dict[str, Any]:
        """Return version, models, readiness, and which models are there but not served."""
        return {
            "version": __version__,
            "ready": self.ready,
            "degraded": [{"model": name, "error": str(error)} for name, error in self._repository.refused.items()],
            "default_model": self._repository.default,
            "profile": self._profile.name,
            "max_request_bytes": self.max_request_bytes,
            "models": [model.describe() for model in self._repository.models],
        }

    def stats(self) -> dict[str, Any]:
        """Return counters, latency quantiles and what waits."""
        return {**self._statistics.summary(), "queued_requests": len(self.lane), "queued_rows": self.lane.rows}


def _longest_request(wanted: int | None, widest: ServedForecaster) -> int:
    """Return the limit of a request's bytes: what was asked for, else the default or what the widest model needs."""
    needed = widest.manifest.window_bytes
    if wanted is None and needed > REQUEST_BYTES:
        log.info("requests may have up to %d bytes, which a window of %s may take as JSON", needed, widest.name)
    elif wanted is not None and needed > wanted:
        log.warning(
            "--max-request-bytes %d may be too few: a window of %s takes up to %d as JSON", wanted, widest.name, needed
        )
    return wanted or max(REQUEST_BYTES, needed)


def _targets(wanted: list[str | int] | None, manifest: ForecasterManifest) -> Sequence[int]:
    """Return channel indices; raises UnknownTargetError, or InvalidRequestError for one named twice."""
    count, places = len(manifest.channels), manifest.places
    if wanted is None:
        return range(count)
    indices: dict[int, None] = {}  # in their order
    for position, target in enumerate(wanted):
        path = f"targets[{position}]"
        if isinstance(target, int) and 0 <= target < count:
            index = target
        elif isinstance(target, str) and target in places:
            index = places[target]
        else:
            names = ", ".join([*manifest.channels[:MOST_NAMED], *(["…"] if count > MOST_NAMED else [])])
            raise UnknownTargetError(f"{path}: expected one of {names} or 0..{count - 1}, got {quote(target)}", path)
        if index in indices:
            raise InvalidRequestError(f"{path}: expected each target once, got {quote(target)} again", path)
        indices[index] = None
    return list(indices)
