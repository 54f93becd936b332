"""What answers each op: a typed request, the data plane that it was asked of, and the ticket to answer it by."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast import __version__
from vinocast.engine.lifecycle import ModelState
from vinocast.errors import InvalidRequestError, NotReadyError, PayloadTooLargeError
from vinocast.forecast.job import ForecastJob, SeriesJob, WideForecastJob
from vinocast.forecast.kind import FORECASTER
from vinocast.forecast.manifest import SERIES_PER_PART
from vinocast.forecast.prepare import count_times, fill_gaps, follow, pad_front, step_of
from vinocast.forecast.targets import choose_targets, name_columns
from vinocast.glyphs.job import GlyphsJob
from vinocast.glyphs.kind import GLYPHS
from vinocast.requests import Forgotten, Observed, StreamPosition
from vinocast.settings import REPLY_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast import requests
    from vinocast.dataplane import DataPlane
    from vinocast.engine.kinds import AnyServedModel
    from vinocast.engine.lane import Job
    from vinocast.engine.ticket import Ticket
    from vinocast.errors import RequestError
    from vinocast.forecast.kind import ServedForecaster
    from vinocast.forecast.manifest import ForecasterManifest
    from vinocast.forecast.targets import Columns

# The base64 of a raster's pixels without compression, in four colours; what waits in the lane is bounded by it.
BYTES_PER_GLYPH = 100_000
# What a label and a number of a forecast take at most in a reply: of the bundled model's labels each takes up to 90
# bytes; a number -1234567900000000.0 with what stands around it, where it is a row of its own, up to 21.
LABEL_BYTES, NUMBER_BYTES = 100, 24
# What one of the times takes at most: a text of 64 characters with what stands around it.
TIME_BYTES = 80
MOST_REPLIED_LABELS = REPLY_BYTES // LABEL_BYTES
FLOAT32 = 4
# How often a forecast is fed back at most, the first among them.
MOST_HORIZONS = 16
# What ping calls the states of a model.
STATES = {
    ModelState.REGISTERED: "not_loaded",
    ModelState.LOADING: "loading",
    ModelState.READY: "ready",
    ModelState.DEGRADED: "ready",
    ModelState.REFUSED: "failed",
    ModelState.UNLOADING: "not_loaded",
}


def forecast(plane: DataPlane, request: requests.Forecast, ticket: Ticket) -> None:
    """Put a forecast into the lane; raises RequestError where it is refused."""
    model = plane.repository.find(FORECASTER, request.model)
    _check_loaded(model, ticket)
    manifest = model.manifest
    steps = manifest.horizon if request.prediction_length is None else _steps(request, manifest, model.name)
    if request.quantile_levels is not None and model.engine is not None:
        model.engine.check_quantiles()
    if request.series is not None:
        _forecast_series(plane, request, request.series, model, steps, ticket)
        return
    columns: Columns = manifest
    if request.channels is not None:
        _check_series(model, "channels")
        if len(request.channels) > plane.queue_rows:
            most = f"at most {plane.queue_rows} names"
            raise PayloadTooLargeError(f"channels: expected {most}, got {len(request.channels)}", "channels")
        columns = name_columns(request.channels)
    targets = choose_targets(request.targets, columns)
    beyond = request.beyond_a_window
    replied = _replied(request, steps, len(targets), times=1) if beyond else steps * len(targets) * NUMBER_BYTES
    if replied > REPLY_BYTES:
        raise _too_long("targets", request, steps, len(targets), times=1)
    window, position = _window(plane, request, manifest.context, len(columns.channels))
    ticket.claim.hold(ticket.claim.nbytes + manifest.context * len(columns.channels) * FLOAT32 + replied)
    names = columns.channels
    job = ForecastJob(
        ticket,
        model,
        window,
        targets,
        names if request.targets is None else [names[index] for index in targets],
        steps,
        request.deadline,
        time.monotonic(),
        position,
    )
    if beyond:
        _add_terms(plane, request, job)
    if request.stream is not None and not job.padded:
        job.expected = plane.streams.find(request.stream).expect(model.name, manifest.horizon)
    together = min(len(manifest.channels), SERIES_PER_PART)
    if (job.rows > together and manifest.layout == "series") or steps > manifest.horizon:
        plane.lane.submit_long(WideForecastJob(job))
        ticket.lasting = True
    else:
        plane.lane.submit(job)


def _forecast_series(
    plane: DataPlane,
    request: requests.Forecast,
    source: requests.SeriesSource,
    model: ServedForecaster,
    steps: int,
    ticket: Ticket,
) -> None:
    """Put forecasts of series into the lane; raises RequestError where they are refused."""
    _check_series(model, "inputs")
    count = len(source)
    if count > plane.queue_rows:
        raise PayloadTooLargeError(f"inputs: expected at most {plane.queue_rows}, got {count}", "inputs")
    replied = _replied(request, steps, count, times=count)
    if replied > REPLY_BYTES:
        raise _too_long("inputs", request, steps, count, times=count)
    count_times(request, steps)
    job = SeriesJob(ticket, model, source, request, step_of(request.freq), plane.max_missing_share)
    ticket.claim.hold(ticket.claim.nbytes + job.nbytes + replied)
    plane.lane.submit_long(job)
    ticket.lasting = True


def glyphs(plane: DataPlane, request: requests.Glyphs, ticket: Ticket) -> None:
    """Put glyphs into the lane; raises RequestError where they are refused."""
    model = plane.repository.find(GLYPHS, request.model)
    plane.repository.demand(model)
    _check_loaded(model, ticket)
    source = request.grids or request.rasters
    if source is None:
        raise InvalidRequestError("expected exactly one of grids and rasters", "grids")
    field, count = source.field, len(source)
    most = min(plane.queue_rows, MOST_REPLIED_LABELS)
    if count > most:
        raise PayloadTooLargeError(f"{field}: expected at most {most}, got {count}", field)
    if count * min(request.topk, model.manifest.labels) > MOST_REPLIED_LABELS:
        most = MOST_REPLIED_LABELS // count
        raise PayloadTooLargeError(f"topk: expected at most {most} of {count} glyphs, got {request.topk}", "topk")
    if source.nbytes > BYTES_PER_GLYPH * (count + 1):
        raise PayloadTooLargeError(f"{field}: expected at most {BYTES_PER_GLYPH} bytes a glyph", field)
    job = GlyphsJob(
        ticket,
        model,
        request.topk,
        grids=request.grids,
        rasters=request.rasters,
        normalize=request.normalize,
    )
    replied = count * min(request.topk, model.manifest.labels) * LABEL_BYTES
    ticket.claim.hold(ticket.claim.nbytes + job.nbytes + replied)
    plane.lane.submit_long(job)
    ticket.lasting = True


def observe(plane: DataPlane, request: requests.Observe, ticket: Ticket) -> None:
    """Append rows to a stream; raises RequestError where they are refused."""
    manifest = plane.repository.find(FORECASTER, request.model).manifest
    values = request.source.rows(len(manifest.channels))
    observed = plane.streams.observe(
        request.stream, manifest.context, len(manifest.channels), values, request.timestamp_ms
    )
    ticket.succeed(Observed(request.stream, observed.rows, observed.missing))


def forget(plane: DataPlane, request: requests.Forget, ticket: Ticket) -> None:
    """Drop a stream; raises UnknownStreamError."""
    dropped = plane.streams.forget(request.stream)
    ticket.succeed(Forgotten(request.stream, dropped.rows, dropped.newest_ms))


def ping(plane: DataPlane, _request: object, ticket: Ticket) -> None:
    """Say what is served, once the default model has settled."""
    job = _PingJob(plane, ticket)
    if job.runnable():
        job.run([job])
    else:
        plane.lane.submit(job)


def stats(plane: DataPlane, _request: object, ticket: Ticket) -> None:
    """Say what was counted, and what waits."""
    waiting = {
        "queued_requests": plane.lane.computing,
        "queued_rows": plane.lane.rows,
        "waiting_bytes": plane.budget.taken - ticket.claim.nbytes,
    }
    ticket.succeed({**plane.statistics.summary(), **waiting})


def pong(plane: DataPlane, *, whole: bool = False) -> dict[str, Any]:
    """Return version, models, readiness, and which models are there but not served.

    With ``whole`` the reasons name paths and hashes, which are for the process that has started the service, and not
    for everyone who reaches it over a network.
    """
    refused = plane.repository.refused if whole else plane.repository.reasons
    return {
        "version": __version__,
        "ready": plane.ready,
        "degraded": [{"model": name, "error": error} for name, error in refused.items()],
        "default_model": plane.repository.default,
        "profile": plane.profile.name,
        "max_request_bytes": plane.max_request_bytes,
        "models": [_described(model, refused.get(model.name)) for model in plane.repository.models],
        "max_waiting_bytes": plane.budget.most,
    }


class _PingJob:
    """A ping that waits in the lane until the default model has settled."""

    rows = 0
    deadline = None

    def __init__(self, plane: DataPlane, ticket: Ticket) -> None:
        self._plane = plane
        self._ticket = ticket

    def runnable(self) -> bool:
        return self._plane.settled

    def joins(self, first: Job, rows: int) -> bool:  # noqa: ARG002 - the signature of a job
        return False

    def run(self, together: Sequence[Job]) -> None:  # noqa: ARG002 - the signature of a job
        try:
            answer = pong(self._plane, whole=True)
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self._ticket.fail(error)
        else:
            self._ticket.succeed(answer)

    def fail(self, error: RequestError) -> None:
        self._ticket.refuse(error)


def _described(model: AnyServedModel, refused: str | None) -> dict[str, Any]:
    """Return what ``ping`` says of a model; ``warnings`` where there are any."""
    engine = model.engine
    described: dict[str, Any] = {
        "name": model.name,
        "kind": model.kind.name,
        "state": STATES[model.lifecycle.state],
        "error": refused,
        **model.manifest.described(),
        "precision": engine.precision if engine else model.manifest.precision,
        "batch_sizes": engine.compiled_counts if engine else [],
        "in_force": engine.in_force if engine else None,
    }
    if engine and engine.warnings:
        described["warnings"] = engine.warnings
    return described


def _check_loaded(model: AnyServedModel, ticket: Ticket) -> None:
    """Raise NotReadyError for a request that does not wait for its model, which is still loading."""
    if not (ticket.patient or model.settled):
        raise NotReadyError(f"model {model.name} is still loading")


def _window(
    plane: DataPlane, request: requests.Forecast, context: int, channels: int
) -> tuple[NDArray[np.float32], StreamPosition | None]:
    """Return the window as it came and, where it is a stream's, where the stream stands at this moment."""
    fewer, gaps = request.short == "pad", request.missing == "interpolate"
    if request.source is not None:
        return request.source.window(context, channels, fewer=fewer, gaps=gaps), None
    if request.stream is None:
        raise InvalidRequestError("expected past_values, past_values_b64 with shape, stream or inputs", "past_values")
    stream = plane.streams.find(request.stream)
    return stream.window(context, channels, fewer=fewer), StreamPosition(stream.newest_ms, stream.rows_since_newest)


