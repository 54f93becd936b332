"""A server of gRPC in the event loop of the HTTP service: the same data plane, lane and budget.

The threads of gRPC's core move bytes alone; a message is read, and an inference run, in the loop. What this transport
promises is what HTTP does: bounds on a message, on all that waits and on connections, a token where there is one, and
an end that answers what was accepted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from vinocast.dataplane import Claim
from vinocast.errors import (
    InternalError,
    InvalidRequestError,
    RequestError,
    SetupError,
    ShuttingDownError,
    UnauthorizedError,
)
from vinocast.handlers.models import LOAD, SERVER, UNLOAD, index, metadata, model_ready
from vinocast.monitoring.ended import Ended, Origin
from vinocast.ops import OPS
from vinocast.process.memory import trim
from vinocast.protocols.open_inference.messages import SERVICE, message
from vinocast.protocols.open_inference.over_grpc import GrpcInferProtocol, GrpcMessage
from vinocast.protocols.open_inference.repository import LoadParameters, UnloadParameters
from vinocast.transports.http.bodies import LARGE_BODY
from vinocast.transports.http.guard import opens
from vinocast.transports.http.tracing import TRACE, taken_trace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from vinocast.dataplane import Op, Ticket
    from vinocast.protocols.standards import StandardPart
    from vinocast.settings import HttpSettings
    from vinocast.transports.http.endpoint import Endpoints

# What gRPC calls the statuses of HTTP that refusals have; clients ask again on UNAVAILABLE by themselves.
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# Calls that may be under way at once at least; more where the budget holds more messages of the longest.
CALLS = 8
# Messages from which on their memory is asked back, so long after the last.
LARGE_MESSAGE = 1 << 20
TRIM_SECONDS = 1.0
StreamReply = message("ModelStreamInferResponse")
log = logging.getLogger(__name__)


class GrpcServer:
    """The server, on a port of its own.

    Args:
        shared: what it shares with the endpoints of HTTP.
        settings: of the service.
        most_connections: that may be open at once.
    """

    def __init__(self, shared: Endpoints, settings: HttpSettings, most_connections: int) -> None:
        self._shared = shared
        self._plane = shared.plane
        self._settings = settings
        self._most_connections = most_connections
        self._protocol = GrpcInferProtocol(shared.plane, OPS)
        self._closing = asyncio.Event()
        self._trimming: asyncio.TimerHandle | None = None
        self._server: aio.Server | None = None

    async def start(self) -> None:
        """Listen, and say where; raises SetupError."""
        settings, plane = self._settings, self._plane
        most = max(CALLS, plane.budget.most // plane.max_request_bytes)
        server = aio.server(
            options=[
                ("grpc.max_receive_message_length", plane.max_request_bytes),
                ("grpc.max_send_message_length", -1),  # as long as any reply may be
                ("grpc.max_concurrent_streams", most),
                ("grpc.max_allowed_incoming_connections", self._most_connections),
                ("grpc.max_connection_idle_ms", settings.keep_alive_seconds * 1000),
                ("grpc.so_reuseport", int(settings.workers > 1)),
            ],
            maximum_concurrent_rpcs=most,
        )
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, self._handlers())])
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            port = server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError as error:
            raise SetupError(
                f"cannot listen on {host}:{settings.grpc_port} for gRPC: {error}; choose another --grpc-port"
            ) from error
        await server.start()
        self._server = server
        log.info("Vinocast speaks gRPC on %s:%d", host, port)

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and end those under way that are not answered in time."""
        self._closing.set()
        if self._server is not None:
            await self._server.stop(seconds)

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return what answers each method."""
        plane = self._plane

        def ready(_: Any) -> dict[str, Any]:
            return {"ready": plane.warm}

        def ready_model(request: Any) -> dict[str, Any]:
            model_ready(plane, request.name, request.version or None)
            return {"ready": True}

        said: dict[str, tuple[bool, Callable[[Any], dict[str, Any]]]] = {
            "ServerLive": (True, lambda _: {"live": True}),
            "ServerReady": (True, ready),
            "ServerMetadata": (False, lambda _: SERVER),
            "ModelReady": (False, ready_model),
            "ModelMetadata": (False, lambda asked: metadata(plane, asked.name, asked.version or None)),
            "RepositoryIndex": (False, lambda asked: {"models": index(plane, ready=asked.ready)}),
        }
        return {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self._infer),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._infer_each),
            "RepositoryModelLoad": self._changing("RepositoryModelLoad", LOAD, LoadParameters),
            "RepositoryModelUnload": self._changing("RepositoryModelUnload", UNLOAD, UnloadParameters),
            **{name: self._saying(name, say, is_open=is_open) for name, (is_open, say) in said.items()},
        }

    def _saying(self, name: str, say: Callable[[Any], dict[str, Any]], *, is_open: bool) -> grpc.RpcMethodHandler:
        """Return what answers a method that says something of the service, without a token where it is open."""
        reply = message(f"{name}Response")

        async def answer(request: Any, context: Any) -> Any:
            received = time.monotonic()
            try:
                if not is_open:
                    self._check_token(context)
                return reply(**say(request))
            except RequestError as error:
                self._plane.count_refusal(error)
                seconds = time.monotonic() - received
                self._plane.tell(Ended(self._origin(context, name), "", None, error, seconds))
                return _refused(context, error, error.message)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=message(f"{name}Request").FromString,
            response_serializer=reply.SerializeToString,
        )

    def _changing(self, name: str, op: Op, parameters: type[StandardPart]) -> grpc.RpcMethodHandler:
        """Return what answers a method that loads or unloads a model, once it has."""
        reply = message(f"{name}Response")

        async def answer(request: Any, context: Any) -> Any:
            received = time.monotonic()
            ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()

            def end(outcome: object) -> None:
                if not ended.done():  # the client may have left
                    ended.set_result(outcome)

            try:
                self._check_token(context)
                given = {
                    key: getattr(value, value.WhichOneof("parameter_choice") or "bool_param")
                    for key, value in request.parameters.items()
                }
                parameters.of(given, "parameters")
            except RequestError as refused:
                self._plane.count_refusal(refused)
                end(refused)
            else:
                self._plane.submit(op, request.model_name, end, patient=False)
            outcome = await ended
            error = outcome if isinstance(outcome, RequestError) else None
            self._plane.tell(Ended(self._origin(context, name), op.name, None, error, time.monotonic() - received))
            return reply() if error is None else _refused(context, error, error.message)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=message(f"{name}Request").FromString,
            response_serializer=lambda made: made if isinstance(made, bytes) else made.SerializeToString(),
        )

    async def _infer(self, request: bytes, context: Any) -> bytes:
        """Answer ``ModelInfer``."""
        reply, error = await self._answer(request, context, "ModelInfer")
        return reply if error is None else _refused(context, error, reply.decode())

    async def _infer_each(self, _requests: object, context: Any) -> AsyncIterator[bytes]:
        """Answer ``ModelStreamInfer``: each request when the one before it is answered.

        A stream on which nothing comes ends as an idle connection of HTTP does: it would keep another from its call.
        """
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            while True:
                reading = asyncio.ensure_future(context.read())
                await asyncio.wait(
                    (reading, closing),
                    timeout=self._settings.keep_alive_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not reading.done():  # nothing has come
                    reading.cancel()
                    if not closing.done():
                        return
                    late = ShuttingDownError("the service is shutting down")
                    _refused(context, late, late.message)
                    return
                request = reading.result()
                if request is aio.EOF:
                    return
                reply, error = await self._answer(request, context, "ModelStreamInfer")
                yield StreamReply(**_parts(request, reply, error)).SerializeToString()
        finally:
            closing.cancel()

    async def _answer(self, request: bytes, context: Any, method: str) -> tuple[bytes, RequestError | None]:
        """Return the reply to a request for inference, or what is said of its refusal, and why."""
        claim = Claim(self._plane.budget)
        try:
            return await self._answer_within(claim, request, context, self._origin(context, method))
        finally:
            claim.release()
            if len(request) > LARGE_MESSAGE:
                self._trim_soon()

    def _trim_soon(self) -> None:
        """Have the memory of large messages given back a while after the last: the core keeps pieces of them."""
        if self._trimming is not None:
            self._trimming.cancel()
        self._trimming = asyncio.get_running_loop().call_later(TRIM_SECONDS, trim)

    async def _answer_within(
        self, claim: Claim, text: bytes, context: Any, origin: Origin
    ) -> tuple[bytes, RequestError | None]:
        received = time.monotonic()
        left = context.time_remaining()
        shared, protocol, pump = self._shared, self._protocol, self._shared.pump
        replied: asyncio.Future[tuple[bytes, RequestError | None]] = asyncio.get_running_loop().create_future()

        def answer(reply: bytes, error: RequestError | None) -> None:
            if not replied.done():  # the client may have left
                replied.set_result((reply, error))

        def read(text: bytes) -> GrpcMessage:
            return GrpcMessage(text, None if left is None else received + left)

        ticket: Ticket | None = None
        begun = False
        try:
            self._check_token(context)
            claim.hold(len(text))
            given = await shared.parse(text, read)
            begun = True
        except RequestError as error:
            protocol.refuse({}, error, answer, received, origin)
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            protocol.refuse({}, InternalError.logged(error), answer, received, origin)
        else:
            ticket = protocol.start(given, received, answer, patient=False, claim=claim, origin=origin)
            if len(text) < LARGE_BODY:
                pump.keep(given)
            del given  # which the lane may keep for long in another form
        if begun:
            pump.end()
        del text
        try:
            return await replied
        except asyncio.CancelledError:  # the client has left, or the service ends and waits no longer
            if ticket is not None:
                self._plane.let_go(ticket)
            self._plane.clients_left += 1
            raise

    def _origin(self, context: Any, method: str) -> Origin:
        """Return by which way a call came."""
        given = dict(context.invocation_metadata() or ()).get(TRACE.decode(), "")
        return Origin(self._protocol.name, method, trace=taken_trace(given.encode()))

    def _check_token(self, context: Any) -> None:
        """Raise UnauthorizedError for a call without the token, where there is one."""
        token = self._settings.token
        if token is None:
            return
        given = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
        if len(given) != 1 or not opens(given[0].encode(), token):
            got = "another" if given else "none"
            raise UnauthorizedError(f"authorization: expected Bearer and the token of this service, got {got}")


def _parts(request: bytes, reply: bytes, error: RequestError | None) -> dict[str, Any]:
    """Return what a reply of a stream holds; a refusal has the id of its request, by which a client finds it."""
    response = message("ModelInferResponse")
    if error is None:
        return {"infer_response": response.FromString(reply)}
    try:
        identity = GrpcMessage(request).echoed["request_id"] or ""
    except InvalidRequestError:
        identity = ""
    return {"error_message": reply.decode(), "infer_response": response(id=identity)}


def _refused(context: Any, error: RequestError, said: str) -> bytes:
    """Give a call the status of a refusal, and return what stands in place of a reply.

    ``context.abort`` would raise, and the frames that an exception has come through hold the message of the call.
    """
    context.set_code(CODES.get(error.status, grpc.StatusCode.INTERNAL))
    context.set_details(said)
    return b""
