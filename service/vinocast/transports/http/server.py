"""The HTTP service: FastAPI on uvicorn, one event loop that reads, infers and writes in turn.

An inference runs in the event loop itself: it keeps every core of the budget busy for about a millisecond, and a
hand-over to a thread would only add to that. What waits, waits in the lane, so deadlines and the bound hold, and the
loop serves its sockets between two inferences: health checks are answered under load. What this transport promises:

- Listening means live; ready means that the default model has passed its self-test, and that no glyph model is still
  loading (``/livez``, ``/readyz``).
- Every error is the envelope of the JSON lines, with the status that errors.py gives its code.
- A body over the limit is refused before it is read to its end; one that stalls is given up.
- SIGTERM, SIGINT and SIGHUP: not ready any more, no new connections, what was accepted is answered, then the process
  ends with code 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from fastapi import FastAPI, Path, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vinocast import __version__, schemas
from vinocast.dataplane import DataPlane
from vinocast.errors import (
    InvalidRequestError,
    NotReadyError,
    RequestError,
    SetupError,
    ShuttingDownError,
    shorten,
)
from vinocast.transports.http import examples
from vinocast.transports.http.bodies import LARGE_BODY, ROUNDS, LargeBodies, read_body
from vinocast.transports.http.connections import Connection, listen, url_of
from vinocast.transports.http.pages import add_pages
from vinocast.transports.http.responses import client_left, http_exception, internal_error, refuse, respond
from vinocast.transports.http.targets import Targets
from vinocast.transports.signals import on_end

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel

    from vinocast.jobs import Answer, GlyphsJob, WideForecastJob
    from vinocast.settings import HttpSettings

DRAIN_SECONDS = 4
WELCOME = """
Vinocast is ready on {url}. Try:

{commands}
{url}/docs describes the routes and lets you try them; Ctrl-C stops.
"""
log = logging.getLogger(__name__)
Stream = Annotated[str, Path(description="the name of a stream", openapi_examples={"demo": {"value": examples.STREAM}})]


def serve_http(settings: HttpSettings) -> None:
    """Serve until a signal; raises SetupError when the default model is refused or the address is not to be had."""
    server = Server(DataPlane(settings), settings)
    run_server(server, listen_and_say(settings))


def listen_and_say(settings: HttpSettings) -> list[socket.socket]:
    """Return the listening sockets and log their addresses; raises SetupError."""
    listeners = listen(settings.host, settings.port)
    for listener in listeners:
        log.info("Vinocast running on %s", url_of(listener))
    return listeners


def run_server(server: Server, listeners: list[socket.socket]) -> None:
    """Run a server until a signal; raises SetupError when the default model is refused."""
    on_end(server.handle_exit)
    server.run(listeners)
    refused = server.plane.default_model.refused
    if refused is not None:
        raise SetupError(f"the default model cannot be served: {refused}")


def welcome(listener: socket.socket, commands: str) -> str:
    """Return what is printed once the service is ready: the commands of :func:`examples.commands` among it."""
    url = re.sub(r"//(0\.0\.0\.0|\[::\]):", "//127.0.0.1:", url_of(listener))  # from which this host can ask it
    return WELCOME.replace("{commands}", commands).replace("{url}", url)


class Server(uvicorn.Server):
    """A uvicorn server that loads models when it starts and drains the data plane when it stops."""

    def __init__(self, plane: DataPlane, settings: HttpSettings) -> None:
        self.plane = plane
        self._pump = _Pump(plane)
        self._announced = False
        super().__init__(
            uvicorn.Config(
                Targets(create_app(plane, self._pump)),
                loop="uvloop",
                # Not httptools, which is 0.1 ms faster: it loses the body of a request that offers an upgrade, takes
                # headers without a limit, and reads pipelined requests without one.
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=settings.keep_alive_seconds,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to :func:`run_server`: uvicorn would raise them again after the drain."""
        yield

    async def startup(self, sockets: Any = None) -> None:
        """Serve, then load the models."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.plane.start(self._wake)

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: a model has settled after the end
            self._loop.call_soon_threadsafe(self._model_settled)

    def _model_settled(self) -> None:
        self._pump.kick()
        if self.plane.default_model.refused is not None:
            self.should_exit = True
        elif self.plane.warm and not self._announced:
            self._announced = True
            self.announce()

    def announce(self) -> None:
        """Say that the default model answers."""
        sys.stderr.write(welcome(self.servers[0].sockets[0], examples.commands(self.plane)))

    async def shutdown(self, sockets: Any = None) -> None:
        """Answer what has been accepted."""
        self.plane.close()
        await super().shutdown(sockets)


class _Pump:
    """Drives the lane from the event loop, one inference between two rounds of input and output.

    Before a part of a long job there are as many rounds as a request takes to the lane, so that what has come meanwhile
    overtakes it.
    """

    def __init__(self, plane: DataPlane) -> None:
        self._lane = plane.lane
        self._scheduled = False
        self._rounds = 0

    def kick(self) -> None:
        """Have the lane stepped until it is empty."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        self._scheduled = False
        if self._lane.only_parts and self._rounds < ROUNDS:
            self._rounds += 1
            self.kick()
            return
        self._rounds = 0
        if self._lane.step():
            self.kick()


