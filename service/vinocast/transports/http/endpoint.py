"""One op over HTTP, as a plain ASGI application: what a framework adds to each request takes as long as to parse it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from vinocast.errors import InternalError, InvalidRequestError, RequestError, ShuttingDownError, shorten
from vinocast.protocols.json import Message, echo, failure
from vinocast.transports.http.bodies import LARGE_BODY, ClientLeftError, LargeBodies, read_body
from vinocast.transports.http.responses import respond

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from vinocast.dataplane import DataPlane, Op, Ticket
    from vinocast.protocols.json import JsonProtocol
    from vinocast.transports.http.pump import Pump

NO_FIELDS = b"{}"


class Endpoints:
    """What the endpoints of a service share."""

    def __init__(self, plane: DataPlane, protocol: JsonProtocol, pump: Pump) -> None:
        self.plane = plane
        self.protocol = protocol
        self.pump = pump
        self.large_bodies = LargeBodies()


class Endpoint:
    """Answers the requests of one op."""

    def __init__(self, shared: Endpoints, op: Op) -> None:
        self._shared = shared
        self._op = op
        self._may_lack_body = op.route is not None and op.route.may_lack_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a request, start on it, and answer it when the lane has come to it."""
        received = time.monotonic()
        shared = self._shared
        replied: asyncio.Future[tuple[bytes, RequestError | None]] = asyncio.get_running_loop().create_future()

        def answer(reply: bytes, error: RequestError | None) -> None:
            if not replied.done():  # the client may have left
                replied.set_result((reply, error))

        echoed = echo({})
        ticket: Ticket | None = None
        body_read = False
        try:
            text = await read_body(scope, receive, shared.plane.max_request_bytes, may_lack=self._may_lack_body)
            body_read = True
            text = text or (NO_FIELDS if self._may_lack_body else b"")
            message = Message(text) if len(text) < LARGE_BODY else await shared.large_bodies.parse(text)
            echoed = message.echoed
            _refuse_parameters(scope)
        except ClientLeftError:
            return
        except RequestError as error:
            shared.protocol.refuse(echoed, error, answer)
        except Exception as error:  # noqa: BLE001 - no router stands in front to answer a fault of ours
            shared.protocol.refuse(echoed, InternalError.logged(error), answer)
        else:
            ticket = shared.protocol.start(
                message, received, answer, op=self._op, path=scope.get("path_params"), patient=False
            )
            if len(text) < LARGE_BODY:
                shared.pump.keep(message)
            del message, text  # which the lane may keep for long in another form
            shared.pump.kick()
        try:
            if replied.done():
                reply = replied.result()
            elif ticket is not None and ticket.lasting:
                reply = await _watched(replied, ticket, receive)
            else:
                reply = await replied
        except ClientLeftError:
            return
        except asyncio.CancelledError:  # how uvicorn ends what its shutdown has waited for in vain
            late = ShuttingDownError("the service has shut down before the answer was there")
            reply = (failure(echoed, late), late)
        await respond(receive, send, *reply, body_read=body_read)


async def _watched(
    replied: asyncio.Future[tuple[bytes, RequestError | None]], ticket: Ticket, receive: Receive
) -> tuple[bytes, RequestError | None]:
    """Wait for the answer of a long job; raises ClientLeftError when its client leaves before, and abandons the job."""
    # Behind the body comes nothing but the end: of the connection, or of the response.
    left = asyncio.ensure_future(receive())

    def abandon(_: object) -> None:
        if not replied.done():
            ticket.abandon()
            replied.set_exception(ClientLeftError())

    left.add_done_callback(abandon)
    return await replied


def _refuse_parameters(scope: Scope) -> None:
    """Raise InvalidRequestError for what stands behind a question mark: a field there would be ignored."""
    if scope["query_string"]:
        parameters = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        name = shorten(parameters[0][0] if parameters else "?")
        raise InvalidRequestError(f"{name}: expected in the body, not behind the path", name)
