"""Streams as both transports serve them: what one wrong timestamp does, and how it is mended."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest
from support import HttpService, Reply, StdioService, error_of, packed, random_windows

NOW = 1_705_678_900_000
ROW = [1, 2, 3, 4, 5, 6, 7]


def observe(stdio: StdioService, stream: str, timestamp_ms: int | None = None, values: Any = ROW) -> Reply:
    return stdio.ask({"op": "observe", "stream": stream, "timestamp_ms": timestamp_ms, "values": values})


def test_a_row_stamped_in_microseconds_is_refused_and_the_stream_goes_on(stdio: StdioService) -> None:
    for minute in range(3):
        assert observe(stdio, "minutes", NOW + 60_000 * minute)["rows"] == minute + 1
    refused = observe(stdio, "minutes", (NOW + 180_000) * 1000)
    assert error_of(refused) == ("timestamp_ahead", "timestamp_ms")
    message = refused["error"]["message"]
    assert "100000 steps of 60000 ms" in message
    assert str(NOW + 120_000) in message
    assert "forget" in message
    assert error_of(observe(stdio, "minutes", NOW + 120_000 + 100_000 * 60_000 + 1))[0] == "timestamp_ahead"
    assert observe(stdio, "minutes", NOW + 180_000)["rows"] == 4


def test_a_stream_whose_first_row_was_stamped_in_microseconds_names_its_mend(stdio: StdioService) -> None:
    assert observe(stdio, "frozen", NOW * 1000)["success"]
    refused = observe(stdio, "frozen", NOW + 60_000)
    assert error_of(refused) == ("stale_timestamp", "timestamp_ms")
    assert 'op "forget", or DELETE /streams/{stream}' in refused["error"]["message"]
    dropped = stdio.ask({"op": "forget", "request_id": 1, "stream": "frozen"})
    assert dropped == {
        "request_id": 1,
        "timestamp_ms": None,
        "stream": "frozen",
        "rows": 1,
        "newest_timestamp_ms": NOW * 1000,
        "success": True,
    }
    assert error_of(stdio.ask({"op": "forget", "stream": "frozen"})) == ("unknown_stream", "stream")
    assert observe(stdio, "frozen", NOW + 60_000)["rows"] == 1


def test_the_second_row_of_a_stream_may_be_a_year_behind_the_first(stdio: StdioService) -> None:
    assert observe(stdio, "yearly", NOW)["success"]
    refused = observe(stdio, "yearly", NOW + 366 * 86_400_000 + 1)
    assert error_of(refused) == ("timestamp_ahead", "timestamp_ms")
    assert "366 days" in refused["error"]["message"]
    assert observe(stdio, "yearly", NOW + 366 * 86_400_000)["success"]


def test_the_bound_is_a_setting() -> None:
    with StdioService("--max-steps-ahead", "2") as service:
        for timestamp_ms, success in ((1000, True), (2000, True), (4001, False), (4000, True)):
            assert observe(service, "s", timestamp_ms)["success"] is success


def test_a_forecast_by_stream_says_how_old_its_window_is_and_one_of_a_window_does_not(stdio: StdioService) -> None:
    (window,) = random_windows(1)

    def newest() -> tuple[int | None, int]:
        reply = stdio.ask({"stream": "aged", "targets": [0]})
        return reply["newest_timestamp_ms"], reply["rows_since_newest"]

    observe(stdio, "aged", None, window.tolist())
    assert newest() == (None, 512)
    observe(stdio, "aged", NOW)
    assert newest() == (NOW, 0)
    observe(stdio, "aged", None, [ROW, ROW])
    assert newest() == (NOW, 2)
    observe(stdio, "aged", NOW)
    assert newest() == (NOW, 2)
    assert not {"newest_timestamp_ms", "rows_since_newest"} & set(stdio.ask(packed(window)))


def test_streams_over_http_are_listed_and_dropped(http: HttpService) -> None:
    with httpx.Client(base_url=http.url) as client:
        body = {"timestamp_ms": NOW, "values": [ROW, ROW]}
        assert client.post("/streams/BTC%2FUSD/observations", json=body).status_code == 200
        listed = {"stream": "BTC/USD", "rows": 2, "missing": 510, "timestamp_ms": NOW}
        assert listed in client.get("/streams").json()["streams"]
        ahead = client.post("/streams/BTC%2FUSD/observations", json={"timestamp_ms": NOW * 1000, "values": ROW})
        assert (ahead.status_code, error_of(ahead.json())) == (409, ("timestamp_ahead", "timestamp_ms"))
        dropped = client.delete("/streams/BTC%2FUSD")
        assert dropped.status_code == 200
        reply = {"stream": "BTC/USD", "rows": 2, "newest_timestamp_ms": NOW, "success": True}
        assert dropped.json() == {"request_id": None, "timestamp_ms": None, **reply}
        assert "BTC/USD" not in [stream["stream"] for stream in client.get("/streams").json()["streams"]]
        again = client.delete("/streams/BTC%2FUSD")
        assert (again.status_code, error_of(again.json())) == (404, ("unknown_stream", "stream"))
        unnamed = client.delete("/streams/")
        assert (unnamed.status_code, error_of(unnamed.json())) == (422, ("invalid_request", "stream"))


@pytest.mark.slow
def test_the_routes_of_a_stream_succeed_with_their_examples_in_the_order_of_the_documentation() -> None:
    with HttpService() as service, httpx.Client(base_url=service.url) as client:
        paths = client.get("/openapi.json").json()["paths"]
        tried = []
        for path, operations in paths.items():
            for method, operation in operations.items():
                if not path.startswith("/streams"):
                    continue
                examples = {
                    each["name"]: next(iter(each["examples"].values()))["value"]
                    for each in operation.get("parameters", [])
                    if each["in"] == "path"
                }
                body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
                assert "stream" not in body.get("schema", {}).get("required", [])
                tried.append((method, path))
                reply = client.request(method, path.format(**examples), json=body.get("example"))
                assert reply.status_code == 200, reply.text
        assert tried == [
            ("post", "/streams/{stream}/observations"),
            ("post", "/streams/{stream}/history"),
            ("get", "/streams"),
            ("get", "/streams/{stream}/bars"),
            ("delete", "/streams/{stream}"),
        ]
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        assert {"ForgetReply", "StreamsReply"} <= set(schemas)


def test_a_stream_of_any_name_is_reached_by_its_path(http: HttpService) -> None:
    for name in ("a/b", "a\nb", "a\r\nb ", "ü", "a%b"):
        path = f"/streams/{quote(name, safe='')}"
        with httpx.Client(base_url=http.url) as client:
            observed = client.post(f"{path}/observations", json={"values": [1.0] * 7})
            assert (observed.status_code, observed.json()["stream"]) == (200, name)
            assert client.delete(path).json()["rows"] == 1
