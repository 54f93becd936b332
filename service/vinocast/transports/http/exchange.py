"""A request over HTTP as those know it who answer it: its name, and whether it was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vinocast.monitoring.ended import Origin

if TYPE_CHECKING:
    from starlette.types import Scope

    from vinocast.errors import RequestError

KEY = "exchange"


@dataclass(slots=True)
class Exchange:
    """A request over HTTP, as it stands in the state of its scope.

    Attributes:
        http_id: its name.
        trace: its trace context; empty where it has none.
        refused: the error of a request that no protocol has seen.
    """

    http_id: str
    trace: str
    refused: RequestError | None = None


def origin_of(scope: Scope, protocol: str, route: str) -> Origin:
    """Return by which way a request came."""
    exchange: Exchange = scope["state"][KEY]
    return Origin(protocol, route, exchange.http_id, exchange.trace)


def note_refusal(scope: Scope, error: RequestError) -> None:
    """Have a refusal told of that no protocol has seen."""
    exchange: Exchange = scope["state"][KEY]
    exchange.refused = error.without_frames()
