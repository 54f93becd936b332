"""Whatever is accepted ends and gives back what it held: slow, huge and leaving clients, junk, replies left unread."""

from __future__ import annotations

import contextlib
import http.client
import random
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
from support import (
    PATIENCE,
    ROOT,
    Gate,
    HttpService,
    StdioService,
    all_shapes,
    error_of,
    in_threads,
    packed,
    wait_until,
)
from vinocast.dataplane import DataPlane
from vinocast.ops import OPS
from vinocast.settings import HttpSettings
from vinocast.transports.http import bodies
from vinocast.transports.http.listeners import listen
from vinocast.transports.http.server import Server

MIB = 1 << 20
LONGEST = 8 * MIB
FORECAST = packed(np.ones((512, 7), np.float32).cumsum(axis=0))
RASTER = orjson.loads((ROOT / "examples" / "glyphs.json").read_bytes())["rasters"][0]
FIELDS = "Host: localhost\r\nContent-Type: application/json\r\n"
# Of arrays of numbers, which parses and is no raster, until its turn comes.
JUNK = b'{"rasters":[' + b",".join([b"[" + b"1," * 9_000 + b"1]"] * 400) + b"]}"


def head(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\n{FIELDS}Content-Length: {length}\r\n\r\n".encode()


def connect(port: int, *data: bytes) -> socket.socket:
    """Connect and send, however little of it is taken in."""
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    with contextlib.suppress(OSError):
        for part in data:
            connection.sendall(part)
    return connection


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, orjson.loads(response.read())


def loaded(service: HttpService) -> None:
    """Wait until all that a service loads is there: what it takes from then on is what clients make it take."""
    wait_until(lambda: all_shapes(httpx.get(f"{service.url}/readyz").json()["models"]), "loaded")


@pytest.mark.slow
def test_bodies_that_do_not_come_hold_no_more_than_the_budget_and_keep_no_forecast_out() -> None:
    with HttpService("--max-waiting-bytes", str(64 * MIB)) as service:
        loaded(service)
        before = service.resident_mb
        slow = in_threads(lambda _: connect(service.port, head("/forecast", LONGEST), b" " * (LONGEST - 1)), 24)
        slow.append(
            connect(
                service.port,
                f"POST /forecast HTTP/1.1\r\n{FIELDS}Transfer-Encoding: chunked\r\n\r\n".encode(),
                b"%x\r\n" % LONGEST,
                b" " * (LONGEST - 1),
            )
        )
        assert httpx.post(f"{service.url}/forecast", json=FORECAST).status_code == 200
        assert service.resident_mb - before < 1.5 * 64 + 30  # of the first pieces each connection keeps some
        wait_until(lambda: len(select.select(slow, [], [], 0)[0]) >= 19, "what has no room is refused")
        for connection in select.select(slow, [], [], 0)[0]:
            status, reply = answer(connection)
            assert (status, error_of(reply)[0]) == (429, "overloaded")
        for connection in slow:
            connection.close()

        def taken_in() -> bool:
            with connect(service.port, head("/forecast", LONGEST), b" " * LONGEST) as whole:
                return answer(whole)[0] == 400

        wait_until(taken_in, "what they held is free again")


def test_bodies_that_are_said_to_be_long_and_do_not_come_keep_nobody_out() -> None:
    with HttpService("--max-waiting-bytes", str(16 * MIB)) as service, contextlib.ExitStack() as silent:
        for _ in range(40):
            silent.enter_context(connect(service.port, head("/forecast", LONGEST)))
        for _ in range(10):
            reply = httpx.post(
                f"{service.url}/forecast", content=b" " * 4 * MIB, headers={"Content-Type": "application/json"}
            )
            assert error_of(reply.json())[0] == "invalid_json"


@pytest.mark.slow
def test_a_refused_body_says_when_to_come_again_and_its_connection_goes_on() -> None:
    with (
        HttpService("--max-waiting-bytes", str(16 * MIB)) as service,
        connect(service.port, head("/forecast", LONGEST), b" " * (LONGEST - 1)),
    ):
        client = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)

        def refused() -> bool:
            client.request("POST", "/forecast", b" " * LONGEST, {"Content-Type": "application/json"})
            response = client.getresponse()
            body = orjson.loads(response.read())
            assert response.status in (400, 429), body
            if response.status == 429:
                assert error_of(body)[0] == "overloaded"
                assert response.headers["Retry-After"] == "1"
            return response.status == 429

        wait_until(refused, "the other body is taken up")
        client.request("POST", "/forecast", orjson.dumps(FORECAST), {"Content-Type": "application/json"})
        assert client.getresponse().status == 200
        client.close()


