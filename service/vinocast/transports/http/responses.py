"""Replies as HTTP responses, and refusals of requests that no endpoint has seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi import Response
from starlette.exceptions import HTTPException

from vinocast.dataplane import Claim
from vinocast.errors import (
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    RequestError,
)
from vinocast.protocols.base import Framed
from vinocast.protocols.json import echo, encode, failure
from vinocast.transports.http.bodies import discard_body
from vinocast.transports.http.exchange import note_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vinocast.dataplane import DataPlane

# What a transport keeps of its own before it says that there is no room.
LARGE_REPLY = 1 << 16
JSON = (b"content-type", b"application/json")
# Paths whose refusals have the form of the Open Inference Protocol, whether or not there is such a route.
OPEN_INFERENCE = re.compile(rb"/v2(?:/|$)")


def fields_of(reply: bytes, error: RequestError | None) -> list[tuple[bytes, bytes]]:
    """Return the fields of the header of a reply: what it is, how long, and when to ask again."""
    what = reply.headers if isinstance(reply, Framed) else (JSON,)
    fields = [*what, (b"content-length", b"%d" % len(reply))]
    if error is not None and error.retryable:
        fields.append((b"retry-after", b"%d" % error.retry_after))
    return fields


async def respond(
    receive: Receive,
    send: Send,
    reply: bytes,
    error: RequestError | None,
    claim: Claim,
    *,
    body_read: bool,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send a reply, with the status of its error, and hold a claim for it until it is taken.

    To a body that there is no room for the reply goes out at once, and the rest of the request is taken in and
    thrown away: many clients read no reply before they have sent everything, and a connection closed on them would be
    all they see.
    """
    status = error.status if error else 200
    await send({"type": "http.response.start", "status": status, "headers": [*fields_of(reply, error), *headers]})
    if isinstance(error, PayloadTooLargeError | OverloadedError) and not body_read:  # else nothing more would come
        await send({"type": "http.response.body", "body": reply, "more_body": True})
        await discard_body(receive)
        reply = b""
    elif len(reply) > LARGE_REPLY:
        claim.must_hold(len(reply))
        await send({"type": "http.response.body", "body": reply, "more_body": True})
        reply = b""  # which is sent once the transport has room again
    await send({"type": "http.response.body", "body": reply})


class BudgetedResponse(Response):
    """A JSON reply that no op has made, refused as overloaded where it is large and the budget has no room for it."""

    def __init__(self, reply: Mapping[str, Any], plane: DataPlane) -> None:
        super().__init__(encode(reply), media_type="application/json")
        self._budget = plane.budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply, and hold its room until it is taken."""
        reply, error, claim = bytes(self.body), None, Claim(self._budget)
        try:
            if len(reply) > LARGE_REPLY:
                claim.hold(len(reply))
        except OverloadedError as no_room:
            reply, error = refusal(no_room), no_room
            note_refusal(scope, no_room)
        try:
            await respond(receive, send, reply, error, claim, body_read=True)
        finally:
            claim.release()


def refusal(error: RequestError, path: str | bytes = "") -> bytes:
    """Return the refusal of a request that says nothing of itself, in the form that goes with its path."""
    if OPEN_INFERENCE.match(path if isinstance(path, bytes) else path.encode()):
        return encode({"error": error.message})
    return failure(echo({}), error)


class Refusal(Response):
    """The response to a request that says nothing of itself, with the status of its error or another."""

    def __init__(self, error: RequestError, status: int | None = None, path: str | bytes = "") -> None:
        body = refusal(error, path)
        headers = {name.decode(): value.decode() for name, value in fields_of(body, error)}
        super().__init__(body, status_code=status or error.status, headers=headers)
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and have it told of."""
        note_refusal(scope, self._error)
        await super().__call__(scope, receive, send)


async def http_exception(request: Request, exception: Exception) -> Response:
    """Answer what the router refuses."""
    status = exception.status_code if isinstance(exception, HTTPException) else 500
    path = request.scope["path"]  # not that of request.url, which a Host header can make unreadable
    match status:
        case 404:
            return Refusal(NotFoundError(f"no route {path}; see /docs"), path=path)
        case 405:
            response = Refusal(MethodNotAllowedError(f"{path} does not take {request.method}"), path=path)
            response.headers.update(getattr(exception, "headers", None) or {})
            return response
        case _:
            return Refusal(InvalidRequestError(str(exception)), path=path)


class Faults:
    """An application in front of another, which answers a fault of ours and logs it once.

    A handler of exceptions would not do: the exception goes on from there, and is logged again by whoever sees it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; a response that a fault breaks off ends with the connection."""
        begun = False

        async def begin(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, begin)
        except Exception as error:  # noqa: BLE001 - whatever it is
            response = Refusal(InternalError.logged(error), path=scope["path"])
            if not begun:
                await response(scope, receive, send)
