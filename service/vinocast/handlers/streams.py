"""What answers the ops of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vinocast.errors import InvalidRequestError, quote
from vinocast.forecast.kind import FORECASTER
from vinocast.handlers.bars import is_market
from vinocast.market.channels import WARM_UP
from vinocast.requests import Forgotten, Observed

if TYPE_CHECKING:
    from vinocast import requests
    from vinocast.dataplane import DataPlane
    from vinocast.engine.ticket import Ticket


def observe(plane: DataPlane, request: requests.Observe, ticket: Ticket) -> None:
    """Append rows to a stream; raises RequestError where they are refused."""
    if is_market(request.stream):
        raise InvalidRequestError(
            f"stream: expected another name than {quote(request.stream)}, which is one of a market stream: those take "
            'raw messages (op "feed") and candles (op "history")',
            "stream",
        )
    manifest = plane.repository.find(FORECASTER, request.model).manifest
    values = request.source.rows(len(manifest.channels))
    observed = plane.streams.observe(
        request.stream, manifest.context, len(manifest.channels), values, request.timestamp_ms
    )
    ticket.succeed(Observed(request.stream, observed.rows, observed.missing))


def forget(plane: DataPlane, request: requests.Forget, ticket: Ticket) -> None:
    """Drop a stream; raises UnknownStreamError."""
    if plane.market is not None and is_market(request.stream):
        bars = plane.market.forget(request.stream)
        plane.followed.pop(bars.name, None)
        ticket.succeed(Forgotten(bars.name, bars.rows, bars.newest_ms))
        return
    dropped = plane.streams.forget(request.stream)
    ticket.succeed(Forgotten(request.stream, dropped.rows, dropped.newest_ms))


def describe(plane: DataPlane) -> list[dict[str, Any]]:
    """Return name, rows, missing rows and newest timestamp of every stream, market streams last."""
    context = plane.general_model.manifest.context
    needed = context + WARM_UP
    held = plane.market.streams if plane.market else ()
    return plane.streams.describe() + [
        {
            "stream": stream.name,
            "rows": stream.rows,
            "missing": max(0, needed - stream.rows),
            "timestamp_ms": stream.newest_ms,
        }
        for stream in held
    ]
