"""Replies as HTTP responses, and refusals of requests that no endpoint has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Response
from starlette.exceptions import HTTPException

from vinocast.errors import (
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    RequestError,
)
from vinocast.protocols.json import echo, failure
from vinocast.transports.http.bodies import discard_body

if TYPE_CHECKING:
    from fastapi import Request
    from starlette.types import Receive, Send

    from vinocast.dataplane import Claim

# What a transport keeps of its own before it says that there is no room.
LARGE_REPLY = 1 << 16
JSON = (b"content-type", b"application/json")


def fields_of(reply: bytes, error: RequestError | None) -> list[tuple[bytes, bytes]]:
    """Return the fields of the header of a reply: what it is, how long, and when to ask again."""
    fields = [JSON, (b"content-length", b"%d" % len(reply))]
    if error is not None and error.retryable:
        fields.append((b"retry-after", b"%d" % error.retry_after))
    return fields


async def respond(
    receive: Receive, send: Send, reply: bytes, error: RequestError | None, claim: Claim, *, body_read: bool
) -> None:
    """Send a reply, with the status of its error, and hold a claim for it until it is taken.

    To a body that there is no room for the reply goes out at once, and the rest of the request is taken in and
    thrown away: many clients read no reply before they have sent everything, and a connection closed on them would be
    all they see.
    """
    status = error.status if error else 200
    await send({"type": "http.response.start", "status": status, "headers": fields_of(reply, error)})
    if isinstance(error, PayloadTooLargeError | OverloadedError) and not body_read:  # else nothing more would come
        await send({"type": "http.response.body", "body": reply, "more_body": True})
        await discard_body(receive)
        reply = b""
    elif len(reply) > LARGE_REPLY:
        claim.must_hold(len(reply))
        await send({"type": "http.response.body", "body": reply, "more_body": True})
        reply = b""  # which is sent once the transport has room again
    await send({"type": "http.response.body", "body": reply})


def refusal(error: RequestError) -> bytes:
    """Return the error envelope of a request that says nothing of itself."""
    return failure(echo({}), error)


def refuse(error: RequestError, status: int | None = None) -> Response:
    """Return the response to a request that says nothing of itself, with the status of its error or another."""
    body = refusal(error)
    headers = {name.decode(): value.decode() for name, value in fields_of(body, error)}
    return Response(body, status_code=status or error.status, headers=headers)


async def http_exception(request: Request, exception: Exception) -> Response:
    """Answer what the router refuses."""
    status = exception.status_code if isinstance(exception, HTTPException) else 500
    path = request.scope["path"]  # not that of request.url, which a Host header can make unreadable
    match status:
        case 404:
            return refuse(NotFoundError(f"no route {path}; see /docs"))
        case 405:
            response = refuse(MethodNotAllowedError(f"{path} does not take {request.method}"))
            response.headers.update(getattr(exception, "headers", None) or {})
            return response
        case _:
            return refuse(InvalidRequestError(str(exception)))


async def internal_error(_request: Request, exception: Exception) -> Response:
    """Answer a fault of ours."""
    return refuse(InternalError.logged(exception))
