"""Connections by the hundred, those that wait for ever, and clients that leave or say that nothing more comes."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import orjson
import pytest
from support import PATIENCE, VINOCAST, HttpService, RunVinocast, error_of, wait_until

JSON = b"Host: localhost\r\nContent-Type: application/json\r\n"
LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
READY = LIVE.replace(b"livez", b"readyz")
STREAMS = LIVE.replace(b"livez", b"streams")
UNFINISHED = b"POST /forecast HTTP/1.1\r\n" + JSON + b"Content-Length: 2\r\n\r\n{"
FEW_FILES = ("bash", "-c", 'ulimit -n 64; exec "$0" "$@"', VINOCAST)
FULL = "the most there may be (--max-connections)"
HEADERS = {"Content-Type": "application/json"}
RESET = struct.pack("ii", 1, 0)


def connect(service: HttpService) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), PATIENCE)


def grids(count: int) -> bytes:
    body = orjson.dumps({"grids": [[[1] * 16] * 16] * count})
    return b"POST /glyphs HTTP/1.1\r\n" + JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body


def read_all(connection: socket.socket) -> bytes:
    """What comes until the service closes the connection, whichever way."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(1 << 16):
            received += more
    return received


def answer(connection: socket.socket, request: bytes = b"") -> tuple[int, dict[bytes, bytes], bytes]:
    """Send a request; status, headers and body of the answer."""
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(1 << 16)
        assert more, received
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    line, *lines = head.lower().split(b"\r\n")
    headers = dict(each.split(b": ", 1) for each in lines)
    while len(body) < int(headers[b"content-length"]):
        body += connection.recv(1 << 16)
    return int(line.split()[1]), headers, body


def status(connection: socket.socket, request: bytes) -> int:
    return answer(connection, request)[0]


def ask(service: HttpService, request: bytes) -> int:
    with connect(service) as connection:
        return status(connection, request)


def descriptors(service: HttpService) -> list[Path]:
    return list(Path(f"/proc/{service.process.pid}/fd").iterdir())


def sockets(service: HttpService) -> int:
    count = 0
    for file in descriptors(service):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            count += str(file.readlink()).startswith("socket:")
    return count


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def small() -> Iterator[HttpService]:
    with HttpService("--max-connections", "4") as service:
        yield service


def seconds_in_one(service: HttpService) -> float:
    """Return how long of a second the service computes."""
    before = cpu_seconds(service.process.pid)
    time.sleep(1)
    return cpu_seconds(service.process.pid) - before


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", b"GET /li", LIVE], ids=["silent", "half a head", "kept alive"])
def test_with_few_descriptors_connections_that_wait_make_room_for_new_ones(sent: bytes) -> None:
    with HttpService(program=FEW_FILES) as service, ExitStack() as open_ones:
        service.signal(signal.SIGSTOP)  # so that they come at once
        others = [open_ones.enter_context(connect(service)) for _ in range(150)]
        for other in others:
            other.sendall(sent)
        service.signal(signal.SIGCONT)
        for request in (LIVE, READY, STREAMS) * 20:
            assert ask(service, request) == 200
        assert len(descriptors(service)) < 64
        assert "\n".join(service.said).count(FULL) in {1, 2}
        assert any(seconds_in_one(service) < 0.5 for _ in range(20))  # the rest of the models may be loading


