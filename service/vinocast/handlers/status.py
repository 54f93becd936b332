"""What answers questions about the service: ``ping`` and ``stats``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vinocast import __version__
from vinocast.engine.lifecycle import ModelState
from vinocast.handlers.waiting import Waiting

if TYPE_CHECKING:
    from vinocast.dataplane import DataPlane
    from vinocast.engine.kinds import AnyServedModel
    from vinocast.engine.ticket import Ticket

# What ping calls the states of a model.
STATES = {
    ModelState.REGISTERED: "not_loaded",
    ModelState.LOADING: "loading",
    ModelState.READY: "ready",
    ModelState.DEGRADED: "ready",
    ModelState.REFUSED: "failed",
    ModelState.UNLOADING: "unloading",
    ModelState.UNLOADED: "unloaded",
}


def ping(plane: DataPlane, _request: object, ticket: Ticket) -> None:
    """Say what is served, once the default model has settled."""
    job = Waiting(ticket, lambda: plane.settled, lambda: pong(plane, whole=True))
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
    market = {}
    if plane.market is not None:
        market["market"] = {"streams": len(plane.market.streams), "counts": plane.market.counts.told()}
    ticket.succeed({**plane.statistics.summary(), **waiting, **market})


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
        "models": [_described(plane, model, refused.get(model.label)) for model in plane.repository.models],
        "max_waiting_bytes": plane.budget.most,
    }


def _described(plane: DataPlane, model: AnyServedModel, refused: str | None) -> dict[str, Any]:
    """Return what ``ping`` says of a model; ``warnings`` where there are any, ``degraded`` where it is."""
    engine = model.engine
    described: dict[str, Any] = {
        "name": model.name,
        "version": model.folder.version,
        "default_version": plane.repository.answers(model),
        "kind": model.kind.name,
        "state": STATES[model.lifecycle.state],
        "error": refused,
        **model.manifest.described(),
        "precision": engine.precision if engine else model.manifest.precision,
        "batch_sizes": engine.compiled_counts if engine else [],
        "in_force": engine.in_force if engine else None,
    }
    if model.lifecycle.state is ModelState.DEGRADED:
        described["degraded"] = model.lifecycle.reason
    if engine and engine.warnings:
        described["warnings"] = engine.warnings
    return described