@pytest.mark.slow
def test_a_hundred_batches_that_are_hung_up_on_leave_nothing_behind() -> None:
    batch = orjson.dumps({"rasters": [RASTER] * 500})
    one = {"rasters": [RASTER]}
    with HttpService() as service:
        loaded(service)
        assert httpx.post(f"{service.url}/glyphs", json=one).status_code == 200
        before = service.resident_mb
        for _ in range(100):
            connect(service.port, head("/glyphs", len(batch)), batch).close()
        # Behind them all: they have been taken in and let go.
        reply = httpx.post(f"{service.url}/glyphs", json=one)
        assert reply.status_code == 200
        assert service.resident_mb - before < 80  # a hundred of them would hold 800
        service.signal(15)
        assert service.wait() == 0
        assert "running task" not in service.log
        assert "Traceback" not in service.log


@pytest.mark.slow
def test_large_requests_that_are_refused_leave_nothing_behind() -> None:
    body = orjson.dumps({"past_values": [[0.1234567890123 + channel for channel in range(800)] for _ in range(500)]})
    with HttpService() as service:
        loaded(service)
        before = service.resident_mb
        for _ in range(20):
            reply = httpx.post(f"{service.url}/forecast", content=body, headers={"Content-Type": "application/json"})
            assert error_of(reply.json())[0] == "invalid_shape"
        assert (
            service.resident_mb - before < 150
        )  # one takes 20 while it is parsed, and as much may be kept for the next


@pytest.mark.slow
def test_a_batch_that_is_under_way_when_its_client_leaves_is_done_no_more() -> None:
    count = 600
    body = orjson.dumps({"grids": [[[1] * 16] * 16] * count})
    one = {"grids": [[[1] * 16] * 16]}
    with HttpService() as service, httpx.Client(base_url=service.url, timeout=PATIENCE) as client:
        whole = client.post("/glyphs", content=body, headers={"Content-Type": "application/json"}).json()
        waited = []
        for _ in range(3):
            with connect(service.port, head("/glyphs", len(body)), body):
                time.sleep(whole["inference_time_ms"] / 1e3 / 4)
            waited.append(client.post("/glyphs", json=one).json()["queue_time_ms"])
        assert min(waited) < whole["inference_time_ms"] / 4


@pytest.mark.slow
def test_junk_behind_a_good_batch_is_bounded_by_the_budget_and_the_good_one_is_answered() -> None:
    good = orjson.dumps({"rasters": [RASTER] * 1000})
    with HttpService("--max-waiting-bytes", str(200 * MIB), "--queue-rows", "100000") as service:
        loaded(service)
        before = service.resident_mb
        first = connect(service.port, head("/glyphs", len(good)), good)
        junk = in_threads(lambda _: connect(service.port, head("/glyphs", len(JUNK)), JUNK), 16)
        assert httpx.post(f"{service.url}/forecast", json=FORECAST).status_code == 200
        assert service.resident_mb - before < 300  # each junk takes some 45 MiB
        status, reply = answer(first)
        assert status == 200
        assert len(reply["results"]) == 1000  # type: ignore[arg-type]  # a list, by the schema
        codes = Counter(error_of(answer(connection)[1])[0] for connection in junk)
        assert set(codes) <= {"overloaded", "payload_too_large", "invalid_value", "invalid_request"}
        for connection in (first, *junk):
            connection.close()


@pytest.mark.slow
def test_replies_that_are_not_read_count_and_are_given_back_when_the_client_leaves() -> None:
    # Much longer than what the kernel keeps of it.
    body = orjson.dumps({"grids": [[[7] * 16] * 16] * 48, "topk": 1000})
    with HttpService("--max-waiting-bytes", str(64 * MIB)) as service:
        loaded(service)
        before = service.resident_mb

        def ask(_: int) -> socket.socket:
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(PATIENCE)
            connection.connect(("127.0.0.1", service.port))
            with contextlib.suppress(OSError):
                connection.sendall(head("/glyphs", len(body)) + body)
            return connection

        unread = in_threads(ask, 40)
        assert httpx.post(f"{service.url}/forecast", json=FORECAST).status_code == 200
        assert service.resident_mb - before < 130  # all of the replies would take 160
        full = httpx.post(f"{service.url}/glyphs", content=body, headers={"Content-Type": "application/json"})
        assert error_of(full.json())[0] == "overloaded"
        for connection in unread:
            connection.close()

        def answered() -> bool:
            reply = httpx.post(f"{service.url}/glyphs", content=body, headers={"Content-Type": "application/json"})
            return reply.status_code == 200

        wait_until(answered, "room")


def test_pings_that_wait_are_bounded_and_each_line_gets_its_reply(
    make_gate: Callable[..., Gate], tmp_path: Path
) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models", "--max-waiting-bytes", "1000000") as service:
        count = 2000
        threading.Thread(
            target=service.send, args=[{"op": "ping", "request_id": number} for number in range(count)]
        ).start()
        gate.reach()
        refused = [service.receive() for _ in range(count - 500)]
        assert {error_of(reply)[0] for reply in refused} == {"overloaded"}
        gate.open()
        replies = refused + [service.receive() for _ in range(500)]
        assert sorted(reply["request_id"] for reply in replies) == list(range(count))
        assert sum(reply["success"] for reply in replies) > 300
        stats = service.ask({"op": "stats"})
        assert (stats["waiting_bytes"], stats["queued_requests"]) == (0, 0)
        assert service.finish() == ([], 0)


