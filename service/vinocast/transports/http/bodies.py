"""Reading the body of an HTTP request under a limit, and what is left of one that is over it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from vinocast.errors import (
    DeadlineExceededError,
    PayloadTooLargeError,
    ShuttingDownError,
    UnsupportedMediaError,
    VinocastError,
)
from vinocast.protocols.json import Message

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

BODY_SECONDS = 30
# How much of a refused body is still taken in and thrown away, and for how long.
MOST_DISCARDED_BYTES = 64 * 1024 * 1024
DISCARD_SECONDS = 5
# A MiB of numbers takes some 8 ms to parse, in one piece.
LARGE_BODY = 1 << 20
# Rounds of the event loop that a request takes from its first byte until it is answered or in the lane.
ROUNDS = 8


class ClientLeftError(VinocastError):
    """The client has closed its connection before its request was complete."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int, *, may_lack: bool = False) -> bytes:
    """Return the body of a JSON request, refused as early as its headers allow.

    With ``may_lack`` a request may have none, and then needs not say what it is.

    Raises:
        UnsupportedMediaError: it is not declared as JSON, or is compressed.
        PayloadTooLargeError: it is, or says that it is, longer than ``max_bytes``.
        DeadlineExceededError: it did not arrive in time.
        ShuttingDownError: the service has ended before it arrived.
        ClientLeftError: nobody is there to answer.
    """
    headers = dict(reversed(scope["headers"]))  # the first of a name
    if may_lack and b"transfer-encoding" not in headers and headers.get(b"content-length", b"0") == b"0":
        return b""
    if may_lack and b"content-type" not in headers:
        with contextlib.suppress(PayloadTooLargeError):  # there is one
            return await _take_body(receive, 0)
    declared = headers.get(b"content-type", b"")
    if declared != b"application/json":
        media_type = declared.partition(b";")[0].strip().lower().decode("latin-1")
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaError(f"Content-Type: expected application/json, got {media_type or 'none'}")
    coding = headers.get(b"content-encoding", b"identity")
    if coding != b"identity":
        raise UnsupportedMediaError(f"Content-Encoding: expected none, got {coding.decode('latin-1')}")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > max_bytes:
        raise PayloadTooLargeError(f"expected a body of at most {max_bytes} bytes")
    return await _take_body(receive, max_bytes)


async def _take_body(receive: Receive, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeftError
                chunk = message.get("body", b"")
                size += len(chunk) + message.get("framing", 0)
                if size > max_bytes:
                    raise PayloadTooLargeError(f"expected a body of at most {max_bytes} bytes")
                chunks.append(chunk)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise DeadlineExceededError(f"the body did not arrive within {BODY_SECONDS} s") from None
    except asyncio.CancelledError:  # how uvicorn ends what its shutdown has waited for in vain
        raise ShuttingDownError("the service has shut down before the body arrived") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class LargeBodies:
    """Parses large bodies one after the other, and lets what has come meanwhile be served in between."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def parse(self, body: bytes) -> Message:
        """Return the message that a body holds; raises as :class:`Message` does."""
        try:
            async with self._turn:
                await _let_others_go()
                message = Message(body)
                await _let_others_go()  # the window comes next, which takes half as long again
                return message
        except asyncio.CancelledError:  # how uvicorn ends what its shutdown has waited for in vain
            raise ShuttingDownError("the service has shut down before the body's turn came") from None


async def _let_others_go() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def discard_body(receive: Receive) -> None:
    """Take in what is left of a request and throw it away, up to a limit."""
    discarded = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while discarded < MOST_DISCARDED_BYTES:
                message = await receive()
                discarded += len(message.get("body", b""))
                if not message.get("more_body"):
                    break
