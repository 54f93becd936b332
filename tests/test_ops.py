"""The table of ops: what it says of each is so over lines, over HTTP, in the reference and in the documents."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from support import MODEL, MODELS, ROOT, HttpService, StdioService, Window, rows
from vinocast.forecast.manifest import open_forecaster
from vinocast.ops import OPS, register
from vinocast.protocols.replies import ErrorReply

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
# What an example leaves to the path of its route.
IN_PATH = {
    "observe": {"stream": "demo"},
    "forget": {"stream": "demo"},
    "bars": {"stream": "BTC-USD@5m"},
    "history": {"stream": "BTC-USD@5m"},
}
SHAPES = open_forecaster(MODELS / MODEL).manifest


def example(name: str) -> dict[str, Any]:
    op = OPS[name]
    return (op.example(SHAPES.context, SHAPES.channels) if op.example else {}) | IN_PATH.get(name, {})


def check(schema: type[BaseModel], reply: dict[str, Any]) -> None:
    """A reply holds what its schema says, and nothing else."""
    schema.model_validate(reply)
    if schema.model_config.get("extra") != "allow":
        assert reply.keys() <= schema.model_fields.keys()


def test_replies_over_lines_are_as_the_table_says(stdio: StdioService, window: Window) -> None:
    for name, op in OPS.items():
        reply = stdio.ask({"op": name, **example(name), "metadata": {"mine": [1]}})
        assert reply["success"] is True, reply
        check(op.reply, reply)
    stdio.ask({"op": "observe", "stream": "whole", "values": rows(window)["past_values"]})
    check(OPS["forecast"].reply, stdio.ask({"stream": "whole"}))
    check(ErrorReply, stdio.ask({"op": "glyphs", "rasters": [1]}))
    for name in OPS:
        check(ErrorReply, stdio.ask({"op": name, "wrong": 1}))


def test_replies_over_http_are_as_the_table_says(http: HttpService) -> None:
    for name, op in OPS.items():
        if op.route is None:
            continue
        path = op.route.path.format(**IN_PATH.get(name, {}))
        fields = {key: value for key, value in example(name).items() if key not in IN_PATH.get(name, {})}
        reply = httpx.request(op.route.method, http.url + path, json=fields)
        assert reply.status_code == 200, reply.text
        check(op.reply, reply.json())
        check(ErrorReply, httpx.request(op.route.method, http.url + path, json={"wrong": 1}).json())


def test_the_reference_describes_every_route(http: HttpService) -> None:
    paths = httpx.get(f"{http.url}/openapi.json").json()["paths"]
    for op in OPS.values():
        if op.route is not None:
            described = paths[op.route.path][op.route.method.lower()]
            assert described["summary"] == op.route.summary
            assert described["responses"]["200"]["content"]["application/json"]["schema"] == {
                "$ref": f"#/components/schemas/{op.reply.__name__}"
            }


@pytest.mark.parametrize("name", OPS)
def test_the_documents_name_every_op_field_and_route(name: str) -> None:
    op = OPS[name]
    assert f"`{name}`" in PROTOCOL
    for field in op.request.model_fields:
        assert f"`{field}`" in PROTOCOL, field
    if op.route is not None:
        assert f"{op.route.method} {op.route.path}" in PROTOCOL


def test_an_op_is_registered_once() -> None:
    with pytest.raises(ValueError, match="there is an op ping already"):
        register(OPS["ping"])