def create_app(plane: DataPlane, pump: _Pump) -> FastAPI:
    """Return the application; its routes are the contract of the documentation."""
    app = FastAPI(
        title="Vinocast",
        version=__version__,
        summary="Forecasts in about a millisecond on an ordinary server CPU.",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    default = plane.default_model.manifest

    large_bodies = LargeBodies()

    async def answered(
        request: Request,
        start: Callable[[dict[str, Any], bytes, Answer], GlyphsJob | WideForecastJob | None],
        *,
        no_body: bytes = b"",
    ) -> Response:
        """Read the body of a request, start on it, and return its answer when the lane has come to it.

        ``no_body`` is what stands for a body that is empty.
        """
        replied: asyncio.Future[tuple[bytes, RequestError | None]] = asyncio.get_running_loop().create_future()

        def answer(reply: bytes, error: RequestError | None) -> None:
            if not replied.done():  # the client may have left
                replied.set_result((reply, error))

        echoed = schemas.echo({})
        try:
            body = await read_body(request, plane.max_request_bytes, may_lack=bool(no_body)) or no_body
            fields = schemas.parse_json(body) if len(body) < LARGE_BODY else await large_bodies.parse(body)
            echoed = schemas.echo(fields)
            if request.scope["query_string"]:
                _refuse_parameters(request)
        except RequestError as error:
            plane.refuse(echoed, error, answer)
        else:
            job = start(fields, body, answer)
            del fields, body  # which the lane may keep for long in another form
            pump.kick()
            if job is not None:
                asyncio.get_running_loop().create_task(_abandon(job, request, replied))
        try:
            return respond(*await replied)
        except asyncio.CancelledError:  # how uvicorn ends what its shutdown has waited for in vain
            late = ShuttingDownError("the service has shut down before the answer was there")
            return respond(schemas.failure(echoed, late), late)

    @app.post(
        "/forecast",
        summary="Forecast one window",
        response_model=None,
        responses={
            200: {"model": schemas.ForecastReply},
            "4XX": {"model": schemas.ErrorReply},
            "5XX": {"model": schemas.ErrorReply},
        },
        openapi_extra=_json_body(schemas.ForecastRequest, examples.forecast_example(default)),
    )
    async def forecast(request: Request) -> Response:
        received = time.monotonic()
        return await answered(
            request, lambda fields, body, answer: plane.forecast(fields, body, received, answer, wait_for_model=False)
        )

    @app.post(
        "/glyphs",
        summary="Recognize glyphs",
        response_model=None,
        responses={
            200: {"model": schemas.GlyphsReply},
            "4XX": {"model": schemas.ErrorReply},
            "5XX": {"model": schemas.ErrorReply},
        },
        openapi_extra=_json_body(schemas.GlyphsRequest, examples.glyphs_example()),
        include_in_schema=plane.recognizes,
    )
    async def glyphs(request: Request) -> Response:
        return await answered(
            request, lambda fields, body, answer: plane.glyphs(fields, body, answer, wait_for_model=False)
        )

    @app.post(
        "/streams/{stream:path}/observations",
        summary="Append rows to a stream",
        response_model=None,
        responses={200: {"model": schemas.ObserveReply}, "4XX": {"model": schemas.ErrorReply}},
        openapi_extra=_json_body(schemas.ObserveRequest, examples.observe_example(default), in_path="stream"),
        include_in_schema=plane.keeps_streams,
    )
    async def observe(stream: Stream, request: Request) -> Response:
        return await answered(request, lambda fields, body, answer: plane.observe(fields, body, answer, stream=stream))

    @app.get(
        "/streams",
        summary="What every stream holds",
        response_model=None,
        responses={200: {"model": schemas.StreamsReply}},
    )
    async def streams() -> Response:
        return Response(schemas.encode({"streams": plane.streams()}), media_type="application/json")

    @app.delete(
        "/streams/{stream:path}",
        summary="Drop a stream",
        response_model=None,
        responses={200: {"model": schemas.ForgetReply}, "4XX": {"model": schemas.ErrorReply}},
        include_in_schema=plane.keeps_streams,
    )
    async def forget(stream: Stream, request: Request) -> Response:
        return await answered(
            request, lambda fields, _, answer: plane.forget(fields, answer, stream=stream), no_body=b"{}"
        )

    @app.head("/livez", include_in_schema=False)
    @app.get("/livez", summary="Whether the process answers", response_model=None)
    async def livez() -> Response:
        return Response(b'{"live":true}', media_type="application/json")

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", summary="Whether forecasts and glyphs are answered", response_model=None)
    async def readyz() -> Response:
        if plane.warm:
            return Response(schemas.encode(plane.ping()), media_type="application/json")
        return refuse(NotReadyError("models are still loading, or the service is shutting down"))

    add_pages(app)
    app.add_exception_handler(HTTPException, http_exception)
    app.add_exception_handler(ClientDisconnect, client_left)
    app.add_exception_handler(Exception, internal_error)
    return app


async def _abandon(job: GlyphsJob | WideForecastJob, request: Request, replied: asyncio.Future[Any]) -> None:
    """Have a long job abandoned when its client leaves before the reply."""
    # Behind the body comes nothing but the end: of the connection, or of the response.
    await request.receive()
    if not replied.done():
        job.abandon()


def _refuse_parameters(request: Request) -> None:
    """Raise InvalidRequestError for what stands behind a question mark: a field there would be ignored."""
    name = shorten(next(iter(request.query_params), "?"))
    raise InvalidRequestError(f"{name}: expected in the body, not behind the path", name)


def _json_body(schema: type[BaseModel], example: dict[str, Any], in_path: str | None = None) -> dict[str, Any]:
    """Describe a body; the field that the path holds need not be in it."""
    described = schema.model_json_schema()
    if in_path is not None:
        described["required"].remove(in_path)
    content = {"application/json": {"schema": described, "example": example}}
    return {"requestBody": {"required": True, "content": content}}
