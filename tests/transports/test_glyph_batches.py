"""Batches of glyphs: what they leave forecasts and health, and what becomes of one whose client leaves."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Iterator

import httpx
import numpy as np
import orjson
import pytest
from served_glyphs import check, random_grids
from support import PATIENCE, HttpService, StdioService, error_of, packed, wait_until


@pytest.fixture(scope="module")
def client(http: HttpService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=http.url, timeout=PATIENCE) as connected:
        yield connected


def send_batch(service: HttpService, count: int) -> socket.socket:
    """Send a request for so many grids, and return the connection on which the answer would come."""
    body = orjson.dumps({"request_id": 4, "grids": [[[1] * 16] * 16] * count})
    fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    head = f"POST /glyphs HTTP/1.1\r\n{fields}"
    connection = socket.create_connection(("127.0.0.1", service.port), PATIENCE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(body))
    connection.sendall(head.encode() + body)
    return connection


def fill_queue(service: HttpService) -> socket.socket:
    """Send a batch as large as the queue; return its connection once the queue has it."""
    one = {"grids": random_grids(1).tolist()}
    for attempt in range(10):
        connection = send_batch(service, 4096)
        # A probe that is in the queue before the batch keeps it out: then both go again, the probe later.
        time.sleep(0.1 * 2**attempt)
        while not select.select([connection], [], [], 0)[0]:
            if httpx.post(f"{service.url}/glyphs", json=one, timeout=PATIENCE).status_code == 429:
                return connection
        connection.close()
    raise AssertionError("the batch never fills the queue")


@pytest.mark.slow
def test_a_batch_as_large_as_the_queue_leaves_forecasts_their_room(client: httpx.Client, http: HttpService) -> None:
    one = {"grids": random_grids(1).tolist()}
    with fill_queue(http):
        forecast = client.post("/forecast", json=packed(np.ones((512, 7), np.float32).cumsum(axis=0)))
        assert forecast.status_code == 200, forecast.text
    # Whose client has left is done no more, and its room is there again.
    wait_until(lambda: client.post("/glyphs", json=one).status_code == 200, "room")


@pytest.mark.slow
def test_what_clients_have_left_behind_does_not_hold_up_the_end() -> None:
    one = {"grids": random_grids(1).tolist()}
    with HttpService() as service:
        for _ in range(8):
            send_batch(service, 300).close()
        # Behind them all, so that each has been taken in and let go.
        assert httpx.post(f"{service.url}/glyphs", json=one, timeout=PATIENCE).status_code == 200
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert "running task" not in service.log  # which uvicorn cancels when it has waited in vain


def test_a_batch_whose_client_leaves_as_soon_as_it_is_sent_is_not_done(client: httpx.Client, http: HttpService) -> None:
    count = 480  # what the service takes in with one read
    one = {"grids": random_grids(1).tolist()}
    whole = client.post("/glyphs", json={"grids": [[[1] * 16] * 16] * count}).json()["inference_time_ms"]

    def waited() -> float:
        http.signal(signal.SIGSTOP)
        send_batch(http, count).close()
        http.signal(signal.SIGCONT)
        return float(client.post("/glyphs", json=one).json()["queue_time_ms"])

    # Behind a batch that is done to its end each would wait for all of it.
    assert min(waited() for _ in range(3)) < whole / 2


@pytest.mark.slow
def test_a_batch_that_outlasts_the_end_is_told_so() -> None:
    with HttpService() as service, fill_queue(service) as asked:
        service.signal(signal.SIGTERM)
        with asked.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
        assert service.wait() == 0
        assert "Traceback" not in service.log
    if not head.startswith(b"HTTP/1.1 200 "):  # a machine that recognizes 4,096 glyphs in four seconds answers
        assert error_of(orjson.loads(body)) == ("shutting_down", None)
        assert orjson.loads(body)["request_id"] == 4


def test_too_many_glyphs_hold_the_next_request_of_their_connection_up_by_nothing(client: httpx.Client) -> None:
    assert client.post("/glyphs", json={"grids": [[]] * 5000}).status_code == 413
    started = time.monotonic()
    assert client.post("/glyphs", json={"grids": [[]] * 5000}).status_code == 413
    assert time.monotonic() - started < 2


@pytest.mark.slow
def test_a_batch_lets_forecasts_pass(stdio: StdioService) -> None:
    grids = random_grids(64).tolist()
    stdio.ask({"op": "glyphs", "grids": grids[:1]})
    forecast = packed(np.ones((512, 7), np.float32).cumsum(axis=0))
    stdio.send(
        {"op": "glyphs", "request_id": "batch", "grids": grids * 8}, *({"request_id": i, **forecast} for i in range(5))
    )
    order = [stdio.receive()["request_id"] for _ in range(6)]
    assert order == [0, 1, 2, 3, 4, "batch"]


@pytest.mark.slow
def test_what_was_accepted_is_answered_at_the_end_of_input() -> None:
    grids = random_grids(40)
    with StdioService() as service:
        service.send({"op": "glyphs", "request_id": 1, "grids": grids.tolist(), "topk": 2})
        replies, code = service.finish()
    assert code == 0
    (reply,) = replies
    check(reply, grids, 2)
