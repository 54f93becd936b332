"""What may stand in a request of either transport, and what its reply repeats: fields, ids, marks before the first."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from support import PATIENCE, HttpService, Reply, StdioService, error_of, packed

JSON = {"Content-Type": "application/json"}
# One good request of each op that both transports have, its method and its route.
REQUESTS: dict[str, tuple[str, str, Reply]] = {
    "forecast": ("POST", "/forecast", packed(np.ones((512, 7), np.float32))),
    "observe": ("POST", "/streams/s%2F1/observations", {"stream": "s/1", "values": [1, 2, 3, 4, 5, 6, 7]}),
    "forget": ("DELETE", "/streams/s%2F1", {"stream": "s/1"}),
    "glyphs": ("POST", "/glyphs", {"grids": [[[0] * 16] * 16], "topk": 1}),
}
BIG = 2**64
Ask = Callable[[str, Reply], Reply]


@pytest.fixture(scope="module")
def client(http: HttpService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=http.url, timeout=PATIENCE) as connected:
        yield connected


@pytest.fixture(params=["stdio", "http"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """A function that sends a request of an op with a number of its own among its fields, and returns the reply."""
    if request.param == "stdio":
        stdio: StdioService = request.getfixturevalue("stdio")

        def ask_stdio(op: str, fields: Reply) -> Reply:
            stdio.send(json.dumps({"op": op, **fields}).encode() + b"\n")
            reply = json.loads(stdio.receive_line())
            assert isinstance(reply, dict)
            return reply

        return ask_stdio
    client: httpx.Client = request.getfixturevalue("client")

    def ask_http(op: str, fields: Reply) -> Reply:
        method, path, _ = REQUESTS[op]
        response = client.request(method, path, content=json.dumps(fields), headers=JSON)
        reply = response.json()
        assert (response.status_code == 200) is reply["success"]
        assert isinstance(reply, dict)
        return reply

    return ask_http


@pytest.mark.parametrize("op", REQUESTS)
def test_a_misspelt_field_is_refused_with_the_nearest_name_on_every_op_and_route(ask: Ask, op: str) -> None:
    reply = ask(op, {**REQUESTS[op][2], "request_id": 5, "metadat": 1})
    assert error_of(reply) == ("invalid_request", "metadat")
    assert reply["request_id"] == 5
    assert "did you mean metadata?" in reply["error"]["message"]


@pytest.mark.parametrize("op", ["ping", "stats"])
def test_the_ops_of_lines_alone_refuse_unknown_fields_too(stdio: StdioService, op: str) -> None:
    for name in ("request", "past_values"):
        assert error_of(stdio.ask({"op": op, name: []})) == ("invalid_request", name)


@pytest.mark.parametrize("op", REQUESTS)
@pytest.mark.parametrize("metadata", [None, False, "ü", [1.5, {}], {"id": BIG, "deep": {"null": None}}], ids=str)
def test_metadata_and_ids_of_any_size_are_echoed_in_answers_and_in_refusals(ask: Ask, op: str, metadata: Any) -> None:
    good = REQUESTS[op][2]
    ask("observe", REQUESTS["observe"][2])
    for number, (fields, success) in enumerate([(good, True), ({**good, "none": 1}, False)]):
        reply = ask(op, {**fields, "request_id": BIG + number, "metadata": metadata})
        assert reply["success"] is success, reply
        assert (reply["request_id"], reply["metadata"]) == (BIG + number, metadata)
        assert type(reply["request_id"]) is int
    assert "metadata" not in ask(op, {**good, "none": 1})


def test_pings_and_stats_echo_metadata(stdio: StdioService) -> None:
    for op in ("ping", "stats"):
        reply = stdio.ask({"op": op, "metadata": {"mine": [1]}})
        assert reply["success"], reply
        assert reply["metadata"] == {"mine": [1]}


def test_a_large_id_on_garbage_that_parses_is_echoed(stdio: StdioService) -> None:
    stdio.send(b'{"op": "nothing", "request_id": -99999999999999999999}\n')
    reply = json.loads(stdio.receive_line())
    assert error_of(reply) == ("unknown_op", "op")
    assert reply["request_id"] == -99999999999999999999


@pytest.mark.parametrize("op", REQUESTS)
def test_a_body_may_name_the_op_of_its_route_and_no_other(client: httpx.Client, op: str) -> None:
    method, path, fields = REQUESTS[op]
    client.post(REQUESTS["observe"][1], json=REQUESTS["observe"][2])
    assert client.request(method, path, json={"op": op, **fields}).status_code == 200
    for other in ("ping", "Forecast", 1):
        refused = client.request(method, path, json={"op": other, **fields})
        assert refused.status_code == 422
        assert error_of(refused.json()) == ("invalid_request", "op")


def test_a_body_may_name_the_stream_of_its_path_and_no_other(client: httpx.Client) -> None:
    for op in ("observe", "forget"):
        method, path, fields = REQUESTS[op]
        without = {name: value for name, value in fields.items() if name != "stream"}
        for body in (fields, without, {**without, "stream": None}):
            client.post(REQUESTS["observe"][1], json=REQUESTS["observe"][2])
            assert client.request(method, path, json=body).json()["stream"] == "s/1"
        for other in ("s", "", 1):
            reply = client.request(method, path, json={**fields, "request_id": 3, "stream": other}).json()
            assert error_of(reply) == ("invalid_request", "stream")
            assert "'s/1', as in the path" in reply["error"]["message"]
            assert reply["request_id"] == 3


@pytest.mark.parametrize("op", REQUESTS)
def test_a_field_behind_the_path_is_refused_and_not_ignored(client: httpx.Client, op: str) -> None:
    method, path, fields = REQUESTS[op]
    refused = client.request(method, f"{path}?model=other&x", json={**fields, "request_id": 4})
    assert refused.status_code == 422
    assert error_of(refused.json()) == ("invalid_request", "model")
    assert refused.json()["request_id"] == 4
    assert client.get("/readyz?from=a+probe").status_code == 200


def test_a_byte_order_mark_before_the_first_line_or_a_body_is_passed_over(client: httpx.Client) -> None:
    body = json.dumps({**REQUESTS["glyphs"][2], "request_id": "first"}).encode()
    reply = client.post("/glyphs", content=BOM_UTF8 + body, headers=JSON).json()
    assert (reply["success"], reply["request_id"]) == (True, "first")
    with StdioService() as service:
        for byte in BOM_UTF8:
            service.send(bytes([byte]))
        assert service.ask({"op": "ping", "request_id": "first"})["request_id"] == "first"
    with StdioService() as service:  # as PowerShell begins, where the first line is empty
        service.send(BOM_UTF8 + b"\r\n")
        assert service.ask({"op": "ping", "request_id": "second"})["request_id"] == "second"
        assert service.finish() == ([], 0)


def test_utf_16_is_named_in_its_refusal(client: httpx.Client) -> None:
    refused = client.post("/forecast", content='{"request_id": 1}'.encode("utf-16"), headers=JSON)
    assert refused.status_code == 400
    assert error_of(refused.json()) == ("invalid_json", None)
    assert "UTF-16" in refused.json()["error"]["message"]
