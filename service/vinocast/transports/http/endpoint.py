"""One op over HTTP, as a plain ASGI application: what a framework adds to each request takes as long as to parse it."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from vinocast.dataplane import Claim
from vinocast.errors import InternalError, InvalidRequestError, RequestError, ShuttingDownError, shorten
from vinocast.protocols.base import Message
from vinocast.transports.http.bodies import LARGE_BODY, ClientLeftError, LargeBodies, read_body
from vinocast.transports.http.exchange import origin_of
from vinocast.transports.http.responses import respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from vinocast.dataplane import DataPlane, Op, Ticket
    from vinocast.protocols.base import ByteProtocol, Read
    from vinocast.transports.http.pump import Pump

NO_FIELDS = b"{}"
DIGITS = re.compile("[0-9]{1,18}")


class Endpoints:
    """What the endpoints of a service share."""

    def __init__(self, plane: DataPlane, pump: Pump) -> None:
        self.plane = plane
        self.pump = pump
        self._large_bodies = LargeBodies()

    async def parse(self, text: bytes, read: Callable[[bytes], Message]) -> Message:
        """Return the request that a body holds, once it has its turn; raises as ``read`` does."""
        if len(text) < LARGE_BODY:
            if self.pump.late:
                await self.pump.turn()
            self.pump.begin()
            return read(text)
        try:
            return await self._large_bodies.parse(text, read)
        finally:
            self.pump.begin()


class Endpoint:
    """Answers the requests of one route in one protocol, of one op where the route says it."""

    def __init__(self, shared: Endpoints, protocol: ByteProtocol[Any], op: Op | None, route: str) -> None:
        self._shared = shared
        self._protocol = protocol
        self._op = op
        self._route = route
        self._name = op.name if op else ""
        self._query = op.route.query if op is not None and op.route is not None else ()
        self._may_lack_body = op is not None and op.route is not None and op.route.may_lack_body

    def reader(self, scope: Scope) -> Callable[[bytes], Any]:  # noqa: ARG002 - what some need
        """Return what reads the body of a request, of which the header is in its scope."""
        return self._protocol.read

    def headers(self, scope: Scope) -> Iterable[tuple[bytes, bytes]]:  # noqa: ARG002 - what some need
        """Return what HTTP says of a reply besides what it is."""
        return ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a request, start on it, and answer it when the lane has come to it."""
        claim = Claim(self._shared.plane.budget)
        try:
            await self._answer(scope, receive, send, claim)
        finally:
            claim.release()

    async def _answer(self, scope: Scope, receive: Receive, send: Send, claim: Claim) -> None:
        received, origin = time.monotonic(), origin_of(scope, self._protocol.name, self._route)
        shared, protocol, pump = self._shared, self._protocol, self._shared.pump
        replied: asyncio.Future[tuple[bytes, RequestError | None]] = asyncio.get_running_loop().create_future()

        def answer(reply: bytes, error: RequestError | None) -> None:
            if not replied.done():  # the client may have left
                replied.set_result((reply, error))

        echoed = protocol.nothing
        message: Read | None = None
        ticket: Ticket | None = None
        path: Mapping[str, Any] | None = scope.get("path_params")
        text, body_read = b"", False
        try:
            text = await read_body(
                scope,
                receive,
                shared.plane.max_request_bytes,
                claim,
                may_lack=self._may_lack_body,
                needs_type=protocol.needs_media_type,
                media_types=protocol.media_types,
            )
            body_read = True
            text = text or (NO_FIELDS if self._may_lack_body else b"")
            message = await shared.parse(text, self.reader(scope))
            echoed = message.echoed
            if scope["query_string"]:
                path = {**(path or {}), **_parameters(scope, self._query)}
        except ClientLeftError:
            shared.plane.clients_left += 1
            return
        except RequestError as error:
            protocol.refuse(echoed, error, answer, received, origin, self._name)
        except Exception as error:  # noqa: BLE001 - no router stands in front to answer a fault of ours
            protocol.refuse(echoed, InternalError.logged(error), answer, received, origin, self._name)
        else:
            ticket = protocol.start(
                message,
                received,
                answer,
                op=self._op,
                path=path,
                patient=False,
                claim=claim,
                origin=origin,
            )
            if len(message.text) < LARGE_BODY:
                pump.keep(message)
        if body_read:
            pump.end()
        text, message = b"", None  # which the lane may keep for long in another form
        try:
            if replied.done():
                reply = replied.result()
            elif ticket is not None and ticket.lasting and not await _stays(receive, replied):
                shared.plane.let_go(ticket)
                shared.plane.clients_left += 1
                return
            else:
                reply = await replied
        except asyncio.CancelledError:  # the service ends, and waits no longer
            if ticket is not None:
                shared.plane.let_go(ticket)
            late = ShuttingDownError("the service has shut down before the answer was there")
            replies: list[tuple[bytes, RequestError | None]] = []
            protocol.refuse(echoed, late, lambda *given: replies.append(given), received, origin, self._name)
            (reply,) = replies
        del ticket, echoed  # which hold what the reply repeats, and the client may take its time
        await respond(receive, send, *reply, claim, body_read=body_read, headers=self.headers(scope))


async def _stays(receive: Receive, replied: asyncio.Future[tuple[bytes, RequestError | None]]) -> bool:
    """Wait for the answer of a long job, and return False when its client leaves before."""
    # Behind the body comes nothing but the end: of the connection, or of the response.
    left = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((replied, left), return_when=asyncio.FIRST_COMPLETED)
    finally:
        left.cancel()
    return replied.done()


def _parameters(scope: Scope, known: Sequence[str]) -> dict[str, Any]:
    """Return the fields that stand behind a question mark.

    Raises InvalidRequestError for one that is not to stand there, as it would be ignored, or that stands there twice.
    """
    parameters = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    fields: dict[str, Any] = {}
    for name, value in parameters or [("?", "")]:
        if name not in known:
            shown = shorten(name)
            raise InvalidRequestError(f"{shown}: expected in the body, not behind the path", shown)
        if name in fields:
            raise InvalidRequestError(f"{name}: expected once behind the path", name)
        # What is no integer is refused by the schema.
        fields[name] = int(value) if DIGITS.fullmatch(value) else value
    return fields
