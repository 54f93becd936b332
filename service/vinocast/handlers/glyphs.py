"""What answers ``glyphs``: what a request may hold, and its job in the lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vinocast.errors import InvalidRequestError, PayloadTooLargeError
from vinocast.glyphs.job import GlyphsJob
from vinocast.glyphs.kind import GLYPHS
from vinocast.handlers.loaded import check_loaded
from vinocast.settings import REPLY_BYTES

if TYPE_CHECKING:
    from vinocast import requests
    from vinocast.dataplane import DataPlane
    from vinocast.engine.ticket import Ticket

# The base64 of a raster's pixels without compression, in four colours; what waits in the lane is bounded by it.
BYTES_PER_GLYPH = 100_000
# What a label takes at most in a reply: of the bundled model's labels each takes up to 90 bytes.
LABEL_BYTES = 100
MOST_REPLIED_LABELS = REPLY_BYTES // LABEL_BYTES


def glyphs(plane: DataPlane, request: requests.Glyphs, ticket: Ticket) -> None:
    """Put glyphs into the lane; raises RequestError where they are refused."""
    model = plane.repository.find(GLYPHS, request.model)
    plane.loader.demand(model)
    check_loaded(model, ticket)
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
        ids=request.ids,
        deadline=request.deadline,
    )
    replied = count * min(request.topk, model.manifest.labels) * LABEL_BYTES
    ticket.claim.hold(ticket.claim.nbytes + job.nbytes + replied)
    plane.lane.submit_long(job)
    ticket.lasting = True
