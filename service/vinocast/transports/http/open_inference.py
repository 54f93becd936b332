"""The routes of the Open Inference Protocol: inference; health, metadata and the repository of models beside it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from fastapi import Response
from starlette.routing import Route

from vinocast.errors import RequestError
from vinocast.handlers.models import (
    INDEX,
    INDEX_ROUTE,
    LOAD,
    LOAD_ROUTE,
    SERVER,
    UNLOAD,
    UNLOAD_ROUTE,
    metadata,
    model_ready,
    server_ready,
)
from vinocast.ops import OPS
from vinocast.protocols.open_inference.over_http import HEADER_LENGTH, HttpInferProtocol, HttpMessage
from vinocast.protocols.open_inference.repository import IndexProtocol, LoadParameters, ModelProtocol, UnloadParameters
from vinocast.transports.http.endpoint import Endpoint
from vinocast.transports.http.responses import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

    from vinocast.dataplane import DataPlane
    from vinocast.transports.http.endpoint import Endpoints

MODEL, OF_VERSION = "/v2/models/{model}", "/versions/{version}"
REQUEST_ID = b"request-id"
# The model and the version that a path names.
Asked: TypeAlias = "tuple[str, str | None]"


def add_open_inference(app: FastAPI, shared: Endpoints) -> None:
    """Add the routes to an application."""
    plane = shared.plane

    def ready(_: Asked) -> dict[str, bool]:
        server_ready(plane)
        return {"ready": True}

    def ready_model(asked: Asked) -> dict[str, Any]:
        model_ready(plane, *asked)
        return {"name": asked[0], "ready": True}

    protocol = HttpInferProtocol(plane, OPS)
    repository = (
        (INDEX_ROUTE.path, INDEX, IndexProtocol(plane)),
        (LOAD_ROUTE.path, LOAD, ModelProtocol(plane, LoadParameters)),
        (UNLOAD_ROUTE.path, UNLOAD, ModelProtocol(plane, UnloadParameters)),
    )
    app.router.routes += [
        Route("/v2", _Said(lambda _: SERVER), methods=["GET"]),
        Route("/v2/health/live", _Said(lambda _: {"live": True}), methods=["GET"]),
        Route("/v2/health/ready", _Said(ready), methods=["GET"]),
        *(Route(path, Endpoint(shared, reads, op, path), methods=["POST"]) for path, op, reads in repository),
    ]
    for path in (MODEL, MODEL + OF_VERSION):
        app.router.routes += [
            Route(path, _Said(lambda asked: metadata(plane, *asked)), methods=["GET"]),
            Route(f"{path}/ready", _Said(ready_model), methods=["GET"]),
            Route(f"{path}/infer", InferEndpoint(shared, protocol, None, f"{path}/infer"), methods=["POST"]),
        ]


def endpoints_of_models(app: FastAPI, plane: DataPlane) -> dict[tuple[str, bytes], ASGIApp]:
    """Return what answers inference of each model of now, by method and path: the router takes as long as to parse."""
    (infer,) = (route.endpoint for route in app.routes if isinstance(route, Route) and route.path == f"{MODEL}/infer")
    return {
        ("POST", f"/v2/models/{model.name}/infer".encode()): _OfModel(infer, model.name)
        for model in plane.repository.answering
    }


class InferEndpoint(Endpoint):
    """Answers inference, of whose request the header says more than that it is JSON."""

    def reader(self, scope: Scope) -> Callable[[bytes], HttpMessage]:
        """Return what reads the body of a request."""
        headers = dict(reversed(scope["headers"]))
        identity = headers.get(REQUEST_ID)
        return partial(
            HttpMessage,
            header_length=headers.get(HEADER_LENGTH),
            identity=None if identity is None else identity.decode("latin-1"),
        )

    def headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Return what is said of a reply besides: the header that names the request."""
        return [field for field in scope["headers"] if field[0] == REQUEST_ID][:1]


class _OfModel:
    """An endpoint whose path has the name of a model as its only field."""

    def __init__(self, endpoint: ASGIApp, model: str) -> None:
        self._endpoint = endpoint
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["path_params"] = {"model": self._model}
        await self._endpoint(scope, receive, send)


class _Said:
    """An endpoint that says something of what its path names, or why it does not."""

    def __init__(self, say: Callable[[Asked], Any]) -> None:
        self._say = say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        fields = scope["path_params"]
        try:
            said = self._say((fields.get("model", ""), fields.get("version")))
            response = Response(orjson.dumps(said), media_type="application/json")
        except RequestError as error:
            response = Refusal(error, path=scope["path"])
        await response(scope, receive, send)
