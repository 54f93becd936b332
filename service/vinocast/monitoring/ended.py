"""A request that has ended, as those who watch a service are told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import orjson

if TYPE_CHECKING:
    from vinocast.errors import RequestError


@dataclass(slots=True)
class Origin:
    """By which way a request came.

    Attributes:
        protocol: ``lines``, ``http``, or the name of another standard.
        route: over HTTP the path of its route, with the names of fields in braces; empty elsewhere.
        http_id: its ``X-Request-ID``, the client's or one of ours; empty where it did not come over HTTP.
        trace: its ``traceparent`` as W3C's trace context writes it; empty where it has none.
    """

    protocol: str
    route: str = ""
    http_id: str = ""
    trace: str = ""


@dataclass(slots=True)
class Ended:
    """A request that was answered or refused, once.

    Attributes:
        origin: by which way it came.
        op: what it asked for; empty where it was refused before that was known.
        request_id: what the client calls it; None where it has no name, or it could not be read.
        error: why it was refused; None where it was answered.
        seconds: from its receipt to its reply.
        model: the name of the model that has computed the answer; empty where none has.
        inference_seconds: of the infer() calls alone.
        queue_seconds: from the decoded request to its start.
    """

    origin: Origin
    op: str
    request_id: str | int | orjson.Fragment | None
    error: RequestError | None
    seconds: float
    model: str = ""
    inference_seconds: float = 0.0
    queue_seconds: float = 0.0

    def called(self) -> str | int | None:
        """Return what the client calls it, as a text or a number of any size."""
        given = self.request_id
        # What is beyond 64 bits is repeated as it is written.
        return int(orjson.dumps(given)) if isinstance(given, orjson.Fragment) else given


Watch: TypeAlias = Callable[[Ended], None]