def test_beyond_the_limit_health_is_answered_and_all_else_is_refused_with_a_time_to_try_again(
    small: HttpService,
) -> None:
    with ExitStack() as open_ones:
        busy = [open_ones.enter_context(connect(small)) for _ in range(4)]
        for connection in busy:
            connection.sendall(UNFINISHED)
        before = sockets(small)
        wait_until(lambda: ask(small, STREAMS) == 429, "all four are busy")
        flood = [open_ones.enter_context(connect(small)) for _ in range(100)]
        for connection in flood:
            connection.sendall(UNFINISHED)
        targets = (b"http://localhost/livez", b"HTTP://LocalHost:80/readyz?x", b"/live%7a", b"/livez?x", b"/ping")
        others = [LIVE.replace(b"/livez", target) for target in targets]
        for request in (LIVE, READY, LIVE.replace(b"GET", b"HEAD"), *others):
            with connect(small) as connection:
                code, headers, body = answer(connection, request.replace(b"HEAD", b"GET"))
                assert (code, headers[b"connection"]) == (200, b"close")
                assert bool(body) is (b" /ping " not in request)
                assert connection.recv(1) == b""
        for target in (b"http://localhost/streams", b"http://localhost", b"/livez%2f", b"/%", b"*"):
            assert ask(small, LIVE.replace(b"/livez", target)) == 429
        with connect(small) as connection:
            code, headers, body = answer(connection, STREAMS)
            assert (code, headers[b"connection"]) == (429, b"close")
            assert int(headers[b"retry-after"]) > 0
            assert error_of(orjson.loads(body)) == ("overloaded", None)
        # Those that are refused wait for their clients, a few of them at a time.
        assert sockets(small) < before + 16
        # What was taken in is answered.
        for connection in busy:
            code, headers, _ = answer(connection, b"}")
            assert (code, b"connection" in headers) == (422, False)
        assert ask(small, STREAMS) == 200
    assert FULL in small.log


def test_the_connection_that_has_waited_longest_is_the_one_that_is_closed(small: HttpService) -> None:
    with ExitStack() as open_ones:
        first, second, third, fourth = (open_ones.enter_context(connect(small)) for _ in range(4))
        for connection in (first, second, third, fourth, first):
            assert status(connection, LIVE) == 200
        fifth = open_ones.enter_context(connect(small))
        assert status(fifth, STREAMS) == 200
        assert second.recv(1) == b""
        for connection in (first, third, fourth, fifth):
            assert status(connection, STREAMS) == 200


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        (40, (), "the limit of 40 open files leaves room for 0 connections, and 1 are wanted: raise it to 49"),
        (100, ("--max-connections", "90"), "leaves room for 52 connections, and 90 are wanted: raise it to 138"),
    ],
)
def test_a_limit_on_files_that_leaves_no_room_is_told_at_the_start(
    run_vinocast: RunVinocast, files: int, options: tuple[str, ...], said: str
) -> None:
    limits = (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    started = run_vinocast(
        "serve", "--port", "0", *options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    )
    assert started.returncode == 1
    assert said in started.stderr
    assert "Traceback" not in started.stderr


@pytest.mark.slow
def test_what_waits_for_ever_is_given_up() -> None:
    """Heads that come byte by byte, and replies that nobody reads."""
    page = LIVE.replace(b"/livez", b"/static-offline-docs/redoc.standalone.js")  # a megabyte
    with HttpService() as service, ExitStack() as open_ones:
        before = sockets(service)

        def begin(data: bytes) -> socket.socket:
            connection = open_ones.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(data)
            return connection

        heads = [begin(b"GET /") for _ in range(50)]
        unread = [begin(page * 10), begin(page), begin(page.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))]
        wait_until(lambda: sockets(service) >= before + 51, "all are there")
        limit = time.monotonic() + 2 * PATIENCE
        while sockets(service) > before:
            assert time.monotonic() < limit, sockets(service) - before
            for connection in heads:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(b"a")
            time.sleep(0.5)
        assert len(unread) == 3
        assert "Traceback" not in service.log


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (LIVE, [200]),
        (LIVE + STREAMS + LIVE, [200, 200, 200]),
        (LIVE.replace(b"/livez", b"/docs"), [200]),
        (UNFINISHED + b"}" + LIVE, [422, 200]),
        (LIVE.replace(b"/livez", b"/nothing"), [404]),
        (grids(3), [200]),
        (grids(3) + grids(2) + LIVE, [200, 200, 200]),
        (b"GET /li", [400]),
        (LIVE + b"GET /li", [200, 400]),
        (UNFINISHED, [400]),
        (UNFINISHED.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"), [400]),
        (b"", []),
    ],
)
def test_a_client_that_ends_what_it_sends_gets_its_answers(http: HttpService, sent: bytes, statuses: list[int]) -> None:
    before = http.said
    with connect(http) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = read_all(connection)
    assert [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)] == statuses
    assert received.count(b"HTTP/1.1 ") == len(statuses)
    if statuses and statuses[-1] == 400:
        assert error_of(orjson.loads(received.rpartition(b"\r\n\r\n")[2])) == ("invalid_request", None)
    assert http.said == before


