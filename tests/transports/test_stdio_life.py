"""JSON lines from start to end: waiting for models, floods, clients that do not read, and every way to stop."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from support import (
    MODEL,
    MODELS,
    PATIENCE,
    ROOT,
    VINOCAST,
    Gate,
    Reply,
    StdioService,
    Window,
    error_of,
    near,
    packed,
    random_windows,
    raw_inference,
    rows,
    wait_until,
)

MakeGate = Callable[..., Gate]
PING = {"op": "ping", "request_id": "ping"}


@pytest.fixture
def service() -> Any:
    with StdioService() as started:
        yield started


def by_id(replies: list[Reply]) -> dict[Any, Reply]:
    """Replies by request_id, each of which must occur once."""
    found = {reply["request_id"]: reply for reply in replies}
    assert len(found) == len(replies)
    return found


# Starting


def test_what_is_sent_before_the_model_is_ready_waits_for_it(
    make_gate: MakeGate, tmp_path: Path, window: Window
) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models") as service:
        service.send(
            packed(window, request_id="forecast"),
            packed(window, request_id="late", deadline_ms=1),
            PING,
            packed(window[1:], request_id="wrong"),
            {"op": "stats", "request_id": "stats"},
        )
        gate.reach()
        # What needs no model is answered meanwhile; the rest is not.
        early = by_id([service.receive(), service.receive()])
        assert set(early) == {"wrong", "stats"}
        assert error_of(early["wrong"])[0] == "invalid_shape"
        assert early["stats"]["queued_requests"] == 2
        gate.open()
        late = by_id([service.receive() for _ in range(3)])
        assert late["forecast"]["success"] is True
        assert error_of(late["late"])[0] == "deadline_exceeded"
        assert late["ping"]["ready"] is True
        assert service.finish() == ([], 0)


@pytest.mark.slow
def test_a_model_that_loads_does_not_hold_up_another(make_gate: MakeGate, tmp_path: Path, window: Window) -> None:
    gate = make_gate("slow")
    (tmp_path / "models" / MODEL).symlink_to(MODELS / MODEL)
    with StdioService("--models", tmp_path / "models") as service:
        assert service.ask(PING)["ready"] is True
        gate.reach()
        service.send(packed(window, request_id="slow", model="slow"), packed(window, request_id="quick"))
        quick = service.receive()
        assert (quick["request_id"], quick["model"], quick["success"]) == ("quick", MODEL, True)
        states = {model["name"]: model["state"] for model in service.ask(PING)["models"]}
        assert states == {MODEL: "ready", "slow": "loading"}
        gate.open()
        slow = service.receive()
        assert (slow["request_id"], slow["model"]) == ("slow", "slow")
        assert slow["predictions"] == quick["predictions"]
        assert service.finish() == ([], 0)


def test_a_default_model_that_fails_while_requests_wait_answers_them_and_ends_with_code_1(
    make_gate: MakeGate, tmp_path: Path, window: Window
) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models") as service:
        service.send(packed(window, request_id="forecast"), PING)
        service.end_input()
        gate.open(weights=bytes(100))
        replies = by_id(service.rest())
        assert replies["forecast"]["success"] is False
        assert "model.bin" in replies["forecast"]["error"]["message"]
        assert replies["ping"]["ready"] is False
        assert service.wait() == 1


def test_nothing_is_printed_unasked() -> None:
    with StdioService() as service:
        service.send(b"\n")
        assert service.finish() == ([], 0)


RECORDER = """
import sys
class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name in ("openvino", "openvino.tools.ovc", "spy"):
            with open(FILE, "a") as file:
                print(name, file=file)
sys.meta_path.insert(0, Recorder())
"""


@pytest.mark.parametrize(("env", "spied"), [({}, False), ({"PYDANTIC_DISABLE_PLUGINS": "none"}, True)])
def test_neither_plugins_of_pydantic_nor_openvinos_converters_are_imported(
    tmp_path: Path, window: Window, env: dict[str, str], spied: bool
) -> None:
    imported = tmp_path / "imported"
    (tmp_path / "sitecustomize.py").write_text(f"FILE = {str(imported)!r}\n{RECORDER}")
    (tmp_path / "spy.py").write_text("raise ImportError")
    (tmp_path / "spy-1.dist-info").mkdir()
    (tmp_path / "spy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: spy\nVersion: 1\n")
    (tmp_path / "spy-1.dist-info" / "entry_points.txt").write_text("[pydantic]\nspy = spy:plugin\n")
    with StdioService(env={"PYTHONPATH": str(tmp_path), **env}) as service:
        assert service.ask(packed(window))["success"]
    assert set(imported.read_text().split()) == ({"openvino", "spy"} if spied else {"openvino"})


# Noise


CHATTER = """
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None)
def chatter():
    while threading.main_thread().is_alive():
        print("chatter by Python", flush=True)
        os.write(1, b"chatter by descriptor\\n")
        libc.puts(b"chatter by C")
        libc.fflush(None)
        time.sleep(0.001)
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "openvino":
            threading.Thread(target=chatter, daemon=True).start()
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.slow
def test_standard_output_carries_replies_only_whatever_a_library_prints(tmp_path: Path, window: Window) -> None:
    # From the import of openvino on, somebody prints in every way there is.
    (tmp_path / "sitecustomize.py").write_text(CHATTER)
    with StdioService(env={"PYTHONPATH": str(tmp_path)}) as service:
        for number in range(50):
            reply = service.ask(packed(window, request_id=number))
            assert (reply["request_id"], reply["success"]) == (number, True)
        for kind in ("Python", "descriptor", "C"):
            assert f"chatter by {kind}" in service.log
        service.end_input()
        assert service.rest() == []


