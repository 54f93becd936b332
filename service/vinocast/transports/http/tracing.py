"""Each request by its name: ``X-Request-ID`` and W3C's trace context, taken, echoed, and told of with its end."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from typing import TYPE_CHECKING

from vinocast.monitoring.ended import Ended, Origin
from vinocast.transports.http.exchange import KEY, Exchange
from vinocast.transports.http.targets import HEALTH

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vinocast.dataplane import DataPlane
    from vinocast.errors import RequestError

REQUEST_ID, TRACE = b"x-request-id", b"traceparent"
# What whoever watches knows our own routes by, and whatever is none of a standard.
PROTOCOL = "http"
# What is echoed and logged as it came; for anything else a name of ours is given.
TAKEN_ID = re.compile(rb"[\x21-\x7e]{1,128}")
TAKEN_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def taken_trace(given: bytes) -> str:
    """Return a ``traceparent`` where it is one, else nothing."""
    return given.decode() if TAKEN_TRACE.fullmatch(given) else ""


class Tracing:
    """An application in front of all others, which names each request."""

    def __init__(self, app: ASGIApp, plane: DataPlane) -> None:
        self._app = app
        self._plane = plane
        self._own = map(f"{secrets.token_hex(4)}-{{:x}}".format, itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its response with the names; tell of its end where nobody else has."""
        received = time.monotonic()
        given = dict.fromkeys((REQUEST_ID, TRACE), b"")
        given.update([field for field in scope["headers"] if field[0] in given])
        http_id = given[REQUEST_ID].decode() if TAKEN_ID.fullmatch(given[REQUEST_ID]) else next(self._own)
        trace = taken_trace(given[TRACE])
        exchange = scope["state"][KEY] = Exchange(http_id, trace)
        names = [(REQUEST_ID, http_id.encode()), *([(TRACE, trace.encode())] if trace else [])]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *names]
            await send(message)

        await self._app(scope, receive, answer)
        if exchange.refused is not None and scope["raw_path"] not in HEALTH:  # a probe, which comes again
            self._tell(http_id, trace, exchange.refused, time.monotonic() - received)

    def refuse_unread(self, error: RequestError) -> tuple[bytes, bytes]:
        """Tell of a request that no application has seen; return the field of the response with its name."""
        http_id = next(self._own)
        self._tell(http_id, "", error, 0.0)
        return REQUEST_ID, http_id.encode()

    def _tell(self, http_id: str, trace: str, error: RequestError, seconds: float) -> None:
        self._plane.count_refusal(error)
        self._plane.tell(Ended(Origin(PROTOCOL, "", http_id, trace), "", None, error, seconds))
