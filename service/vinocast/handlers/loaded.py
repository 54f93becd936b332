"""Whether a request's model can answer it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vinocast.errors import NotReadyError

if TYPE_CHECKING:
    from vinocast.engine.kinds import AnyServedModel
    from vinocast.engine.ticket import Ticket


def check_loaded(model: AnyServedModel, ticket: Ticket) -> None:
    """Raise NotReadyError for a request that does not wait for its model, which is still loading."""
    if not (ticket.patient or model.settled):
        raise NotReadyError(f"model {model.label} is still loading")
