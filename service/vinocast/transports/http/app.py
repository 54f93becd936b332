"""The application: a route for each op of the table, health checks, and the pages that describe them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.routing import Route

from vinocast import __version__
from vinocast.errors import NotReadyError
from vinocast.handlers.models import NOT_READY
from vinocast.handlers.status import pong
from vinocast.handlers.streams import describe as describe_streams
from vinocast.monitoring.metrics import CONTENT_TYPE_LATEST
from vinocast.ops import OPS
from vinocast.protocols.json import JsonProtocol
from vinocast.protocols.kserve import KServeProtocol
from vinocast.protocols.replies import StreamsReply
from vinocast.protocols.sagemaker import SageMakerProtocol
from vinocast.transports.http.endpoint import Endpoint, Endpoints
from vinocast.transports.http.open_inference import add_open_inference
from vinocast.transports.http.pages import SCHEMA, add_pages
from vinocast.transports.http.reference import add_events, add_ops, add_standards
from vinocast.transports.http.reference import add_open_inference as describe_open_inference
from vinocast.transports.http.responses import BudgetedResponse, Faults, Refusal, http_exception
from vinocast.transports.http.targets import METRICS
from vinocast.transports.http.tracing import PROTOCOL

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from vinocast.dataplane import DataPlane
    from vinocast.monitoring.metrics import Metrics
    from vinocast.transports.http.events import Events
    from vinocast.transports.http.pump import Pump


EVENTS = "/events"


class _Anything(StringConvertor):
    """A field of a path that may hold anything: slashes, as a field named path does, and line feeds too."""

    regex = "(?s:.*)"


register_url_convertor("anything", _Anything())


def fixed_endpoints(app: FastAPI) -> dict[tuple[str, bytes], ASGIApp]:
    """Return the endpoints of an application whose path has no fields, by method and path."""
    return {
        (method, route.path.encode()): route.endpoint
        for route in app.routes
        if isinstance(route, Route) and isinstance(route.endpoint, Endpoint) and not route.param_convertors
        for method in route.methods or ()
    }


def create_app(plane: DataPlane, pump: Pump, metrics: Metrics, events: Events, *, needs_token: bool) -> FastAPI:
    """Return the application; its routes are the contract of the documentation."""
    app = FastAPI(
        title="Vinocast",
        version=__version__,
        summary="Forecasts in about a millisecond on an ordinary server CPU.",
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    shared, json = Endpoints(plane, pump), JsonProtocol(plane, OPS, PROTOCOL)
    plane.push = lambda pushed: events.publish(json.pushed(pushed))
    app.router.routes.append(Route(EVENTS, events, methods=["GET"]))
    for op in OPS.values():
        if op.route is not None:
            path = op.route.path.replace("}", ":anything}")
            app.router.routes.append(
                Route(path, Endpoint(shared, json, op, op.route.path), methods=[op.route.method], name=op.name)
            )
    standards = [KServeProtocol(plane, OPS["forecast"]), SageMakerProtocol(plane, OPS["forecast"])]
    for protocol in standards:
        app.router.routes.append(
            Route(protocol.path, Endpoint(shared, protocol, protocol.op, protocol.path), methods=["POST"])
        )

    add_open_inference(app, shared)

    @app.get(
        "/streams",
        summary="What every stream holds",
        response_model=None,
        responses={200: {"model": StreamsReply}},
    )
    async def streams() -> Response:
        return BudgetedResponse({"streams": describe_streams(plane)}, plane)

    @app.head("/livez", include_in_schema=False)
    @app.get("/livez", summary="Whether the process answers", response_model=None)
    async def livez() -> Response:
        return Response(b'{"live":true}', media_type="application/json")

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", summary="Whether forecasts and glyphs are answered", response_model=None)
    async def readyz() -> Response:
        return BudgetedResponse(pong(plane), plane) if plane.warm else Refusal(NotReadyError(NOT_READY))

    @app.head("/ping", include_in_schema=False)
    @app.get("/ping", summary="The same without a body, as SageMaker asks it", response_model=None)
    async def ping() -> Response:
        return Response() if plane.warm else Refusal(NotReadyError(NOT_READY))

    @app.get(METRICS.decode(), summary="Counts and times for Prometheus", response_class=PlainTextResponse)
    async def metrics_page() -> Response:
        parts = []
        for part in metrics.pages():
            parts.append(part)
            await asyncio.sleep(0)  # what has come meanwhile goes first
        return Response(b"".join(parts), media_type=CONTENT_TYPE_LATEST)

    @app.get(
        "/v1/timeseries/models", summary="The names of the forecasters, as KServe has them", response_model=list[str]
    )
    async def models() -> list[str]:
        return plane.forecasters

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            general = plane.general_model.manifest
            if general.layout == "series":  # others forecast no single series, which these send
                add_standards(schema, standards, general.context)
            describe_open_inference(schema, plane)
            add_ops(schema, [op for op in OPS.values() if plane.serves(op)], *plane.window_shape)
            if plane.serves(OPS["feed"]):
                add_events(schema, EVENTS)
            if needs_token:
                schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                schema["security"] = [{"token": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI says to extend it

    @app.head(SCHEMA, include_in_schema=False)
    @app.get(SCHEMA, include_in_schema=False)
    async def schema() -> Response:
        return BudgetedResponse(openapi(), plane)

    add_pages(app)
    app.add_exception_handler(HTTPException, http_exception)
    app.add_middleware(Faults)
    return app
