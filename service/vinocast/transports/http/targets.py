"""The target of an HTTP request, brought into the form that routes know before they see it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from fastapi import Response

from vinocast.errors import InvalidRequestError, MethodNotAllowedError
from vinocast.transports.http.responses import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

ABSOLUTE = re.compile(rb"https?://([^/?#]+)(/.*)?", re.IGNORECASE | re.DOTALL)
BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
METHODS = ("GET", "HEAD", "POST", "DELETE")
ALLOW = {"Allow": ", ".join(METHODS)}
# Paths that say whether the service is well. They are answered where all else is refused.
HEALTH = frozenset({b"/livez", b"/readyz", b"/ping", b"/v2/health/live", b"/v2/health/ready"})
METRICS = b"/metrics"


class Targets:
    """An application in front of the routes, which takes targets of every form that HTTP/1.1 has.

    uvicorn reads each target as a path, and bytes that are not UTF-8 as question marks: two names become one.

    Args:
        routes: the application.
        endpoints: those of its endpoints that have one fixed path, by method and path: they are asked without the
            router, which takes as long as to parse a window in base64.
    """

    def __init__(self, routes: ASGIApp, endpoints: Mapping[tuple[str, bytes], ASGIApp]) -> None:
        self._routes = routes
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        raw: bytes = scope["raw_path"]
        # One test for nearly all: a path without escapes.
        if b"%" in raw or not raw.startswith(b"/"):
            await (_answer(scope) or self._routes)(scope, receive, send)
        else:
            await self._endpoints.get((scope["method"], raw), self._routes)(scope, receive, send)


def _answer(scope: Scope) -> Response | None:
    """Return the answer to a target that is no path of ours; else None, with the path set right in the scope."""
    raw: bytes = scope["raw_path"]
    if not raw.startswith(b"/"):
        if scope["method"] == "CONNECT":
            refused = Refusal(MethodNotAllowedError("CONNECT is not taken: this is no proxy"))
            refused.headers.update(ALLOW | {"Connection": "close"})
            return refused
        if raw == b"*" and scope["method"] == "OPTIONS":
            return Response(status_code=204, headers=ALLOW)
        absolute = ABSOLUTE.fullmatch(raw)
        if absolute is None:
            return Refusal(InvalidRequestError("target: expected a path, or an address that begins with http://"), 400)
        host, raw = absolute[1], absolute[2] or b"/"
        scope["headers"] = [(name, host if name == b"host" else value) for name, value in scope["headers"]]
        scope["raw_path"] = raw
    path = unquote_to_bytes(raw)
    if BROKEN_ESCAPE.search(raw) or b"\0" in path:
        return Refusal(InvalidRequestError("path: expected % and two hexadecimal digits, other than %00"), 400)
    try:
        scope["path"] = path.decode()
    except UnicodeDecodeError:
        return Refusal(InvalidRequestError("path: expected percent-encoded UTF-8, such as %C3%BC for ü"), 400)
    return None
