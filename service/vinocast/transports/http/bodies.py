"""Reading the body of an HTTP request under a limit, and refusing one that is over it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response

from vinocast import schemas
from vinocast.errors import DeadlineExceededError, PayloadTooLargeError, ShuttingDownError, UnsupportedMediaError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

BODY_SECONDS = 30
# How much of a refused body is still taken in and thrown away, and for how long.
MOST_DISCARDED_BYTES = 64 * 1024 * 1024
DISCARD_SECONDS = 5
# A MiB of numbers takes some 8 ms to parse, in one piece.
LARGE_BODY = 1 << 20
# Rounds of the event loop that a request takes from its first byte until it is answered or in the lane.
ROUNDS = 8


async def read_body(request: Request, max_bytes: int, *, may_lack: bool = False) -> bytes:
    """Return the body of a JSON request, refused as early as its headers allow.

    With ``may_lack`` a request may have none, and then needs not say what it is.
    """
    if may_lack and "transfer-encoding" not in request.headers and request.headers.get("content-length", "0") == "0":
        return b""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaError(f"Content-Type: expected application/json, got {media_type or 'none'}")
    coding = request.headers.get("content-encoding", "identity")
    if coding != "identity":
        raise UnsupportedMediaError(f"Content-Encoding: expected none, got {coding}")
    too_large = PayloadTooLargeError(f"expected a body of at most {max_bytes} bytes")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise DeadlineExceededError(f"the body did not arrive within {BODY_SECONDS} s") from None
    except asyncio.CancelledError:  # how uvicorn ends what its shutdown has waited for in vain
        raise ShuttingDownError("the service has shut down before the body arrived") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class LargeBodies:
    """Parses large bodies one after the other, and lets what has come meanwhile be served in between."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def parse(self, body: bytes) -> dict[str, Any]:
        """Return the object that a body holds; raises as :func:`schemas.parse_json` does."""
        try:
            async with self._turn:
                await _let_others_go()
                fields = schemas.parse_json(body)
                await _let_others_go()  # the window comes next, which takes half as long again
                return fields
        except asyncio.CancelledError:  # how uvicorn ends what its shutdown has waited for in vain
            raise ShuttingDownError("the service has shut down before the body's turn came") from None


async def _let_others_go() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


class RefusalOfBody(Response):
    """A reply that goes out at once, after which the rest of the request is taken in and thrown away.

    Many clients read no reply before they have sent everything; a connection closed on them would be all they see.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the signature of ASGI
        """Send the reply, discard what comes, and only then end the response."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        discarded = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while discarded < MOST_DISCARDED_BYTES:
                    message = await receive()
                    discarded += len(message.get("body", b""))
                    if not message.get("more_body"):
                        break
        await send({"type": "http.response.body", "body": b""})