@pytest.mark.slow
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("behind", [0, 10, 100_000])
def test_a_batch_is_dropped_when_its_client_leaves_whatever_it_sent_behind(
    http: HttpService, behind: int, *, reset: bool
) -> None:
    one = orjson.dumps({"grids": [[[1] * 16] * 16]})
    whole = httpx.post(f"{http.url}/glyphs", content=grids(200).partition(b"\r\n\r\n")[2], headers=HEADERS).json()

    def waited() -> float:
        with connect(http) as connection:
            connection.setblocking(False)
            data = memoryview(grids(2000) + LIVE * behind)
            limit = time.monotonic() + 2
            while data and time.monotonic() < limit:  # as much as there is room for, on both sides
                with contextlib.suppress(BlockingIOError):
                    data = data[connection.send(data) :]
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        reply = httpx.post(f"{http.url}/glyphs", content=one, headers=HEADERS, timeout=2 * PATIENCE).json()
        return float(reply["queue_time_ms"])

    # Behind what is done to its end it would wait for ten times as much; what TCP does not tell is asked every second.
    assert min(waited() for _ in range(2)) < 3 * whole["inference_time_ms"] + 3000


@pytest.mark.slow
def test_a_body_that_does_not_come_does_not_hold_up_the_end() -> None:
    with HttpService() as service, ExitStack() as open_ones:
        connections = [open_ones.enter_context(connect(service)) for _ in range(4)]
        for connection in connections:
            connection.sendall(UNFINISHED)
        too_large = b"POST /forecast HTTP/1.1\r\n" + JSON + b"Content-Length: 99999999\r\n\r\n{"
        with connect(service) as refused:
            assert status(refused, too_large) == 413
            service.signal(signal.SIGTERM)
            for connection in connections:
                code, _, body = answer(connection)
                assert (code, error_of(orjson.loads(body))[0]) == (503, "shutting_down")
            assert service.wait() == 0
        assert "running task" not in service.log  # which uvicorn cancels when it has waited in vain
        assert "Traceback" not in service.log


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_a_parent_of_workers_without_descriptors_waits_for_one_and_says_so() -> None:
    with HttpService("--workers", "2", "--max-connections", "4") as service:
        wait_until(lambda: "is ready on http" in service.log, "both are ready")
        pid = service.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = {int(descriptor.name) for descriptor in descriptors(service)}
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(set(range(len(used) + 1)) - used), hard))
        with connect(service) as connection:
            connection.sendall(LIVE)
            wait_until(lambda: "cannot accept a connection" in service.log, "the log says so")
            before = cpu_seconds(pid)
            time.sleep(1)
            assert cpu_seconds(pid) - before < 0.5
            assert service.log.count("cannot accept a connection") == 1
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            assert answer(connection)[0] == 200
        # Each worker has a limit of its own.
        with ExitStack() as open_ones:
            busy = [open_ones.enter_context(connect(service)) for _ in range(8)]
            for each in busy:
                each.sendall(UNFINISHED)
            wait_until(lambda: [ask(service, STREAMS) for _ in range(2)] == [429, 429], "both are full")
            assert [ask(service, READY) for _ in range(2)] == [200, 200]
