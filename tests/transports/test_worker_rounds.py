"""A worker takes over many connections in one round of its event loop, so that a crowd holds up nobody behind it."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE, wait_until
from vinocast.transports.http.accepting import ACCEPTED_A_ROUND
from vinocast.transports.workers.worker import ANSWER, CONNECTION, LIVE, QUESTION, READY

pytestmark = pytest.mark.slow

LIVE_REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
WORKER = """
import socket, sys
from vinocast.settings import HttpSettings
from vinocast.transports.workers.worker import run_worker
run_worker(HttpSettings(), socket.socket(fileno=int(sys.argv[1])))
"""


def test_a_crowd_and_a_question_behind_it_are_taken_in_one_round() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.ExitStack() as stack:
        stack.enter_context(ours)
        channel = theirs.fileno()
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(channel)], pass_fds=[channel])
        stack.callback(worker.wait)
        stack.callback(worker.kill)
        theirs.close()
        ours.settimeout(PATIENCE)
        assert ours.recv(1 << 16) == LIVE
        assert ours.recv(1 << 16).startswith(READY)
        worker.send_signal(signal.SIGSTOP)
        wait_until(lambda: Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "stopped")
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        clients = []
        for _ in range(ACCEPTED_A_ROUND - 1):
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.sendall(LIVE_REQUEST)
            clients.append(client)
            with listener.accept()[0] as connection:
                socket.send_fds(ours, [CONNECTION], [connection.fileno()])
        ours.send(QUESTION)
        # The kernel lists what is ready in the order in which it became so, as long as nobody waits for it here.
        order = stack.enter_context(contextlib.closing(select.epoll()))
        for each in (ours, *clients):
            order.register(each, select.EPOLLIN)
        worker.send_signal(signal.SIGCONT)
        for each in (ours, *clients):
            assert select.select([each], [], [], PATIENCE)[0]
        first, *others = (descriptor for descriptor, _ in order.poll(0))
        assert first == ours.fileno(), "the question is answered before any of those whose turn it was to be served"
        assert len(others) == len(clients)
        assert ours.recv(1 << 16) == ANSWER
        assert all(client.recv(1 << 16).startswith(b"HTTP/1.1 200 ") for client in clients)
