"""A log that nobody reads: whatever descriptor 2 is, nothing waits for it, and what was dropped is said."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from support import PATIENCE, VINOCAST, Service, StdioService, wait_until

pytestmark = pytest.mark.slow

Ends = tuple[int, int]
# Linux: prctl(PR_CAPBSET_DROP, ...) of what lets root open any file.
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def sockets(family: int, kind: int) -> Ends:
    ours, theirs = socket.socketpair(family, kind)
    return ours.detach(), theirs.detach()


def tcp() -> Ends:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        return ours.detach(), theirs.detach()


def locked_pipe() -> Ends:
    """A pipe that cannot be opened anew, as one of another user's cannot."""
    ours, theirs = os.pipe()
    os.fchmod(theirs, 0)
    return ours, theirs


def locked_terminal() -> Ends:
    """A terminal of another user's that is not the one of this session."""
    ours, theirs = pty.openpty()
    os.fchmod(theirs, 0)
    return ours, theirs


KINDS: dict[str, Callable[[], Ends]] = {
    "stream socket": lambda: sockets(socket.AF_UNIX, socket.SOCK_STREAM),
    "datagram socket": lambda: sockets(socket.AF_UNIX, socket.SOCK_DGRAM),
    "seqpacket socket": lambda: sockets(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    "TCP socket": tcp,
    "locked pipe": locked_pipe,
    "pipe": os.pipe,
    "terminal": pty.openpty,
    "locked terminal": locked_terminal,
}


@pytest.fixture
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """The reading end and the end for descriptor 2, of a kind."""
    ours, theirs = KINDS[request.param]()
    yield ours, theirs
    for fd in (ours, theirs):
        os.close(fd)


def fill(fd: int) -> None:
    """Write until there is no room, and leave the descriptor as it was."""
    os.set_blocking(fd, False)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fd, b"." * size)
    os.set_blocking(fd, True)


def read_all(fd: int, until: bytes) -> bytes:
    data = b""
    while until not in data:
        data += os.read(fd, 1 << 16)
    return data


def without_privileges() -> None:
    """What a service has: also root may open only what it is allowed to."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


WRITER = """
import logging, select, sys, warnings
from vinocast.cli.service import start_service
start_service("info", "text")
log = logging.getLogger("flood")
for number in range(5000):
    log.info("line %d %s", number, "x" * 100)
print("to sys.stderr", file=sys.stderr)
warnings.warn("a warning")
print("done", flush=True)
sys.stdin.readline()
number = 0
while not select.select([sys.stdin], [], [], 0.01)[0]:
    log.info("tick %d", number := number + 1)
raise RuntimeError("the last words")
"""


@pytest.mark.parametrize("ends", KINDS, indirect=True)
def test_writing_never_waits_and_what_was_dropped_is_counted_where_it_is_missing(ends: Ends) -> None:
    ours, theirs = ends
    blocking = os.get_blocking(theirs)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
        preexec_fn=without_privileges,  # noqa: PLW1509 - no thread runs here
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline() == b"done\n"
            process.stdin.write(b"\n")
            process.stdin.flush()
            data = read_all(ours, b"flood: tick")
            process.stdin.write(b"\n")
            process.stdin.flush()
            text = (data + read_all(ours, b"the last words")).decode().replace("\r\n", "\n")
        finally:
            process.kill()
    kept = [int(number) for number in re.findall(r"flood: line (\d+) x{100}$", text, re.MULTILINE)]
    assert kept[:50] == list(range(50))
    assert kept == sorted(kept)
    # A shorter line may still fit where a longer one did not, so there may be more than one notice.
    dropped = sum(map(int, re.findall(r"^(\d+) log lines were dropped here", text, re.MULTILINE)))
    ticks = list(map(int, re.findall(r"flood: tick (\d+)$", text, re.MULTILINE)))
    # The print and the warning of two lines may be among those that were dropped.
    assert 5000 <= len(kept) + dropped - (ticks[-1] - len(ticks)) <= 5003
    assert "RuntimeError: the last words" in text
    assert os.get_blocking(theirs) == blocking


@pytest.mark.parametrize("ends", ["stream socket", "locked pipe", "locked terminal"], indirect=True)
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_serve_lives_and_ends_behind_a_log_without_room(ends: Ends, options: list[str]) -> None:
    if options and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    fill(ends[1])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["serve", "--port", str(port), "--log-level", "debug", *options]
    with Service(VINOCAST, *command, stderr=ends[1], preexec_fn=without_privileges) as service:

        def ready() -> bool:
            assert service.process.poll() is None
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
            return False

        wait_until(ready, "ready")
        for _ in range(5):
            assert httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
        service.signal(signal.SIGTERM)
        assert service.wait() == 0


@pytest.mark.parametrize("ends", ["stream socket", "locked pipe", "locked terminal"], indirect=True)
def test_stdio_answers_and_ends_behind_a_log_without_room(ends: Ends) -> None:
    fill(ends[1])
    with StdioService("--log-level", "debug", stderr=ends[1], preexec_fn=without_privileges) as service:
        assert service.ask({"op": "ping"})["ready"]
        assert service.finish() == ([], 0)


@pytest.mark.parametrize("ends", ["stream socket", "seqpacket socket", "locked pipe", "locked terminal"], indirect=True)
def test_replies_go_whole_through_what_cannot_be_opened_anew_and_it_stays_as_it_was(ends: Ends, window: Any) -> None:
    ours, theirs = ends
    fill(theirs)
    with StdioService(stdout=theirs, preexec_fn=without_privileges) as service:
        service.send(*({"op": "ping", "request_id": number} for number in range(100)))
        wait_until(lambda: "is ready" in service.log, "ready")
        received = read_all(ours, b'"request_id":99,')
        assert os.get_blocking(theirs)
        service.end_input()
        received += os.read(ours, 1 << 16) if not received.endswith(b"\n") else b""
        assert service.wait() == 0
    received = received.lstrip(b".").replace(b"\r\n", b"\n")  # a terminal's line ends
    assert re.findall(rb'^{"request_id":(\d+),.*"success":true}$', received, re.MULTILINE) == [
        b"%d" % number for number in range(100)
    ]


def test_a_descriptor_that_is_closed_is_not_written_to_by_accident(tmp_path: Any) -> None:
    code = "import socket, sys; from vinocast.cli.service import start_service; start_service('info', 'text')\n"
    code += "import logging; a, b = socket.socketpair(); logging.error('x'); sys.exit(min(a.fileno(), b.fileno()) < 3)"
    done = subprocess.run(["sh", "-c", f'exec "$0" -c "{code}" 2>&-', sys.executable], timeout=PATIENCE, check=False)
    assert done.returncode == 0
