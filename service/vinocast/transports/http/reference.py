"""The part of the OpenAPI schema that the table of ops makes: a path for each op that has a route."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from vinocast.protocols.open_inference.over_http import HttpInferProtocol, InferReply, InferRequest, Refusal
from vinocast.protocols.replies import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vinocast.dataplane import DataPlane, Op
    from vinocast.protocols.standards import StandardProtocol

COMPONENTS = "#/components/schemas/{model}"
ORDER = ("post", "get", "delete")


def add_ops(schema: dict[str, Any], ops: Iterable[Op], context: int, channels: Sequence[str]) -> None:
    """Add ops to a schema of OpenAPI; examples are for a default model of this context and these channels."""
    described = [op for op in ops if op.route is not None]
    references, definitions = models_json_schema(
        [(op.reply, "serialization") for op in described] + [(ErrorReply, "serialization")], ref_template=COMPONENTS
    )
    schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    refused = {"description": "Refused", "content": _json(references[ErrorReply, "serialization"])}
    for op in described:
        if op.route is None:
            continue
        answered = {"description": "Answered", "content": _json(references[op.reply, "serialization"])}
        path: dict[str, Any] = {
            "summary": op.route.summary,
            "operationId": op.name,
            "responses": {"200": answered, "4XX": refused, "5XX": refused},
        }
        in_path = re.findall(r"{(\w+)}", op.route.path)
        if in_path:
            path["parameters"] = [_parameter(name, "path", op) for name in in_path]
            path["parameters"] += [_parameter(name, "query", op) for name in op.route.query]
        if op.example is not None and op.route.method == "POST":
            body = op.request.model_json_schema()
            # What the path holds need not be in the body.
            body["required"] = [name for name in body.get("required", []) if name not in in_path]
            content = {"application/json": {"schema": body, "example": op.example(context, channels)}}
            path["requestBody"] = {"required": True, "content": content}
        schema["paths"].setdefault(op.route.path, {})[op.route.method.lower()] = path
    # In the order in which a reader can try them: what fills, what shows, what drops.
    schema["paths"] = dict(sorted(schema["paths"].items(), key=lambda each: min(map(ORDER.index, each[1]))))


def add_standards(schema: dict[str, Any], protocols: Iterable[StandardProtocol], context: int) -> None:
    """Add the routes of other standards to a schema of OpenAPI; examples are for a model of this context."""
    for protocol in protocols:
        parts = (protocol.request, protocol.reply, protocol.refusal)
        _, definitions = models_json_schema([(part, "serialization") for part in parts], ref_template=COMPONENTS)
        schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
        request, reply, refusal = (_json({"$ref": COMPONENTS.format(model=part.__name__)}) for part in parts)
        request["application/json"]["example"] = protocol.example(context)
        refused = {"description": "Refused", "content": refusal}
        schema["paths"][protocol.path] = {
            "post": {
                "summary": protocol.summary,
                "operationId": protocol.path.strip("/").replace("/", "_"),
                "requestBody": {"required": True, "content": request},
                "responses": {
                    "200": {"description": "Answered", "content": reply},
                    "4XX": refused,
                    "5XX": refused,
                },
            }
        }


def add_open_inference(schema: dict[str, Any], plane: DataPlane) -> None:
    """Add the routes of the Open Inference Protocol to a schema of OpenAPI; examples are for the default model."""
    parts = (InferRequest, InferReply, Refusal)
    _, definitions = models_json_schema([(part, "serialization") for part in parts], ref_template=COMPONENTS)
    schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    request, reply, refusal = (_json({"$ref": COMPONENTS.format(model=part.__name__)}) for part in parts)
    request["application/json"]["example"] = HttpInferProtocol.example(*plane.window_shape)
    examples = {"model": plane.default_model.name, "version": plane.default_model.folder.version}

    def add(path: str, summary: str, method: str = "get", **more: Any) -> None:
        refused = {"description": "Refused", "content": refusal}
        operation = {
            "summary": summary,
            "operationId": re.sub(r"\W+", "_", path).strip("_"),
            "responses": {"200": {"description": "Answered"}, "4XX": refused, "5XX": refused},
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": examples[name]}
                for name in re.findall(r"{(\w+)}", path)
            ],
        }
        schema["paths"][path] = {method: operation | more}

    add("/v2", "What this service is, as the Open Inference Protocol says it")
    add("/v2/health/live", "The same as /livez")
    add("/v2/health/ready", "The same as /readyz")
    add("/v2/repository/index", "Every model and its state", "post")
    add("/v2/repository/models/{model}/load", "Serve a model as its folder has it now", "post")
    add("/v2/repository/models/{model}/unload", "Serve a model no longer", "post")
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        add(path, "What a model takes and answers, as tensors")
        add(f"{path}/ready", "Whether a model answers")
        add(
            f"{path}/infer",
            "Forecast windows, or recognize glyphs, with tensors",
            "post",
            requestBody={"required": True, "content": request},
            responses={
                "200": {"description": "Answered", "content": reply},
                "4XX": {"description": "Refused", "content": refusal},
                "5XX": {"description": "Refused", "content": refusal},
            },
        )


def add_events(schema: dict[str, Any], path: str) -> None:
    """Add the route of what is pushed to a schema of OpenAPI."""
    refused = {"description": "Refused", "content": _json({"$ref": COMPONENTS.format(model="ErrorReply")})}
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
            "responses": {"200": {"description": "Events", "content": stream}, "4XX": refused, "5XX": refused},
        }
    }


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _parameter(name: str, place: str, op: Op) -> dict[str, Any]:
    """Return the description of a field that stands in a path, or behind it."""
    described = dict(op.request.model_json_schema()["properties"][name])
    described.pop("title", None)
    parameter = {"name": name, "in": place, "required": place == "path", "description": described.pop("description")}
    example = op.route.named.get(name) if op.route else None
    return {**parameter, "schema": described, **({"examples": {example: {"value": example}}} if example else {})}