def _steps(request: requests.Forecast, manifest: ForecasterManifest, name: str) -> int:
    """Return how many steps are wanted; raises InvalidRequestError where they are too many."""
    horizon = manifest.horizon
    steps = request.prediction_length or horizon
    if steps <= horizon:
        return steps
    most = MOST_HORIZONS * horizon
    if not request.rollout or steps > most:
        hint = "" if request.rollout else f'; "rollout": true feeds forecasts back, up to {most}'
        wanted = f"at most {most}, {MOST_HORIZONS} times" if request.rollout else f"1 to {horizon},"
        raise InvalidRequestError(
            f"prediction_length: expected {wanted} the horizon of model {name}, got {steps}{hint}", "prediction_length"
        )
    if request.quantile_levels is not None:
        raise InvalidRequestError(
            f"quantile_levels: expected a prediction_length of at most {horizon} beside it, got {steps}: how sure a "
            "forecast of forecasts is, nothing tells",
            "quantile_levels",
        )
    return steps


def _check_series(model: ServedForecaster, field: str) -> None:
    """Raise InvalidRequestError where the channels of a model cannot stand for each other, nor for any other series."""
    if model.manifest.layout != "series":
        raise InvalidRequestError(
            f"{field}: expected none with model {model.name}, which forecasts all of its channels together: send its "
            "own as a window",
            field,
        )


