"""Replies as HTTP responses, and faults of a request that no route has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Response
from starlette.exceptions import HTTPException

from vinocast import schemas
from vinocast.errors import (
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    RequestError,
)
from vinocast.transports.http.bodies import RefusalOfBody

if TYPE_CHECKING:
    from fastapi import Request

RETRY_AFTER_SECONDS = "1"


def respond(reply: bytes, error: RequestError | None, status: int | None = None) -> Response:
    """Return a reply as a response, with the status of its error unless another is named."""
    kind = RefusalOfBody if isinstance(error, PayloadTooLargeError) else Response
    status = status or (error.status if error else 200)
    response = kind(reply, status_code=status, media_type="application/json")
    if error is not None and error.retryable:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def refusal(error: RequestError) -> bytes:
    """Return the error envelope of a request that says nothing of itself."""
    return schemas.failure(schemas.echo({}), error)


def refuse(error: RequestError, status: int | None = None) -> Response:
    """Return the response to a request that says nothing of itself."""
    return respond(refusal(error), error, status)


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


async def client_left(_request: Request, _exception: Exception) -> Response:
    """Answer nobody, with the status that nginx gives it."""
    return Response(status_code=499)


async def internal_error(_request: Request, exception: Exception) -> Response:
    """Answer a fault of ours."""
    return refuse(InternalError.logged(exception))
