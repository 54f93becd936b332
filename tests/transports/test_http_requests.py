"""HTTP, one request at a time: what every kind of request is answered with, by one service that lives on."""

from __future__ import annotations

import gzip
import re
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from support import (
    CHANNELS,
    MODEL,
    PATIENCE,
    HttpService,
    Reply,
    StdioService,
    Window,
    error_of,
    near,
    packed,
    random_windows,
    raw_inference,
    rows,
)

JSON = {"Content-Type": "application/json"}
GOOD = packed(np.zeros((512, 7), np.float32))


@pytest.fixture(scope="module")
def client(http: HttpService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=http.url, timeout=PATIENCE) as connected:
        yield connected


def post(client: httpx.Client, request: Reply | bytes, **headers: str) -> httpx.Response:
    content = request if isinstance(request, bytes) else orjson.dumps(request)
    return client.post("/forecast", content=content, headers=JSON | headers)


def refusal(response: httpx.Response) -> tuple[int, str, str | None]:
    assert response.headers["Content-Type"] == "application/json"
    code, field = error_of(response.json())
    assert ("Retry-After" in response.headers) is response.json()["error"]["retryable"]
    return response.status_code, code, field


@pytest.mark.parametrize("request_of", [rows, packed], ids=["rows", "base64"])
def test_a_forecast_is_the_models_own_answer_and_that_of_the_json_lines(
    client: httpx.Client, stdio: StdioService, request_of: Any
) -> None:
    windows = random_windows(2, seed=2)
    for window, answer in zip(windows, raw_inference(windows), strict=True):
        request = request_of(window, request_id=17, timestamp_ms=1705678900000)
        response = post(client, request)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        reply, line = response.json(), stdio.ask(request)
        assert near(reply["predictions"], answer, window)
        measured = {"inference_time_ms", "queue_time_ms"}
        assert reply.keys() == line.keys()
        assert {key: reply[key] for key in reply.keys() - measured} == {
            key: line[key] for key in line.keys() - measured
        }


