"""What answers the ops of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vinocast.forecast.kind import FORECASTER
from vinocast.requests import Forgotten, Observed

if TYPE_CHECKING:
    from vinocast import requests
    from vinocast.dataplane import DataPlane
    from vinocast.engine.ticket import Ticket


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
