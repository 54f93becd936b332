"""The part of the OpenAPI schema that the table of ops makes: a path for each op that has a route."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from vinocast.handlers.models import INDEX_ROUTE, LOAD_ROUTE, UNLOAD_ROUTE
from vinocast.protocols.open_inference.over_http import HttpInferProtocol, InferReply, InferRequest, Refusal
from vinocast.protocols.replies import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel

    from vinocast.dataplane import DataPlane, Op, Route
    from vinocast.protocols.standards import StandardProtocol

COMPONENTS = "#/components/schemas/{model}"
ORDER = ("post", "get", "delete")


def add_ops(schema: dict[str, Any], ops: Iterable[Op], context: int, channels: Sequence[str]) -> None:
    """Add ops to a schema of OpenAPI; examples are for a default model of this context and these channels."""
    described = [(op, op.route) for op in ops if op.route is not None]
    *replies, refusal = _components(schema, *(op.reply for op, _ in described), ErrorReply)
    for (op, route), reply in zip(described, replies, strict=True):
        path: dict[str, Any] = {
            "summary": route.summary,
            "operationId": op.name,
            "responses": _responses(refusal, content=reply),
        }
        in_path = re.findall(r"{(\w+)}", route.path)
        if in_path:
            path["parameters"] = [_parameter(name, "path", op, route) for name in in_path]
            path["parameters"] += [_parameter(name, "query", op, route) for name in route.query]
        if op.example is not None and route.method == "POST":
            body = op.request.model_json_schema()
            # What the path holds need not be in the body.
            body["required"] = [name for name in body.get("required", []) if name not in in_path]
            content = {"application/json": {"schema": body, "example": op.example(context, channels)}}
            path["requestBody"] = {"required": True, "content": content}
        schema["paths"].setdefault(route.path, {})[route.method.lower()] = path
    # In the order in which a reader can try them: what fills, what shows, what drops.
    schema["paths"] = dict(sorted(schema["paths"].items(), key=lambda each: min(map(ORDER.index, each[1]))))


def add_standards(schema: dict[str, Any], protocols: Iterable[StandardProtocol], context: int) -> None:
    """Add the routes of other standards to a schema of OpenAPI; examples are for a model of this context."""
    for protocol in protocols:
        request, reply, refusal = _components(schema, protocol.request, protocol.reply, protocol.refusal)
        request["application/json"]["example"] = protocol.example(context)
        schema["paths"][protocol.path] = {
            "post": {
                "summary": protocol.summary,
                "operationId": protocol.path.strip("/").replace("/", "_"),
                "requestBody": {"required": True, "content": request},
                "responses": _responses(refusal, content=reply),
            }
        }


def add_open_inference(schema: dict[str, Any], plane: DataPlane) -> None:
    """Add the routes of the Open Inference Protocol to a schema of OpenAPI; examples are for the default model."""
    request, reply, refusal = _components(schema, InferRequest, InferReply, Refusal)
    request["application/json"]["example"] = HttpInferProtocol.example(*plane.window_shape)
    examples = {"model": plane.default_model.name, "version": plane.default_model.folder.version}

    def add(path: str, summary: str, method: str = "get", **more: Any) -> None:
        operation = {
            "summary": summary,
            "operationId": re.sub(r"\W+", "_", path).strip("_"),
            "responses": _responses(refusal),
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": examples[name]}
                for name in re.findall(r"{(\w+)}", path)
            ],
        }
        schema["paths"][path] = {method: operation | more}

    add("/v2", "What this service is, as the Open Inference Protocol says it")
    add("/v2/health/live", "The same as /livez")
    add("/v2/health/ready", "The same as /readyz")
    for route in (INDEX_ROUTE, LOAD_ROUTE, UNLOAD_ROUTE):
        add(route.path, route.summary, "post")
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        add(path, "What a model takes and answers, as tensors")
        add(f"{path}/ready", "Whether a model answers")
        add(
            f"{path}/infer",
            "Forecast windows, or recognize glyphs, with tensors",
            "post",
            requestBody={"required": True, "content": request},
            responses=_responses(refusal, content=reply),
        )


def add_events(schema: dict[str, Any], path: str) -> None:
    """Add the route of what is pushed to a schema of OpenAPI."""
    (refusal,) = _components(schema, ErrorReply)
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    schema["paths"][path] = {
        "get": {
            "summary": "The forecasts that are pushed when bars close",
            "operationId": "events",
            "parameters": [
                {
                    "name": "Last-Event-ID",
                    "in": "header",
                    "required": False,
                    "description": "the id of an event: those behind it are sent, as far as they are kept",
                    "schema": {"type": "string"},
                }
            ],
            "responses": _responses(refusal, description="Events", content=stream),
        }
    }


def _components(schema: dict[str, Any], *models: type[BaseModel]) -> list[dict[str, Any]]:
    """Add models to the components of a schema, and return for each what refers to it as the content of a body."""
    references, definitions = models_json_schema(
        [(model, "serialization") for model in models], ref_template=COMPONENTS
    )
    schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    return [_json(references[model, "serialization"]) for model in models]


def _responses(refusal: dict[str, Any], **answered: Any) -> dict[str, Any]:
    refused = {"description": "Refused", "content": refusal}
    return {"200": {"description": "Answered"} | answered, "4XX": refused, "5XX": refused}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _parameter(name: str, place: str, op: Op, route: Route) -> dict[str, Any]:
    """Return the description of a field that stands in a path, or behind it."""
    described = dict(op.request.model_json_schema()["properties"][name])
    described.pop("title", None)
    parameter = {"name": name, "in": place, "required": place == "path", "description": described.pop("description")}
    example = route.named.get(name)
    return {**parameter, "schema": described, **({"examples": {example: {"value": example}}} if example else {})}
