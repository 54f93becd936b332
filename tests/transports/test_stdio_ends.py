"""How JSON lines end: the end of input, streams that are closed, signals, clients that leave, parents that die."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import (
    PATIENCE,
    ROOT,
    VINOCAST,
    Gate,
    StdioService,
    Window,
    by_id,
    error_of,
    packed,
    rows,
    wait_until,
)

MakeGate = Callable[..., Gate]


PING = {"op": "ping", "request_id": "ping"}


@pytest.fixture
def service() -> Any:
    with StdioService() as started:
        yield started


def test_end_of_input_ends_with_code_0_after_every_answer(service: StdioService, window: Window) -> None:
    service.send(*(packed(window, request_id=number) for number in range(10)), PING)
    replies, code = service.finish()
    assert set(by_id(replies)) == {*range(10), "ping"}
    assert all(reply["success"] for reply in replies)
    assert code == 0


def test_a_last_line_without_a_newline_is_a_line(service: StdioService, window: Window) -> None:
    service.send(orjson.dumps(packed(window, request_id="last")))
    (reply,), code = service.finish()
    assert (reply["request_id"], reply["success"], code) == ("last", True, 0)


@pytest.mark.slow
def test_half_a_line_and_the_end_of_input_are_one_error(service: StdioService, window: Window) -> None:
    service.send(packed(window, request_id="whole"), orjson.dumps(packed(window))[:1000])
    replies, code = service.finish()
    assert sorted(reply["success"] for reply in replies) == [False, True]
    assert [error_of(reply)[0] for reply in replies if not reply["success"]] == ["invalid_json"]
    assert code == 0


def test_a_long_line_that_never_ends_is_one_error_and_the_end_of_input_still_counts() -> None:
    with StdioService("--max-request-bytes", "100000") as service:
        service.send(b"[" * 10_000_000)
        (reply,), code = service.finish()
        assert error_of(reply)[0] == "line_too_long"
        assert code == 0


@pytest.mark.slow
def test_a_line_of_exactly_the_limit_is_taken_with_either_end(window: Window) -> None:
    line = orjson.dumps(rows(window))
    with StdioService("--max-request-bytes", str(len(line))) as service:
        service.send(line + b"\n", line + b"\r\n", line + b" \n")
        replies, code = service.finish()
        assert sorted(reply["success"] for reply in replies) == [False, True, True]
        assert [error_of(reply)[0] for reply in replies if not reply["success"]] == ["line_too_long"]
        assert code == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "socket"])
def test_files_and_sockets_serve_as_standard_streams_too(tmp_path: Path, window: Window, kind: str) -> None:
    request = b"".join(orjson.dumps(packed(window, request_id=number)) + b"\n" for number in range(50))
    if kind == "file":
        (tmp_path / "in").write_bytes(request)
        with (
            (tmp_path / "in").open("rb") as source,
            (tmp_path / "out").open("wb") as sink,
            StdioService(stdin=source, stdout=sink) as service,
        ):
            assert service.wait() == 0
        lines = (tmp_path / "out").read_bytes().splitlines()
    else:
        ours, theirs = socket.socketpair()
        with ours, theirs, StdioService(stdin=theirs, stdout=theirs) as service:
            theirs.close()
            ours.settimeout(PATIENCE)

            def send() -> None:
                ours.sendall(request)
                ours.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            received = b""
            while data := ours.recv(1 << 20):
                received += data
            sender.join()
            assert service.wait() == 0
        lines = received.splitlines()
    assert sorted(json.loads(line)["request_id"] for line in lines) == list(range(50))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_is_closed_ends_the_service_or_leaves_it_whole(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" stdio {closed}', str(VINOCAST)],
        input=b'{"op":"ping"}\n',
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0
    assert [json.loads(line)["ready"] for line in done.stdout.splitlines()] == ([True] if closed == "2>&-" else [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_idle_ends_with_code_0(service: StdioService, number: int) -> None:
    assert service.ask(PING)["ready"]
    service.signal(number)
    assert service.rest() == []
    assert service.wait() == 0


@pytest.mark.slow
def test_sigterm_with_40_requests_written_answers_them_and_ends_with_code_0(window: Window) -> None:
    with StdioService() as service:
        assert service.ask(PING)["ready"]
        service.send(*(packed(window, request_id=number) for number in range(40)))
        service.signal(signal.SIGTERM)
        replies = by_id(service.rest())
        assert all(reply["success"] for reply in replies.values())
        # What was written had been read, or stood in the pipe.
        assert set(replies) == set(range(40))
        assert service.wait() == 0


def test_sigterm_while_the_model_loads_ends_with_code_0(make_gate: MakeGate, tmp_path: Path) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models") as service:
        gate.reach()
        service.signal(signal.SIGTERM)
        gate.open()
        assert service.rest() == []
        assert service.wait() == 0
        assert "Traceback" not in service.log


@pytest.mark.slow
def test_sigterm_while_requests_wait_for_the_model_answers_them_however_long_it_loads(
    make_gate: MakeGate, tmp_path: Path, window: Window
) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models") as service:
        service.send(*(packed(window, request_id=number) for number in range(3)), {"op": "stats"})
        assert service.receive()["queued_requests"] == 3
        gate.reach()
        service.signal(signal.SIGTERM)
        # Longer than a client that reads nothing is waited for; this one reads, and the service is not done yet.
        time.sleep(5)
        assert service.process.poll() is None
        gate.open()
        replies = by_id(service.rest())
        assert set(replies) == {0, 1, 2}
        assert all(reply["success"] for reply in replies.values())
        assert service.wait() == 0


@pytest.mark.slow
def test_after_a_signal_a_client_that_never_reads_is_given_up(window: Window) -> None:
    with StdioService() as service:
        # The replies are several times what a pipe holds.
        service.send(*(rows(window, request_id=number) for number in range(60)))
        service.signal(signal.SIGTERM)
        assert service.wait() == 1
        assert "left behind" in service.log


def test_a_client_that_closes_its_end_of_the_replies_ends_the_service_with_code_1(window: Window) -> None:
    with StdioService() as service:
        assert service.ask(PING)["ready"]
        assert service.process.stdout is not None
        service.process.stdout.close()
        service.send(packed(window))
        assert service.wait() == 1
        assert "standard output" in service.log
        assert "Traceback" not in service.log


@pytest.mark.slow
def test_a_killed_parent_ends_the_service_though_a_sibling_holds_the_pipe_open(tmp_path: Path) -> None:
    # The parent starts the service, and a sibling that inherits the writing end of its input and the reading end of
    # its output; then it reports the pids and waits to be killed.
    parent_code = """
import os, subprocess, sys, time
service = subprocess.Popen([sys.argv[1], "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
ends = (service.stdin.fileno(), service.stdout.fileno())
sibling = subprocess.Popen(["sleep", "60"], pass_fds=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
service.stdin.write(b'{"op": "ping"}\\n')
service.stdin.flush()
service.stdout.readline()
print(service.pid, sibling.pid, flush=True)
time.sleep(60)
"""
    with (tmp_path / "log").open("wb") as log:
        parent = subprocess.Popen(
            [sys.executable, "-c", parent_code, str(VINOCAST)], stdout=subprocess.PIPE, stderr=log, cwd=ROOT
        )
        assert parent.stdout is not None
        with parent:
            pid, sibling = map(int, parent.stdout.readline().split())
            try:
                parent.kill()
                parent.wait()
                wait_until(lambda: not is_running(pid), "the service is gone")
                assert is_running(sibling)
            finally:
                os.kill(sibling, signal.SIGKILL)
                if is_running(pid):
                    os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Whether a process that is not ours still runs; a zombie that nobody has reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
