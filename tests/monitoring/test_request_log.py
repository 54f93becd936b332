"""Each request that is refused is found in the log by its name, over lines and over HTTP."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import orjson
import pytest
from support import MODEL, PATIENCE, Gate, HttpService, StdioService, packed, random_windows, wait_until
from tensors_asked import grpc_port
from vinocast.errors import InternalError, InvalidShapeError, RequestError
from vinocast.monitoring.ended import Ended, Origin
from vinocast.monitoring.request_log import MOST_LINES, RequestLog
from vinocast.protocols.open_inference.messages import SERVICE, message

(WINDOW,) = random_windows(1)
OBSERVED = {"values": [[0.0] * 7], "timestamp_ms": 10**12}
TOO_LONG = 2**70  # for the 64 bits that most JSON has
TRACE = f"00-{'1a' * 16}-{'2b' * 8}-01"


@pytest.fixture(scope="module")
def service() -> Iterator[HttpService]:
    limits = ("--max-request-bytes", "200000", "--max-streams", "1")
    with HttpService("--slow-seconds", "0.000001", "--grpc-port", "0", *limits) as service:
        assert httpx.post(f"{service.url}/streams/young/observations", json=OBSERVED).status_code == 200
        yield service


@pytest.fixture
def client(service: HttpService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url) as client:
        yield client


def line_of(service: HttpService | StdioService, name: str) -> str:
    """The one line of the log that names a request."""

    def lines() -> list[str]:
        return [line for line in service.log.splitlines() if re.search(rf"_id='?{re.escape(name)}'?(?= |$)", line)]

    wait_until(lines, f"the log names {name}")
    (line,) = lines()
    return line


REFUSED: dict[str, tuple[str, str, dict[str, object]]] = {
    "invalid_json": ("POST", "/forecast", {"content": b"{\n", "headers": {"Content-Type": "application/json"}}),
    "invalid_request": ("POST", "/forecast", {"json": {"past_valuse": []}}),
    "invalid_shape": ("POST", "/forecast", {"json": {"past_values": [[1.0]]}}),
    "invalid_value": ("POST", "/forecast", {"json": {"past_values": [[None] * 7] * 512}}),
    "unknown_target": ("POST", "/forecast", {"json": {**packed(WINDOW), "targets": ["none"]}}),
    "not_enough_history": ("POST", "/forecast", {"json": {"stream": "young"}}),
    "stale_timestamp": ("POST", "/streams/young/observations", {"json": {**OBSERVED, "timestamp_ms": 1}}),
    "timestamp_ahead": ("POST", "/streams/young/observations", {"json": {**OBSERVED, "timestamp_ms": 10**15}}),
    "overloaded": ("POST", "/streams/another/observations", {"json": OBSERVED}),
    "unknown_model": ("POST", "/forecast", {"json": {**packed(WINDOW), "model": "none"}}),
    "unknown_stream": ("DELETE", "/streams/none", {}),
    "not_found": ("GET", "/none", {}),
    "method_not_allowed": ("PUT", "/forecast", {}),
    "payload_too_large": (
        "POST",
        "/forecast",
        {"content": b" " * 300_000, "headers": {"Content-Type": "application/json"}},
    ),
    "unsupported_media_type": ("POST", "/forecast", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
    "misdirected": ("GET", "/docs", {"headers": {"Host": "example.com"}}),
    "forbidden": ("GET", "/docs", {"headers": {"Origin": "http://example.com"}}),
    "deadline_exceeded": ("POST", "/forecast", {"json": {**packed(WINDOW), "deadline_ms": 0}}),
}


# What is provoked elsewhere: with a token, while a model loads, at the end; and what only a fault of ours can.
ELSEWHERE = {"unauthorized", "not_ready", "shutting_down", "internal"}
LINES_ALONE = {"unknown_op", "line_too_long"}
HTTP_ALONE = {
    "not_found",
    "method_not_allowed",
    "unsupported_media_type",
    "misdirected",
    "forbidden",
    "unauthorized",
    "not_ready",
}


def test_every_code_is_provoked() -> None:
    codes = {kind.code for kind in RequestError.__subclasses__()}
    assert set(REFUSED) | ELSEWHERE | LINES_ALONE == codes
    assert set(REFUSED_LINES) | ELSEWHERE | HTTP_ALONE == codes


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_request_is_in_the_answer_the_log_and_the_metrics(
    service: HttpService, client: httpx.Client, code: str
) -> None:
    check_refusal(service, client, code, *REFUSED[code])


def check_refusal(
    service: HttpService, client: httpx.Client, code: str, method: str, path: str, arguments: dict[str, object]
) -> None:
    """Ask for what is refused, and find it in the answer by its field, in the log by its id, in the metrics."""
    named = {"X-Request-ID": f"mine-{code}", "traceparent": TRACE, **arguments.get("headers", {})}  # type: ignore[dict-item]
    response = client.request(method, path, **{**arguments, "headers": named})  # type: ignore[arg-type]
    error = response.json()["error"]
    assert error["code"] == code
    assert response.headers["x-request-id"] == f"mine-{code}"
    assert response.headers["traceparent"] == TRACE
    line = line_of(service, f"mine-{code}")
    assert f" code={code} " in line
    assert f" trace={TRACE} " in line
    assert (f" field={error['field']!r} " in line) is (error["field"] is not None)
    assert re.search(r" total_ms=\d+\.\d+: ", line)
    assert counted(client.get("/metrics").text, code)


def counted(page: str, code: str) -> bool:
    return re.search(rf'vinocast_requests_total{{code="{code}",.*}} \d+\.0\n', page) is not None


GRPC: dict[str, tuple[dict[str, Any], grpc.StatusCode]] = {
    "invalid_request": ({"model_name": MODEL}, grpc.StatusCode.INVALID_ARGUMENT),
    "invalid_shape": ({"shape": [1, 511, 7]}, grpc.StatusCode.INVALID_ARGUMENT),
    "invalid_value": ({"raw": np.full((1, 512, 7), np.nan, np.float32).tobytes()}, grpc.StatusCode.INVALID_ARGUMENT),
    "unknown_model": ({"model_name": "none"}, grpc.StatusCode.NOT_FOUND),
}


@pytest.mark.parametrize("code", GRPC)
def test_a_refused_call_of_grpc_is_in_the_answer_the_log_and_the_metrics(
    service: HttpService, client: httpx.Client, code: str
) -> None:
    given, status = GRPC[code]
    tensor = {"name": "past_values", "datatype": "FP32", "shape": given.get("shape", [1, 512, 7])}
    tensors = {} if code == "invalid_request" else {"inputs": [tensor]}
    raw = {} if code == "invalid_request" else {"raw_input_contents": [given.get("raw", WINDOW.tobytes())]}
    name = f"grpc-{code}"
    asked = message("ModelInferRequest")(model_name=given.get("model_name", MODEL), id=name, **tensors, **raw)
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port(service)}") as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError) as raised:
            call(asked.SerializeToString(), timeout=PATIENCE, metadata=[("traceparent", TRACE)])
    assert raised.value.code() is status
    line = line_of(service, name)
    assert f" code={code} " in line
    assert " protocol=grpc route=ModelInfer " in line
    assert f" trace={TRACE} " in line
    assert line.endswith(raised.value.details())
    page = client.get("/metrics").text
    assert re.search(rf'vinocast_requests_total{{code="{code}",.*protocol="grpc",route="ModelInfer"}} 1\.0\n', page)


def test_who_lacks_the_token_is_in_the_log_and_the_metrics() -> None:
    token = {"Authorization": "Bearer sixteen-characters"}
    with HttpService(env={"VINOCAST_TOKEN": "sixteen-characters"}) as service:
        headers = {"X-Request-ID": "mine-unauthorized"}
        response = httpx.post(f"{service.url}/forecast", json={}, headers=headers)
        assert response.json()["error"]["code"] == "unauthorized"
        assert " code=unauthorized " in line_of(service, "mine-unauthorized")
        assert counted(httpx.get(f"{service.url}/metrics", headers=token).text, "unauthorized")


def test_what_comes_before_it_is_ready_and_after_its_end_is_in_the_log(
    make_gate: Callable[[str], Gate], tmp_path: Path
) -> None:
    gate = make_gate("slow")
    with HttpService("--models", tmp_path / "models", ready=False) as service:
        gate.reach()
        with httpx.Client(base_url=service.url) as client:
            check_refusal(service, client, "not_ready", "POST", "/forecast", {"json": packed(WINDOW)})
            body = orjson.dumps(packed(WINDOW))
            with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
                head = b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: mine-late\r\n"
                head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                connection.sendall(head + body[:100])
                client.get("/livez")  # what was sent before has been read
                service.signal(signal.SIGTERM)
                assert b'"shutting_down"' in connection.recv(1 << 16)
        assert " code=shutting_down " in line_of(service, "mine-late")


def test_a_fault_of_ours_is_in_the_log_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    error = InternalError.logged(ZeroDivisionError("why"))
    RequestLog(0)(Ended(Origin("http", "/forecast", "mine"), "forecast", 1, error, 0.001))
    explained, line = caplog.records
    assert explained.exc_info is not None
    assert explained.getMessage().rpartition(" ")[2] in line.getMessage()
    assert (line.levelname, line.__dict__["code"], line.__dict__["http_id"]) == ("WARNING", "internal", "mine")


REFUSED_LINES: dict[str, dict[str, object] | bytes] = {
    "invalid_json": b"{\n",
    "invalid_request": {"past_valuse": []},
    "invalid_shape": {"past_values": [[1.0]]},
    "invalid_value": {"past_values": [[None] * 7] * 512},
    "unknown_op": {"op": "none"},
    "unknown_target": {**packed(WINDOW), "targets": ["none"]},
    "unknown_model": {**packed(WINDOW), "model": "none"},
    "unknown_stream": {"stream": "none"},
    "not_enough_history": {"stream": "young"},
    "stale_timestamp": {"op": "observe", "stream": "young", **OBSERVED, "timestamp_ms": 1},
    "timestamp_ahead": {"op": "observe", "stream": "young", **OBSERVED, "timestamp_ms": 10**15},
    "overloaded": {"op": "observe", "stream": "another", **OBSERVED},
    "payload_too_large": {"inputs": [{"item_id": index, "target": [0.0]} for index in range(11)]},
    "line_too_long": b" " * 300_000 + b"\n",
    "deadline_exceeded": {**packed(WINDOW), "deadline_ms": 0},
}


def test_a_refused_line_of_each_code_is_in_the_answer_and_the_log_by_its_name() -> None:
    limits = ("--max-request-bytes", "200000", "--max-streams", "1", "--queue-rows", "10")
    with StdioService("--log-format", "json", *limits) as service:
        assert service.ask({"op": "observe", "stream": "young", **OBSERVED})["success"]
        errors = {}
        for code, asked in REFUSED_LINES.items():
            reply = service.ask(asked if isinstance(asked, bytes) else {"request_id": f"mine-{code}", **asked})
            assert reply["error"]["code"] == code, reply
            errors[code] = reply["error"]
        service.end_input()
        service.wait()
        told = [json.loads(line) for line in service.log.splitlines()]
    refused = {entry["code"]: entry for entry in told if entry["message"].startswith("request refused")}
    assert list(refused) == list(REFUSED_LINES)
    for code, entry in refused.items():
        unread = isinstance(REFUSED_LINES[code], bytes)
        assert entry.get("request_id") == (None if unread else f"'mine-{code}'")
        assert entry.get("field") == (None if errors[code]["field"] is None else repr(errors[code]["field"]))
        assert entry["message"].endswith(errors[code]["message"])


def test_a_request_without_a_name_gets_one_that_the_log_knows(service: HttpService, client: httpx.Client) -> None:
    for given in ({}, {"X-Request-ID": "with a space"}, {"X-Request-ID": "x" * 129}):
        name = client.get("/nowhere", headers=given).headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", name)
        assert "code=not_found" in line_of(service, name)
    assert "traceparent" not in client.get("/livez", headers={"traceparent": f"00-{'0' * 32}-{'1' * 16}-01"}).headers


def test_a_slow_request_has_a_line_with_its_times(service: HttpService, client: httpx.Client) -> None:
    name = client.post("/forecast", json={"request_id": "slow one", **packed(WINDOW)}).headers["x-request-id"]
    line = line_of(service, name)
    assert "WARNING" in line
    assert re.search(r"slow request: request_id='slow one' .* model=patchtst-etth1 queue_ms=\S+ inference_ms=\S+", line)


def test_health_that_is_not_there_yet_is_no_refused_request(service: HttpService, client: httpx.Client) -> None:
    before = client.get("/stats").json()["failed"]
    client.get("/readyz", headers={"X-Request-ID": "probe"})
    assert client.get("/stats").json()["failed"] == before
    assert "probe" not in service.log


def test_a_refused_line_is_in_the_log_by_its_name_as_json() -> None:
    with StdioService("--log-format", "json") as service:
        for request in (
            {"request_id": "a\nb", "op": "glyphs"},
            b'{"request_id": %d, "past_values": [[1]]}\n' % TOO_LONG,
            b"{\n",
            b'{"op": "no"}\n',
        ):
            assert not service.ask(request)["success"]
        service.end_input()
        service.wait()
        told = [json.loads(line) for line in service.log.splitlines()]
    refused = [entry for entry in told if entry["message"].startswith("request refused")]
    assert [entry["code"] for entry in refused] == ["invalid_request", "invalid_shape", "invalid_json", "unknown_op"]
    assert [entry["op"] for entry in refused] == ["glyphs", "forecast", "none", "none"]
    assert [entry.get("request_id") for entry in refused] == ["'a\\nb'", str(TOO_LONG), None, None]
    assert all(entry["protocol"] == "lines" and entry["total_ms"] >= 0 for entry in refused)


def test_of_a_thousand_refusals_in_a_second_a_hundred_have_lines(caplog: pytest.LogCaptureFixture) -> None:
    now = 5.5
    watch = RequestLog(0, lambda: now)
    with caplog.at_level("INFO"):
        for index in range(1000):
            watch(Ended(Origin("lines"), "forecast", index, InvalidShapeError("too few", "past_values"), 0.001))
        assert len(caplog.messages) == MOST_LINES
        now = 6.1
        watch(Ended(Origin("lines"), "forecast", 1000, InvalidShapeError("too few", "past_values"), 0.001))
    assert caplog.messages[MOST_LINES].startswith(f"{1000 - MOST_LINES} more requests")
    assert "request_id=1000" in caplog.messages[MOST_LINES + 1]