@pytest.mark.parametrize("targets", [["OT"], [6, 0], ["LULL", 1]], ids=str)
def test_targets_are_the_same_columns_in_the_order_asked_for(client: httpx.Client, targets: list[str | int]) -> None:
    (window,) = random_windows(1, seed=3)
    everything = np.array(post(client, packed(window)).json()["predictions"])
    some = np.array(post(client, packed(window, targets=targets)).json()["predictions"])
    columns = [CHANNELS.index(target) if isinstance(target, str) else target for target in targets]
    assert np.abs(some - everything[:, columns]).max() <= 2e-6 * np.abs(window).max()


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.vinocast+json"]
)
def test_json_may_be_declared_in_several_ways(client: httpx.Client, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    assert client.post("/forecast", content=orjson.dumps(GOOD), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("request_body", "refused"),
    [
        pytest.param(b"garbage", (400, "invalid_json", None), id="garbage"),
        pytest.param(b"", (400, "invalid_json", None), id="no body"),
        pytest.param(b'{"past_values": [[NaN]]}', (400, "invalid_json", None), id="NaN"),
        pytest.param(b'{"past_values": [[1e999]]}', (400, "invalid_json", None), id="1e999"),
        pytest.param(b'{"request_id": "\xff"}', (400, "invalid_json", None), id="not UTF-8"),
        pytest.param(b"[" * 2000 + b"]" * 2000, (400, "invalid_json", None), id="2,000 arrays deep"),
        pytest.param(b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", (422, "invalid_request", "a"), id="deep"),
        pytest.param(b"[]", (422, "invalid_request", None), id="an array"),
        pytest.param({}, (422, "invalid_request", "past_values"), id="no window"),
        pytest.param({"past_values": 1}, (422, "invalid_request", "past_values"), id="a number for a window"),
        pytest.param(GOOD | {"shape": None}, (422, "invalid_request", "shape"), id="no shape"),
        pytest.param(GOOD | {"targets": []}, (422, "invalid_request", "targets"), id="no target"),
        pytest.param({"past_values": [[1.0] * 7] * 511}, (422, "invalid_shape", "past_values"), id="511 rows"),
        pytest.param({"past_values": [[1.0] * 6] * 512}, (422, "invalid_shape", "past_values[0]"), id="6 channels"),
        pytest.param({"past_values": []}, (422, "invalid_shape", "past_values"), id="0 rows"),
        pytest.param(GOOD | {"shape": [7, 512]}, (422, "invalid_shape", "shape"), id="turned shape"),
        pytest.param({"past_values": [[None] * 7] * 512}, (422, "invalid_value", "past_values[0][0]"), id="null"),
        pytest.param({"past_values": [[True] * 7] * 512}, (422, "invalid_value", "past_values[0][0]"), id="true"),
        pytest.param(
            packed(np.full((512, 7), np.inf, np.float32)), (422, "invalid_value", "past_values_b64[0][0]"), id="inf"
        ),
        pytest.param(GOOD | {"past_values_b64": "?"}, (422, "invalid_value", "past_values_b64"), id="no base64"),
        pytest.param(GOOD | {"model": "other"}, (404, "unknown_model", "model"), id="unknown model"),
        pytest.param(GOOD | {"targets": ["x"]}, (422, "unknown_target", "targets[0]"), id="unknown target"),
        pytest.param({"stream": "nobody observed it"}, (404, "unknown_stream", "stream"), id="unknown stream"),
        pytest.param(GOOD | {"deadline_ms": 0}, (504, "deadline_exceeded", "deadline_ms"), id="deadline of nothing"),
    ],
)  # fmt: skip
def test_each_fault_gets_its_status_its_code_and_its_path(
    client: httpx.Client, request_body: Reply | bytes, refused: tuple[int, str, str | None]
) -> None:
    if isinstance(request_body, dict):
        request_body = request_body | {"request_id": "echo", "timestamp_ms": 9}
        reply = post(client, request_body).json()
        assert (reply["request_id"], reply["timestamp_ms"]) == ("echo", 9)
    assert refusal(post(client, request_body)) == refused
    assert post(client, GOOD).status_code == 200


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", "", None]
)
@pytest.mark.parametrize("route", ["/forecast", "/glyphs", "/streams/x/observations"])
def test_another_media_type_or_none_is_refused(client: httpx.Client, media_type: str | None, route: str) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    response = client.post(route, content=orjson.dumps(GOOD), headers=headers)
    assert refusal(response) == (415, "unsupported_media_type", None)
    assert "application/json" in response.json()["error"]["message"]


def test_a_body_in_another_coding_is_refused(client: httpx.Client) -> None:
    headers = JSON | {"Content-Encoding": "gzip"}
    response = client.post("/forecast", content=gzip.compress(orjson.dumps(GOOD)), headers=headers)
    assert refusal(response) == (415, "unsupported_media_type", None)
    assert response.json()["error"]["message"] == "Content-Encoding: expected none, got gzip"


def test_an_unknown_route_is_not_found(client: httpx.Client) -> None:
    for response in (client.get("/"), client.get("/forecasts"), client.post("/livez/x", content=b"x")):
        assert refusal(response) == (404, "not_found", None)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/forecast", "POST"),
        ("DELETE", "/forecast", "POST"),
        ("POST", "/livez", "GET"),
        ("PUT", "/readyz", "GET"),
    ],
)
def test_another_method_is_refused_with_those_that_are_allowed(
    client: httpx.Client, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)
    assert refusal(response) == (405, "method_not_allowed", None)
    assert response.headers["Allow"] == allowed