# Floods


@pytest.mark.slow
def test_a_thousand_requests_written_before_any_reply_is_read_get_a_reply_each(service: StdioService) -> None:
    windows = random_windows(10)
    expected = raw_inference(windows)
    # Numbers as text: 35 kB and more per request.
    lines = [orjson.dumps(rows(window))[:-1] for window in windows]
    service.send(
        *(line + b',"request_id":%d}\n' % number for number, line in ((i, lines[i % 10]) for i in range(1000)))
    )
    service.end_input()
    replies = by_id(service.rest())
    assert sorted(replies) == list(range(1000))
    for number, reply in replies.items():
        if reply["success"]:
            assert near(reply["predictions"], expected[number % 10], windows[number % 10])
        else:
            assert error_of(reply)[0] == "overloaded"
    assert sum(reply["success"] for reply in replies.values()) > 100
    assert service.wait() == 0


def test_what_does_not_fit_the_queue_is_overloaded_and_the_rest_is_answered(
    make_gate: MakeGate, tmp_path: Path, window: Window
) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models", "--queue-rows", "20") as service:
        service.send(*(packed(window, request_id=number) for number in range(5)))
        service.send(*(packed(window, request_id=number, targets=[0]) for number in range(5, 15)))
        # Two windows of seven series and six single ones.
        refused = by_id([service.receive() for _ in range(7)])
        assert set(refused) == {2, 3, 4, 11, 12, 13, 14}
        assert {error_of(reply)[0] for reply in refused.values()} == {"overloaded"}
        gate.open()
        answered = by_id([service.receive() for _ in range(8)])
        assert all(reply["success"] for reply in answered.values())
        assert service.ask(packed(window))["success"]
        assert service.finish() == ([], 0)


@pytest.mark.slow
def test_reading_pauses_while_replies_are_not_read_and_nothing_is_lost() -> None:
    line = orjson.dumps(packed(np.zeros((512, 7), np.float32)))[:-1]
    total = 1200
    with StdioService("--max-unread-reply-bytes", "65536", "--queue-rows", "70") as service:
        assert service.ask(PING)["ready"]
        data = b"".join(line + b',"request_id":%d}\n' % number for number in range(total))
        assert service.process.stdin is not None
        pipe = service.process.stdin.fileno()
        os.set_blocking(pipe, False)
        written = 0
        # Until nothing has gone in for a while: with the pause that comes soon, without it only after all 23 MB.
        while written < len(data) and select.select([], [pipe], [], 1.5)[1]:
            written += os.write(pipe, data[written : written + 65536])
        requests_taken = written / len(line)
        # The limit holds some 8 replies, a pipe holds 64 KiB, and up to 10 requests more may have waited in the queue;
        # a refusal is a short reply, of which the same bytes hold more.
        assert requests_taken < 600
        assert service.process.poll() is None

        def write_the_rest() -> None:
            os.set_blocking(pipe, True)
            service.send(data[written:])
            service.end_input()

        writer = threading.Thread(target=write_the_rest)
        writer.start()
        replies = by_id(service.rest())
        writer.join()
        assert set(replies) == set(range(total))
        assert {error_of(reply)[0] for reply in replies.values() if not reply["success"]} <= {"overloaded"}
        assert service.wait() == 0


@pytest.mark.slow
def test_garbage_between_requests_gets_its_own_replies(service: StdioService, window: Window) -> None:
    good = [packed(window, request_id=number) for number in range(50)]
    service.send(*(part for request in good for part in (request, b"{garbage\n")))
    replies, code = service.finish()
    assert code == 0
    assert len(replies) == 100
    assert [reply["error"]["code"] for reply in replies if not reply["success"]] == ["invalid_json"] * 50
    assert set(by_id([reply for reply in replies if reply["success"]])) == set(range(50))


# Ends of input


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


# Signals


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


# Broken pipes and dead parents


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
