"""What answers each op: a typed request, the data plane that it was asked of, and the ticket to answer it by."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vinocast import __version__
from vinocast.engine.lifecycle import ModelState
from vinocast.errors import InvalidRequestError, NotReadyError, PayloadTooLargeError
from vinocast.forecast.job import ForecastJob, WideForecastJob
from vinocast.forecast.kind import FORECASTER
from vinocast.forecast.manifest import SERIES_PER_PART
from vinocast.forecast.targets import choose_targets
from vinocast.glyphs.job import GlyphsJob
from vinocast.glyphs.kind import GLYPHS
from vinocast.requests import Forgotten, Observed, StreamPosition
from vinocast.settings import REPLY_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vinocast import requests
    from vinocast.dataplane import DataPlane
    from vinocast.engine.kinds import AnyServedModel
    from vinocast.engine.lane import Job
    from vinocast.engine.ticket import Ticket
    from vinocast.errors import RequestError
    from vinocast.forecast.kind import ServedForecaster

# The base64 of a raster's pixels without compression, in four colours; what waits in the lane is bounded by it.
BYTES_PER_GLYPH = 100_000
# What a label and a number of a forecast take at most in a reply: of the bundled model's labels each takes up to 90
# bytes; a number -1234567900000000.0 with what stands around it, where it is a row of its own, up to 21.
LABEL_BYTES, NUMBER_BYTES = 100, 24
MOST_REPLIED_LABELS = REPLY_BYTES // LABEL_BYTES
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
    targets = choose_targets(request.targets, model.manifest)
    most = REPLY_BYTES // (NUMBER_BYTES * model.manifest.horizon)
    if len(targets) > most:
        raise PayloadTooLargeError(f"targets: expected at most {most} for a reply, got {len(targets)}", "targets")
    window, position = _window(plane, request, model)
    replied = len(targets) * model.manifest.horizon * NUMBER_BYTES
    ticket.claim.hold(ticket.claim.nbytes + window.nbytes + replied)
    job = ForecastJob(
        ticket,
        model,
        window,
        position,
        targets,
        request.deadline,
        time.monotonic(),
    )
    if job.rows > SERIES_PER_PART and model.manifest.layout == "series":
        plane.lane.submit_long(WideForecastJob(job))
        ticket.lasting = True
    else:
        plane.lane.submit(job)


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
    plane: DataPlane, request: requests.Forecast, model: ServedForecaster
) -> tuple[NDArray[np.float32], StreamPosition | None]:
    """Return the window and, where it is a stream's, where the stream stands at this moment."""
    context, channels = model.manifest.context, len(model.manifest.channels)
    if request.source is not None:
        return request.source.window(context, channels), None
    if request.stream is None:
        raise InvalidRequestError("expected past_values, past_values_b64 with shape, or stream", "past_values")
    stream = plane.streams.find(request.stream)
    return stream.window(context, channels), StreamPosition(stream.newest_ms, stream.rows_since_newest)