def test_a_body_declared_too_long_is_refused_before_it_is_sent(http: HttpService) -> None:
    with socket.create_connection(("127.0.0.1", http.port), PATIENCE) as connection:
        connection.sendall(
            b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10000000\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_too_long_is_refused_however_it_is_sent(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    for content in (b" " * 10_000_000, chunks()):
        # A server may close a connection on which it has answered before the end of the request.
        with httpx.Client(base_url=client.base_url, timeout=PATIENCE) as fresh:
            response = fresh.post("/forecast", content=content, headers=JSON)
            assert refusal(response) == (413, "payload_too_large", None)
    assert post(client, GOOD).status_code == 200


@pytest.mark.slow
def test_a_body_of_exactly_the_limit_is_taken() -> None:
    body = orjson.dumps(GOOD)
    with HttpService("--max-request-bytes", str(len(body))) as service, httpx.Client(base_url=service.url) as client:
        assert post(client, body).status_code == 200
        assert post(client, body + b" ").status_code == 413


@pytest.mark.slow
def test_eight_clients_at_once_get_their_own_right_answers(http: HttpService) -> None:
    windows = random_windows(8, seed=4)
    answers = raw_inference(windows)
    wrong: list[object] = []

    def ask(number: int) -> None:
        try:
            with httpx.Client(base_url=http.url, timeout=PATIENCE) as client:
                for turn in range(10):
                    reply = post(client, packed(windows[number], request_id=f"{number}/{turn}")).json()
                    if reply["request_id"] != f"{number}/{turn}":
                        wrong.append(reply["request_id"])
                    if not near(reply["predictions"], answers[number], windows[number]):
                        wrong.append(number)
        except Exception as error:  # noqa: BLE001 - reported by the test
            wrong.append(error)

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert wrong == []


def test_a_connection_serves_many_requests(http: HttpService) -> None:
    body = orjson.dumps(GOOD)
    request = (
        b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with (
        socket.create_connection(("127.0.0.1", http.port), PATIENCE) as connection,
        connection.makefile("rb") as answers,
    ):
        for content in (body, b"x" * len(body), body):
            connection.sendall(request + content)
            status = answers.readline()
            headers = dict(line.lower().split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
            reply = orjson.loads(answers.read(int(headers[b"content-length"])))
            assert status.split()[1] == (b"200" if reply["success"] else b"400")


def test_a_client_that_hangs_up_in_the_middle_leaves_no_trace_of_a_fault(
    http: HttpService, client: httpx.Client
) -> None:
    with socket.create_connection(("127.0.0.1", http.port), PATIENCE) as connection:
        connection.sendall(
            b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{"
        )
    with socket.create_connection(("127.0.0.1", http.port), PATIENCE) as connection:
        body = orjson.dumps(GOOD)
        connection.sendall(
            b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
    for _ in range(20):
        assert post(client, GOOD).status_code == 200
    assert "internal error" not in http.log
    assert "Traceback" not in http.log


def test_health_says_live_and_ready(client: httpx.Client) -> None:
    live = client.get("/livez")
    assert (live.status_code, live.json()) == (200, {"live": True})
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert (ready.json()["ready"], ready.json()["default_model"]) == (True, MODEL)


def test_the_documentation_loads_from_the_service_alone(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert len(links) >= 3
    for link in links:
        assert link.startswith("/"), link
        asset = client.get(link)
        assert asset.status_code == 200
        assert asset.content
    assert "://" not in page.text
    assert re.search(r"""url:\s*["']/openapi\.json["']""", page.text)


def test_the_schema_describes_the_request_and_the_replies(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    forecast = schema["paths"]["/forecast"]["post"]
    request = forecast["requestBody"]["content"]["application/json"]["schema"]
    assert request["title"] == "ForecastRequest"
    assert {
        "request_id",
        "timestamp_ms",
        "past_values",
        "past_values_b64",
        "shape",
        "model",
        "targets",
        "deadline_ms",
    } <= set(request["properties"])
    numbers = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    assert numbers in request["properties"]["past_values"]["anyOf"]
    for name, field in request["properties"].items():
        assert field.get("description"), name
    assert {"200", "4XX", "5XX"} <= set(forecast["responses"])
    assert {"ForecastReply", "ErrorReply"} <= set(schema["components"]["schemas"])
    assert {"/forecast", "/livez", "/readyz"} <= set(schema["paths"])


def test_a_client_that_reads_after_it_has_sent_all_sees_why_its_body_was_refused(http: HttpService) -> None:
    for _ in range(3):
        connection = HTTPConnection("127.0.0.1", http.port, timeout=PATIENCE)
        connection.request("POST", "/forecast", b" " * (9 << 20), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        assert reply.status == 413
        assert error_of(orjson.loads(reply.read()))[0] == "payload_too_large"
        connection.close()


def test_an_offered_upgrade_is_ignored_and_the_request_answered(http: HttpService, window: Window) -> None:
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    reply = httpx.post(f"{http.url}/forecast", json=packed(window), headers=headers)
    assert reply.status_code == 200, reply.text


def test_a_stream_may_have_any_name_in_a_path(http: HttpService) -> None:
    body = {"values": [1, 2, 3, 4, 5, 6, 7]}
    reply = httpx.post(f"{http.url}/streams/BTC%2FUSD/observations", json=body)
    assert reply.json()["stream"] == "BTC/USD"