def _replied(request: requests.Forecast, steps: int, count: int, *, times: int) -> int:
    """Return how many bytes so many series take at most in a reply, with so many lists of times."""
    numbers = count * (1 + len(request.quantile_levels or ()))
    return steps * (numbers * NUMBER_BYTES + (times * TIME_BYTES if request.freq or request.step_ms else 0))


def _too_long(field: str, request: requests.Forecast, steps: int, count: int, *, times: int) -> PayloadTooLargeError:
    """Return the refusal of more series than a reply may hold."""
    most = count * REPLY_BYTES // _replied(request, steps, count, times=times)
    levels = f" and {len(request.quantile_levels)} quantiles" if request.quantile_levels else ""
    return PayloadTooLargeError(
        f"{field}: expected at most {most} of {steps} steps{levels} for a reply, got {count}; ask for the others in "
        "another request",
        field,
    )


def _add_terms(plane: DataPlane, request: requests.Forecast, job: ForecastJob) -> None:
    """Fill and pad the window of a job, and add what else is asked for; raises RequestError."""
    manifest, window = job.model.manifest, job.window
    rows = len(window)
    job.levels = request.quantile_levels
    job.known = None if request.channels is not None else job.targets
    job.timestamps = count_times(request, job.steps)
    if request.start is not None and (freq := step_of(request.freq)) is not None:
        job.timestamps = follow(request.start, freq, rows, job.steps, "start")
    gaps = request.missing == "interpolate" and np.isnan(window).any()
    if not gaps and rows == manifest.context:
        return
    if manifest.layout == "series":  # the others are not looked at
        window = window[:, list(job.targets)]
        job.targets, names = range(len(job.targets)), job.channels
    else:
        window, names = window.copy(), manifest.channels
    if gaps:
        path = request.source.field if request.source is not None else "stream"
        job.filled = fill_gaps(window, plane.max_missing_share, path, names)
    if rows < manifest.context:
        job.padded = manifest.context - rows
        window = pad_front(window, manifest.context)
    job.window = window
