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
from vinocast.protocols.base import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.types import Receive, Scope

    from vinocast.dataplane import Claim

# A body has so long in all, and less where it comes more slowly than this: what does not come holds others up.
BODY_SECONDS = 30
STALL_SECONDS, LEAST_BYTES_A_SECOND = 10, 1 << 16
# How much of a refused body is still taken in and thrown away, and for how long.
MOST_DISCARDED_BYTES = 64 * 1024 * 1024
DISCARD_SECONDS = 5
# A MiB of numbers takes some 8 ms to parse, in one piece.
LARGE_BODY = 1 << 17
# Digits of the length of a body that is claimed before it is read; a shorter one has mostly come when it is looked at.
LONG = 6
# What no body may take on the wire: in chunks, the last of them.
NO_BODY_BYTES = 1 << 10
# Rounds of the event loop that a request takes from its first byte until it is answered or in the lane.
ROUNDS = 8


class ClientLeftError(VinocastError):
    """The client has closed its connection before its request was complete."""


async def read_body(
    scope: Scope,
    receive: Receive,
    max_bytes: int,
    claim: Claim,
    *,
    may_lack: bool = False,
    needs_type: bool = True,
    media_types: Collection[str] = (),
) -> bytes:
    """Return the body of a JSON request, refused as early as its headers allow.

    With ``may_lack`` a request may have none, and then needs not say what it is; without ``needs_type`` none needs.
    Besides JSON it may be of ``media_types``.
    What the body takes is claimed: before it is read where its length is known, else as it grows.

    Raises:
        UnsupportedMediaError: it is declared as something else, or not at all, or is compressed.
        PayloadTooLargeError: it is, or says that it is, longer than ``max_bytes``.
        OverloadedError: there is no room for it beside what waits already.
        DeadlineExceededError: it did not arrive in time.
        ShuttingDownError: the service has ended before it arrived.
        ClientLeftError: nobody is there to answer.
    """
    headers = dict(reversed(scope["headers"]))  # the first of a name
    if may_lack and b"transfer-encoding" not in headers and headers.get(b"content-length", b"0") == b"0":
        return b""
    if may_lack and needs_type and b"content-type" not in headers:
        with contextlib.suppress(PayloadTooLargeError):  # there is one
            return await _take_body(receive, 0, claim)
    declared = headers.get(b"content-type", b"")
    if declared != b"application/json" and (needs_type or declared):
        media_type = declared.partition(b";")[0].strip().lower().decode("latin-1")
        if media_type != "application/json" and not media_type.endswith("+json") and media_type not in media_types:
            raise UnsupportedMediaError(f"Content-Type: expected application/json, got {media_type or 'none'}")
    coding = headers.get(b"content-encoding", b"identity").lower()
    if coding != b"identity":
        raise UnsupportedMediaError(f"Content-Encoding: expected none, got {coding.decode('latin-1')}")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > max_bytes:
        raise PayloadTooLargeError(f"expected a body of at most {max_bytes} bytes")
    if len(length) >= LONG and length.isdigit():
        claim.hold(int(length))  # refused where there is no room for it
        claim.release()  # else who says so and sends nothing would keep others out
    return await _take_body(receive, max_bytes, claim)


async def _take_body(receive: Receive, max_bytes: int, claim: Claim) -> bytes:
    body = bytearray()  # not a list of pieces, of which one of a single byte takes 40
    framing = 0  # what chunks take on the wire besides
    start = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(start + STALL_SECONDS) as deadline:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeftError
                piece: bytes = message.get("body", b"")
                size = len(body) + len(piece)
                framing += message.get("framing", 0)
                if size > max_bytes or size + framing > max(max_bytes, NO_BODY_BYTES):
                    raise PayloadTooLargeError(f"expected a body of at most {max_bytes} bytes")
                if not message.get("more_body", False) and not body:
                    return piece
                body += piece
                if not message.get("more_body", False):
                    claim.must_hold(size)
                    return bytes(body)
                claim.hold(size)
                deadline.reschedule(start + min(BODY_SECONDS, STALL_SECONDS + size / LEAST_BYTES_A_SECOND))
    except TimeoutError:
        seconds = asyncio.get_running_loop().time() - start
        raise DeadlineExceededError(f"the body comes too slowly: {len(body)} bytes in {seconds:.0f} s") from None
    except asyncio.CancelledError:  # the service ends, and waits no longer
        raise ShuttingDownError("the service has shut down before the body arrived") from None


class LargeBodies:
    """Parses large bodies one after the other, and lets what has come meanwhile be served in between."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def parse(self, body: bytes, read: Callable[[bytes], Message]) -> Message:
        """Return the request that a body holds, as ``read`` makes it of it and raises."""
        try:
            async with self._turn:
                await _let_others_go()
                message = read(body)
                await _let_others_go()  # the window comes next, which takes half as long again
                return message
        except asyncio.CancelledError:  # the service ends, and waits no longer
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
