"""HTTP from start to end: loading, overload, draining, and everything that keeps a service from starting."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
from support import (
    MODEL,
    MODELS,
    PATIENCE,
    VINOCAST,
    Gate,
    HttpService,
    RunVinocast,
    Service,
    all_shapes,
    copy_model,
    error_of,
    packed,
    wait_until,
)

MakeGate = Callable[..., Gate]
BODY = orjson.dumps(packed(np.zeros((512, 7), np.float32)))
HEADERS = {"Content-Type": "application/json"}


def post(service: HttpService, body: bytes = BODY) -> httpx.Response:
    return httpx.post(f"{service.url}/forecast", content=body, headers=HEADERS, timeout=PATIENCE)


def to_the_end(connection: socket.socket) -> bytes:
    """All that still comes; a reset is an error."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


class HalfSent:
    """A request of which the service has read the head and waits for the body, as it has said itself."""

    def __init__(self, service: HttpService) -> None:
        self.connection = socket.create_connection(("127.0.0.1", service.port), PATIENCE)
        self.connection.sendall(
            b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        )
        assert self.connection.recv(65536).startswith(b"HTTP/1.1 100 ")

    def send_the_rest(self) -> None:
        self.connection.sendall(BODY)

    def answer(self) -> tuple[int, dict[str, object]]:
        with self.connection, self.connection.makefile("rb") as stream:
            status = int(stream.readline().split()[1])
            head = dict(line.lower().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
            return status, orjson.loads(stream.read(int(head[b"content-length"])))


@pytest.mark.slow
def test_while_its_model_loads_the_service_is_live_not_ready_and_says_so(make_gate: MakeGate, tmp_path: Path) -> None:
    gate = make_gate()
    with HttpService("--models", tmp_path / "models", ready=False) as service:
        gate.reach()
        assert httpx.get(f"{service.url}/livez").status_code == 200
        for response in (httpx.get(f"{service.url}/readyz"), post(service)):
            assert response.status_code == 503
            assert error_of(response.json())[0] == "not_ready"
            assert response.headers["Retry-After"].isdigit()
        gate.open()
        wait_until(lambda: httpx.get(f"{service.url}/readyz").status_code == 200, "ready")
        assert post(service).status_code == 200
        service.signal(signal.SIGTERM)
        assert service.wait() == 0


@pytest.mark.slow
def test_a_model_that_loads_or_has_failed_does_not_keep_the_default_from_answering(
    make_gate: MakeGate, tmp_path: Path
) -> None:
    gate = make_gate("slow")
    (tmp_path / "models" / MODEL).symlink_to(MODELS / MODEL)
    slow = BODY[:-1] + b',"model":"slow"}'
    with HttpService("--models", tmp_path / "models") as service:
        gate.reach()
        assert post(service).status_code == 200
        assert post(service, slow).status_code == 503
        gate.open(weights=b"other")
        wait_until(lambda: "refused" in service.log, "the model is refused")
        refused = post(service, slow)
        assert (refused.status_code, error_of(refused.json())) == (404, ("unknown_model", "model"))
        assert "model.bin" in refused.json()["error"]["message"]
        assert httpx.get(f"{service.url}/readyz").status_code == 200
        assert post(service).status_code == 200
        service.signal(signal.SIGTERM)
        assert service.wait() == 0


@pytest.mark.slow
def test_a_full_queue_is_overloaded_with_a_time_to_try_again() -> None:
    with HttpService("--queue-rows", "1") as service:
        statuses: list[int] = []
        seen = threading.Event()

        def insist() -> None:
            with httpx.Client(base_url=service.url, timeout=PATIENCE, headers=HEADERS) as client:
                for _ in range(500):
                    response = client.post("/forecast", content=BODY)
                    statuses.append(response.status_code)
                    if response.status_code == 429:
                        assert error_of(response.json())[0] == "overloaded"
                        assert response.headers["Retry-After"].isdigit()
                        seen.set()
                    if seen.is_set():
                        return

        clients = [threading.Thread(target=insist) for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert seen.is_set()
        assert set(statuses) <= {200, 429}
        assert post(service).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_signal_while_idle_ends_with_code_0(number: int) -> None:
    with HttpService() as service, httpx.Client(base_url=service.url) as client:
        # A connection that is kept alive does not keep the service alive.
        assert client.get("/livez").status_code == 200
        service.signal(number)
        assert service.wait() == 0
        assert "Traceback" not in service.log


@pytest.mark.slow
def test_sigterm_while_the_model_loads_ends_with_code_0(make_gate: MakeGate, tmp_path: Path) -> None:
    gate = make_gate()
    with HttpService("--models", tmp_path / "models", ready=False) as service:
        gate.reach()
        service.signal(signal.SIGTERM)
        wait_until(lambda: "Finished" in service.log, "the server stops")
        gate.open()
        assert service.wait() == 0
        assert "Traceback" not in service.log


@pytest.mark.slow
def test_requests_in_flight_at_sigterm_are_all_answered_and_it_ends_with_code_0() -> None:
    with HttpService() as service:
        requests = [HalfSent(service) for _ in range(40)]
        for request in requests:
            request.send_the_rest()
        service.signal(signal.SIGTERM)
        answers = [request.answer() for request in requests]
        assert {status for status, _ in answers} <= {200, 503}
        assert all(error_of(reply)[0] == "shutting_down" for status, reply in answers if status == 503)
        assert service.wait() == 0


@pytest.mark.slow
def test_while_draining_nothing_new_is_accepted_and_what_comes_too_late_is_told_so() -> None:
    with HttpService() as service:
        request = HalfSent(service)
        service.signal(signal.SIGTERM)

        def refused() -> bool:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", service.port)):
                return False
            return True

        wait_until(refused, "no new connections")
        request.send_the_rest()
        status, reply = request.answer()
        assert (status, error_of(reply)[0]) == (503, "shutting_down")
        assert service.wait() == 0


@pytest.mark.slow
def test_what_never_comes_to_its_end_is_told_that_the_service_shuts_down_and_does_not_hold_it_up() -> None:
    with HttpService() as service:
        request = HalfSent(service)
        with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as half_a_head:
            half_a_head.sendall(b"POST /forecast HTTP/1.1\r\nHost:")
            assert httpx.get(f"{service.url}/livez").status_code == 200
            service.signal(signal.SIGTERM)
            status, reply = request.answer()
            assert (status, error_of(reply)[0]) == (503, "shutting_down")
            assert b'"shutting_down"' in to_the_end(half_a_head)
        assert service.wait() == 0
        assert "given up" not in service.log


@pytest.mark.slow
def test_a_refused_client_that_goes_on_sending_reads_its_refusal() -> None:
    with HttpService() as service, socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        body = BODY * 100
        connection.sendall(
            b"POST /forecast HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (2 * len(body))
        )
        connection.sendall(body)
        service.signal(signal.SIGTERM)
        wait_until(lambda: select.select([connection], [], [], 0)[0], "the refusal")
        connection.sendall(body[:-1])  # blocks unless somebody takes it in
        assert b'"shutting_down"' in to_the_end(connection)
        assert service.wait() == 0


@pytest.mark.slow
def test_what_had_connected_and_what_comes_on_old_connections_is_answered_and_the_connection_closed() -> None:
    with HttpService() as service:
        old = [socket.create_connection(("127.0.0.1", service.port), PATIENCE) for _ in range(8)]
        for connection in old:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        # The service stands still: the new ones are in the kernel's queue, and no request is read before the signal.
        service.signal(signal.SIGSTOP)
        new = [socket.create_connection(("127.0.0.1", service.port), PATIENCE) for _ in range(100)]
        service.signal(signal.SIGTERM)
        for connection in old + new:
            connection.sendall(
                b"POST /forecast HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
            )
        service.signal(signal.SIGCONT)
        for connection in old + new:
            with connection:
                head, _, reply = to_the_end(connection).partition(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200 "):  # which was read before the signal was seen
                    assert head.startswith(b"HTTP/1.1 503 ")
                    assert head.lower().count(b"connection: close") == 1
                    assert error_of(orjson.loads(reply))[0] == "shutting_down"
        assert service.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_clients_that_connect_without_a_pause_lose_nothing_at_sigterm(options: list[str]) -> None:
    if options and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    with HttpService(*options) as service:
        wait_until(lambda: "is ready on http" in service.log, "all are ready")
        started = threading.Barrier(9)

        def insist(_: int) -> int:
            answers = 0
            while True:
                try:
                    connection = socket.create_connection(("127.0.0.1", service.port), PATIENCE)
                except ConnectionRefusedError:
                    return answers
                with connection:
                    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
                answers += 1
                if answers == 20:
                    started.wait(PATIENCE)

        with ThreadPoolExecutor(8) as pool:
            clients = [pool.submit(insist, index) for index in range(8)]
            started.wait(PATIENCE)
            service.signal(signal.SIGTERM)
            assert all(client.result(PATIENCE) >= 20 for client in clients)
        assert service.wait() == 0
        assert "Traceback" not in service.log


@pytest.mark.slow
def test_requests_sent_without_reading_a_reply_are_not_piled_up_in_memory() -> None:
    body = BODY[:-1] + b',"targets":[0]}'
    request = (
        b"POST /forecast HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    with HttpService() as service, socket.create_connection(("127.0.0.1", service.port), 1) as connection:
        wait_until(lambda: all_shapes(httpx.get(f"{service.url}/readyz").json()["models"]), "loaded")
        before, start = service.resident_mb, time.monotonic()
        with contextlib.suppress(TimeoutError):  # the kernel holds no more
            while time.monotonic() < start + 3:
                connection.sendall(request)
        assert service.resident_mb - before < 10
        assert post(service).status_code == 200


@pytest.mark.slow
def test_a_damaged_default_model_ends_the_service_with_code_1_and_a_message(
    run_vinocast: RunVinocast, tmp_path: Path
) -> None:
    (copy_model(tmp_path / "models") / "model.bin").write_bytes(b"other")
    done = run_vinocast("serve", "--port", "0", "--models", tmp_path / "models")
    assert done.returncode == 1
    assert "model.bin" in done.stderr.splitlines()[-1]
    assert "convert the model again" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("where", ["a port in use", "an address of another machine"])
def test_an_address_it_cannot_listen_on_ends_it_with_code_1_and_a_message(
    run_vinocast: RunVinocast, where: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = {
            "a port in use": ["--port", str(taken.getsockname()[1])],
            "an address of another machine": ["--host", "192.0.2.1", "--port", "0"],
        }[where]
        done = run_vinocast("serve", *options)
    assert done.returncode == 1
    assert "--port" in done.stderr.splitlines()[-1]
    assert "--host" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_the_address_of_every_interface_takes_both_versions_of_ip(options: list[str]) -> None:
    if options and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Service(VINOCAST, "serve", "--host", "::", "--insecure", "--port", str(port), *options) as service:
        wait_until(lambda: "running on http://[::]:" in service.log or service.process.poll() is not None, "listening")
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, port), PATIENCE) as connection:
                connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: f"is ready on http://127.0.0.1:{port}." in service.log, "ready")
        service.signal(signal.SIGTERM)
        assert service.wait() == 0


def test_an_address_of_ip_6_that_is_not_to_be_had_says_so(run_vinocast: RunVinocast) -> None:
    done = run_vinocast("serve", "--host", "2001:db8::1", "--port", "0")
    assert done.returncode == 1
    assert "IPv6 is off" in done.stderr.splitlines()[-1]
    assert "0.0.0.0" in done.stderr.splitlines()[-1]
