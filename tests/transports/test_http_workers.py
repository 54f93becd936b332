"""``serve --workers``: several processes behind one port, from start to end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
from support import (
    MODEL,
    PATIENCE,
    HttpService,
    RunVinocast,
    copy_model,
    error_of,
    near,
    packed,
    random_windows,
    wait_until,
)
from vinocast.transports.http.listeners import listen
from vinocast.transports.workers.seats import HANG_TICKS
from vinocast.transports.workers.supervisor import TICK_SECONDS, share_out

pytestmark = pytest.mark.slow

CORES = sorted(os.sched_getaffinity(0))
two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
JSON = {"Content-Type": "application/json"}
BODY = orjson.dumps(packed(np.zeros((512, 7), np.float32)))


def workers(service: HttpService) -> list[int]:
    pid = service.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sockets(pid: int) -> int:
    count = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            count += "socket:" in str(file.readlink())
    return count


def cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def all_ready(service: HttpService) -> bool:
    return "is ready on http" in service.log


@pytest.fixture(scope="module")
def service() -> Iterator[HttpService]:
    """A service of two workers for the tests that leave it as it was."""
    with HttpService("--workers", "2") as started:
        wait_until(lambda: all_ready(started), "all are ready")
        yield started


@two_cores
def test_the_workers_share_the_cores_out_and_every_thread_keeps_to_its_share(service: HttpService) -> None:
    shares = []
    for pid in workers(service):
        allowed = {
            re.findall(r"^Cpus_allowed_list:\s+(\S+)$", (task / "status").read_text(), re.MULTILINE)[0]
            for task in Path(f"/proc/{pid}/task").iterdir()
        }
        assert len(allowed) == 1
        shares.append(os.sched_getaffinity(pid))
    assert len(shares) == 2
    assert not shares[0] & shares[1]
    assert sorted(shares[0] | shares[1]) == CORES


@two_cores
def test_connections_go_to_the_workers_in_turn_and_each_answers_alike(service: HttpService) -> None:
    before = {pid: sockets(pid) for pid in workers(service)}
    (window,) = random_windows(1)
    answers = []
    clients = [httpx.Client(base_url=service.url, timeout=PATIENCE) for _ in range(6)]
    for client in clients:
        reply = client.post("/forecast", json=packed(window)).json()
        answers.append(np.array(reply["predictions"], np.float32))
    # One may have more cores than the other, and so more threads.
    assert all(near(answer, answers[0], window) for answer in answers)
    assert [sockets(pid) - before[pid] for pid in before] == [3, 3]
    for client in clients:
        client.close()
    wait_until(lambda: {pid: sockets(pid) for pid in before} == before, "no connection stays open")


@two_cores
def test_streams_are_refused_with_the_mend(service: HttpService) -> None:
    observed = httpx.post(f"{service.url}/streams/x/observations", json={"values": [1.0] * 7})
    assert (observed.status_code, error_of(observed.json())) == (404, ("not_found", "stream"))
    asked = httpx.post(f"{service.url}/forecast", json={"stream": "x"})
    assert (asked.status_code, error_of(asked.json())) == (404, ("unknown_stream", "stream"))
    dropped = httpx.delete(f"{service.url}/streams/x")
    assert (dropped.status_code, error_of(dropped.json())) == (404, ("unknown_stream", "stream"))
    for response in (observed, asked):
        assert "--workers 1" in response.json()["error"]["message"]
    assert httpx.get(f"{service.url}/streams").json() == {"streams": []}
    assert set(httpx.get(f"{service.url}/openapi.json").json()["paths"]) & {"/forecast", "/streams/{stream}"} == {
        "/forecast"
    }


@two_cores
def test_a_worker_that_is_killed_is_replaced_and_requests_go_on_meanwhile() -> None:
    with HttpService("--workers", "2") as service:
        wait_until(lambda: all_ready(service), "all are ready")
        killed, other = workers(service)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: "is lost" in service.log, "the loss is noticed")
        before = sockets(other)
        with httpx.Client(base_url=service.url, timeout=PATIENCE) as first:
            assert first.post("/forecast", content=BODY, headers=JSON).status_code == 200
            assert sockets(other) == before + 1
            wait_until(lambda: service.log.count("model patchtst-etth1 is ready") == 3, "another is ready")
            (replacement,) = set(workers(service)) - {other}
            assert os.sched_getaffinity(replacement).isdisjoint(os.sched_getaffinity(other))
            for _ in range(4):
                assert httpx.post(f"{service.url}/forecast", content=BODY, headers=JSON).status_code == 200
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert "Traceback" not in service.log


@two_cores
def test_a_worker_that_hangs_is_replaced_and_what_it_has_not_taken_goes_to_others() -> None:
    with HttpService("--workers", "2") as service:
        wait_until(lambda: all_ready(service), "all are ready")
        before = set(workers(service))
        hung = min(before)
        os.kill(hung, signal.SIGSTOP)
        # Sent before the parent knows: every second of them lies in the channel of the one that hangs.
        connections = [socket.create_connection(("127.0.0.1", service.port), PATIENCE) for _ in range(8)]
        for connection in connections:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for connection in connections:
            with connection:
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert "it has not answered" in service.log
        assert service.log.count("is lost") == 1
        wait_until(lambda: service.log.count(f"model {MODEL} is ready") == 3, "another is ready")
        assert before - set(workers(service)) == {hung}
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert "Traceback" not in service.log


@two_cores
def test_a_parent_that_was_stopped_itself_kills_no_worker() -> None:
    with HttpService("--workers", "2") as service:
        wait_until(lambda: all_ready(service), "all are ready")
        before = workers(service)
        service.signal(signal.SIGSTOP)
        time.sleep((HANG_TICKS + 2) * TICK_SECONDS)
        service.signal(signal.SIGCONT)
        time.sleep(3 * TICK_SECONDS)
        assert workers(service) == before
        assert "is lost" not in service.log


@two_cores
def test_connections_that_no_worker_takes_wait_and_cost_the_parent_nothing() -> None:
    with HttpService("--workers", "2") as service:
        wait_until(lambda: all_ready(service), "all are ready")
        pids = workers(service)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        # More than the channels to both hold.
        connections = [socket.create_connection(("127.0.0.1", service.port), PATIENCE) for _ in range(900)]
        for connection in connections:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        time.sleep(1)
        before = cpu_seconds(service.process.pid)
        time.sleep(2)
        assert cpu_seconds(service.process.pid) - before < 0.5
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        for connection in connections:
            with connection:
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert workers(service) == pids


@two_cores
@pytest.mark.parametrize("who", ["one worker", "all at once"])
def test_workers_that_get_the_signal_themselves_lose_no_connection(who: str) -> None:
    with HttpService("--workers", "2") as service:
        wait_until(lambda: all_ready(service), "all are ready")
        first = workers(service)
        signalled = first[:1] if who == "one worker" else [*first, service.process.pid]
        connections = [socket.create_connection(("127.0.0.1", service.port), PATIENCE) for _ in range(8)]
        for pid in signalled:
            os.kill(pid, signal.SIGTERM)
        for connection in connections:
            with connection:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        if who == "one worker":
            wait_until(lambda: service.log.count(f"model {MODEL} is ready") == 3, "another is ready")
            service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert "parent process is gone" not in service.log
        assert "Traceback" not in service.log


@two_cores
def test_at_sigterm_what_was_accepted_is_answered_and_it_ends_with_code_0() -> None:
    with HttpService("--workers", "2") as service:
        wait_until(lambda: all_ready(service), "all are ready")
        head = (
            b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: application/json"
            b"\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        )
        connections = [socket.create_connection(("127.0.0.1", service.port), PATIENCE) for _ in range(4)]
        for connection in connections:
            connection.sendall(head)
            assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
            connection.sendall(BODY)
        service.signal(signal.SIGTERM)
        for connection in connections:
            with connection, connection.makefile("rb") as stream:
                assert int(stream.readline().split()[1]) in {200, 503}
        pids = workers(service)
        assert service.wait() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert "Traceback" not in service.log


@two_cores
@pytest.mark.parametrize("gone", [False, True], ids=["hangs on", "is killed then"])
def test_at_sigterm_what_a_worker_that_hangs_has_not_taken_goes_to_others(gone: bool) -> None:
    with HttpService("--workers", "2") as service:
        wait_until(lambda: all_ready(service), "all are ready")
        hung = min(workers(service))
        os.kill(hung, signal.SIGSTOP)
        # Every second of them lies in the channel of the one that hangs.
        connections = [socket.create_connection(("127.0.0.1", service.port), PATIENCE) for _ in range(6)]
        for connection in connections:
            connection.sendall(
                b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
            )
        service.signal(signal.SIGTERM)
        if gone:
            time.sleep(0.2)
            os.kill(hung, signal.SIGKILL)
        for connection in connections:
            with connection, connection.makefile("rb") as stream:
                assert stream.readline().split()[1] in {b"200", b"503"}
        assert service.wait() == (0 if gone else 1)
        assert ("had to be killed" in service.log) != gone
        assert "Traceback" not in service.log


@two_cores
def test_when_the_parent_is_killed_the_workers_end() -> None:
    with HttpService("--workers", "2") as service:
        pids = workers(service)
        service.process.kill()
        service.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), "the workers end")


@two_cores
def test_a_refused_model_ends_the_service_with_code_1_and_one_message(
    run_vinocast: RunVinocast, tmp_path: Path
) -> None:
    (copy_model(tmp_path / "models") / "model.bin").write_bytes(b"other")
    done = run_vinocast("serve", "--port", "0", "--workers", "2", "--models", tmp_path / "models")
    assert done.returncode == 1
    assert done.stderr.count("vinocast: ") == 1
    assert "model.bin" in done.stderr.splitlines()[-1]
    assert "convert the model again" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_more_workers_than_cores_are_a_clear_error(run_vinocast: RunVinocast) -> None:
    done = run_vinocast("serve", "--port", "0", "--workers", str(len(CORES) + 1))
    assert done.returncode == 1
    assert re.search(rf"--workers {len(CORES) + 1}: \d+ cores? here", done.stderr.splitlines()[-1])


@two_cores
def test_an_address_that_is_taken_is_a_clear_error(run_vinocast: RunVinocast) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_vinocast("serve", "--workers", "2", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "--port" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_accepted_connection_does_not_hold_replies_back() -> None:
    (listener,) = listen("127.0.0.1", 0)
    with listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("cpus", "count", "shares"),
    [
        ([0, 1], 2, [[0], [1]]),
        ([2, 3, 8, 9], 2, [[2, 3], [8, 9]]),
        ([0, 1, 2, 3, 4], 2, [[0, 1], [2, 3, 4]]),
        ([5], 1, [[5]]),
    ],
)
def test_shares_are_neighbours_and_nearly_equal(cpus: list[int], count: int, shares: list[list[int]]) -> None:
    assert share_out(cpus, count) == shares