def test_what_a_request_says_of_itself_counts_while_it_waits(make_gate: Callable[..., Gate], tmp_path: Path) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models", "--max-waiting-bytes", "4000000") as service:
        for number in range(8):
            service.send({"op": "ping", "request_id": f"{number}" * 40_000, "metadata": "x" * 960_000})
        gate.reach()
        refused = [service.receive() for _ in range(6)]
        assert {error_of(reply)[0] for reply in refused} == {"overloaded"}
        assert 2_000_000 < service.ask({"op": "stats"})["waiting_bytes"] < 2_100_000
        gate.open()
        assert [service.receive()["ready"] for _ in range(2)] == [True] * 2
        assert service.ask({"op": "stats"})["waiting_bytes"] == 0
        assert service.finish() == ([], 0)


@pytest.mark.slow
def test_replies_that_nobody_reads_hold_the_lane_up_as_well(make_gate: Callable[..., Gate], tmp_path: Path) -> None:
    gate = make_gate()
    count = 20_000
    with StdioService("--models", tmp_path / "models", "--max-unread-reply-bytes", "65536") as service:
        writer = threading.Thread(
            target=service.send, args=[{"op": "ping", "request_id": number} for number in range(count)]
        )
        writer.start()
        gate.reach()
        writer.join(PATIENCE)
        waiting = service.resident_mb
        gate.open()
        time.sleep(2)  # for the model, and for the pings that its end lets go
        assert service.resident_mb - waiting < 200  # the model takes 100, the replies to all would another 100
        replies = [service.receive() for _ in range(count)]
        assert sorted(reply["request_id"] for reply in replies) == list(range(count))
        assert service.finish() == ([], 0)


@pytest.fixture
def served() -> Iterator[tuple[Server, int]]:
    """A server in a thread of this process, of which the budget can be looked at."""
    server = Server(DataPlane(HttpSettings(max_waiting_bytes=12 * MIB), OPS), HttpSettings())
    listeners = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=[listeners])
    thread.start()
    wait_until(lambda: server.plane.warm, "ready")
    yield server, listeners[0].getsockname()[1]
    server.should_exit = True
    thread.join(PATIENCE)


@pytest.mark.slow
def test_whatever_becomes_of_requests_the_budget_stands_at_0_behind_them(
    served: tuple[Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.3)
    server, port = served
    good, batch = orjson.dumps(FORECAST), orjson.dumps({"rasters": [RASTER] * 200})
    large = orjson.dumps({**FORECAST, "metadata": ["m"] * 100_000})
    ends: list[tuple[str, bytes, int]] = [  # the route, what is sent, and of what length it is said to be
        ("/forecast", good, len(good)),
        ("/forecast", large, len(large)),
        ("/forecast", b"{" * 100, 100),
        ("/forecast", b'{"past_values": [[1]]}', 22),
        ("/forecast", b" " * 100, LONGEST + 1),
        ("/forecast", good[:1000], len(good)),  # is waited for in vain, or left
        ("/forecast", b" " * 300_000, 4 * MIB),
        ("/glyphs", batch, len(batch)),
        ("/glyphs", JUNK, len(JUNK)),
        ("/glyphs", b'{"grids": [[[1]]]}', 18),
        ("/streams/some/observations", b'{"values": [1, 2, 3, 4, 5, 6, 7]}', 33),
        ("/nowhere", good, len(good)),
    ]
    most = 0

    def client(number: int) -> Counter[int]:
        nonlocal most
        random_ends, statuses = random.Random(number), Counter[int]()
        for _ in range(25):
            path, sent, length = random_ends.choice(ends)
            with connect(port, head(path, length), sent) as connection:
                most = max(most, server.plane.budget.taken)
                if random_ends.random() < 0.6:
                    connection.settimeout(PATIENCE)
                    statuses[answer(connection)[0]] += 1
        return statuses

    statuses = sum(in_threads(client, 12), Counter[int]())
    assert {200, 400, 413, 422, 429, 504} <= set(statuses) <= {200, 400, 404, 413, 422, 429, 504}
    assert most > 0
    wait_until(lambda: server.plane.budget.taken == 0, "everything is given back")
    assert (len(server.plane.lane), server.plane.lane.rows) == (0, 0)
    # What is accepted at the end is given back too, answered or told that it is too late.
    last = [connect(port, head("/glyphs", len(batch)), batch) for _ in range(4)]
    wait_until(lambda: server.plane.budget.taken > 0, "something waits")
    server.should_exit = True
    wait_until(lambda: server.plane.budget.taken == 0 and not len(server.plane.lane), "the end")
    for connection in last:
        connection.close()
