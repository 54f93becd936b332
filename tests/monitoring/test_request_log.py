"""Each request that is refused is found in the log by its name, over lines and over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from support import HttpService, StdioService, packed, random_windows, wait_until
from vinocast.errors import InvalidShapeError
from vinocast.monitoring.ended import Ended, Origin
from vinocast.monitoring.request_log import MOST_LINES, RequestLog

(WINDOW,) = random_windows(1)
TOO_LONG = 2**70  # for the 64 bits that most JSON has
TRACE = f"00-{'1a' * 16}-{'2b' * 8}-01"


@pytest.fixture(scope="module")
def service() -> Iterator[HttpService]:
    with HttpService("--max-request-bytes", "200000", "--slow-seconds", "0.000001") as service:
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


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_request_is_in_the_answer_the_log_and_the_metrics(
    service: HttpService, client: httpx.Client, code: str
) -> None:
    method, path, arguments = REFUSED[code]
    headers = {"X-Request-ID": f"mine-{code}", "traceparent": TRACE, **arguments.pop("headers", {})}  # type: ignore[dict-item]
    response = client.request(method, path, headers=headers, **arguments)  # type: ignore[arg-type]
    assert response.json()["error"]["code"] == code
    assert response.headers["x-request-id"] == f"mine-{code}"
    assert response.headers["traceparent"] == TRACE
    line = line_of(service, f"mine-{code}")
    assert f" code={code} " in line
    assert f" trace={TRACE} " in line
    assert re.search(r" total_ms=\d+\.\d+: ", line)
    assert re.search(rf'vinocast_requests_total{{code="{code}",.*}} \d+\.0\n', client.get("/metrics").text)


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
