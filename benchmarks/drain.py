"""SIGTERM under load: is anything lost or answered twice?

    python -m benchmarks.drain --runs 100

Each run starts a service, over HTTP, over HTTP with two workers, or over lines, has 16 clients ask as fast as they can,
and sends SIGTERM at a moment of chance. Over HTTP 6 clients keep their connections, 6 make one for each request, 2 have
a connection on which nothing has come and ask after the signal, 2 have sent half of a body. Each goes on until it is
refused or has read the end of its connection before it asked. A request counts as lost when its reply is missing, cut
or another's; as doubled when more than one reply comes. Over lines, what was written before the signal counts.

Exits with 1 when a request is lost or doubled, or a service ends with another code than 0 or more than 5 s after the
signal.
"""

from __future__ import annotations

import contextlib
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import IO

import click
import numpy as np
import orjson

VINOCAST = Path(sys.executable).parent / "vinocast"
PATIENCE = 120.0
CLIENTS = 16
# Kept open, made anew, idle, half a body: 16 in all.
LOAD = ["kept"] * 6 + ["new"] * 6 + ["idle"] * 2 + ["half"] * 2
LONGEST_END = 5.0
WINDOW = np.zeros((512, 7)).tolist()
HEAD = b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def request(number: str) -> bytes:
    """Return the JSON of a forecast request."""
    return orjson.dumps({"past_values": WINDOW, "targets": [0], "request_id": number})


class HttpRun:
    """One service and its clients."""

    def __init__(self, options: list[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._signalled = threading.Event()
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen([VINOCAST, "serve", "--port", "0", *options], stderr=log)
            try:
                self._port = _wait_until_ready(process, log)
                clients = [threading.Thread(target=getattr(self, f"_{kind}")) for kind in LOAD]
                for client in clients:
                    client.start()
                time.sleep(random.uniform(0.2, 0.7))
                start = time.monotonic()
                process.send_signal(signal.SIGTERM)
                self._signalled.set()
                code = process.wait(PATIENCE)
                self.seconds = time.monotonic() - start
                for client in clients:
                    client.join(PATIENCE)
                log.seek(0)
                self.counts["given up"] += b"given up" in log.read()
                self.counts["wrong end"] += code != 0 or self.seconds > LONGEST_END
            finally:
                process.kill()

    def _ask(self, connection: socket.socket) -> bool:
        """Send a request, count its reply, and return whether the connection goes on."""
        number = f"{threading.get_ident()}-{random.getrandbits(40)}"
        body = request(number)
        with contextlib.suppress(OSError):  # an answer may have come all the same
            connection.sendall(HEAD % len(body) + body)
        return self._answer(connection, number)

    def _answer(self, connection: socket.socket, number: str | None) -> bool:
        received = b""
        try:
            while (end := received.find(b"\r\n\r\n")) < 0 or len(received) < end + 4 + _length(received):
                if not (data := connection.recv(1 << 16)):
                    break
                received += data
        except OSError:
            pass
        head, _, body = received.partition(b"\r\n\r\n")
        goes_on = b"connection: close" not in head.lower()
        try:
            length, status = _length(head), head.split()[1].decode()
            reply = orjson.loads(body[:length])
        except (IndexError, orjson.JSONDecodeError):
            self.counts["lost"] += 1
            return False
        if reply["request_id"] not in {number, None} or (status != "503" and reply["request_id"] is None):
            self.counts["wrong"] += 1
        if not goes_on:  # nothing may come behind the last reply
            connection.settimeout(PATIENCE)
            try:
                connection.shutdown(socket.SHUT_WR)
                body += connection.recv(1 << 16)
            except OSError:
                pass
        self.counts["doubled"] += len(body) > length
        self.counts[status] += 1
        return goes_on

    def _connect(self) -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", self._port), PATIENCE)
        except ConnectionRefusedError:
            return None

    def _kept(self) -> None:
        while (connection := self._connect()) is not None:
            with connection:
                while not select.select([connection], [], [], 0)[0]:  # else it has ended before it is asked again
                    if not self._ask(connection):
                        break

    def _new(self) -> None:
        while (connection := self._connect()) is not None:
            with connection:
                self._ask(connection)

    def _idle(self) -> None:
        with self._connect() or socket.socket() as connection:
            self._ask(connection)
            self._signalled.wait(PATIENCE)
            time.sleep(random.uniform(0, 0.4))
            if not select.select([connection], [], [], 0)[0]:
                self._ask(connection)
            else:
                self.counts["closed before"] += 1

    def _half(self) -> None:
        body = request("half")
        with self._connect() or socket.socket() as connection:
            connection.sendall(HEAD % len(body) + body[:1000])
            self._signalled.wait(PATIENCE)
            self._answer(connection, None)


class LinesRun:
    """One service on a pipe."""

    def __init__(self, options: list[str]) -> None:
        self.counts: Counter[str] = Counter()
        ends = "end of input" in options
        process = subprocess.Popen(
            [VINOCAST, "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"op":"ping"}\n')
        process.stdout.readline()  # the default model answers
        stdin, lock, stop = process.stdin, threading.Lock(), threading.Event()
        written: list[str] = []
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.extend(process.stdout or ()))
        reader.start()

        def ask(client: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                line = memoryview(request(f"{client}-{number}") + b"\n")
                with lock:
                    try:
                        while line:
                            line = line[stdin.write(line) :]
                    except OSError:
                        return
                    written.append(f"{client}-{number}")

        clients = [threading.Thread(target=ask, args=(client,)) for client in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(random.uniform(0.2, 0.7))
        start = time.monotonic()
        accepted = list(written)
        if ends:
            stop.set()
            for client in clients:
                client.join(PATIENCE)
            accepted = list(written)
            stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE)
        self.seconds = time.monotonic() - start
        stop.set()
        for client in clients:
            client.join(PATIENCE)
        reader.join(PATIENCE)
        answered = Counter(orjson.loads(line)["request_id"] for line in received)
        self.counts["lost"] += sum(not answered[number] for number in accepted)
        self.counts["doubled"] += sum(count > 1 for count in answered.values())
        self.counts["answered"] += len(answered)
        self.counts["wrong end"] += code != 0 or (self.seconds > LONGEST_END and not ends)
        process.stdout.close()


def _length(head: bytes) -> int:
    found = re.search(rb"content-length: (\d+)", head.lower())
    return int(found[1]) if found else 0


def _wait_until_ready(process: subprocess.Popen[bytes], log: IO[bytes]) -> int:
    """Return the port of a service, once every worker is ready."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit and process.poll() is None:
        log.seek(0)
        if found := re.search(rb"is ready on http://127\.0\.0\.1:(\d+)", log.read()):
            return int(found[1])
        time.sleep(0.05)
    raise SystemExit("the service is not ready")


KINDS: dict[str, tuple[type[HttpRun | LinesRun], list[str]]] = {
    "http": (HttpRun, []),
    "workers": (HttpRun, ["--workers", "2"]),
    "lines": (LinesRun, []),
    "end of input": (LinesRun, ["end of input"]),
}


@click.command()
@click.option("--runs", default=100, show_default=True, help="of each kind")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="all unless named")
def main(runs: int, kinds: tuple[str, ...]) -> None:
    """Measure what SIGTERM loses."""
    failed = False
    for name in kinds or KINDS:
        run, options = KINDS[name]
        total: Counter[str] = Counter()
        seconds, bad = [], 0
        for _ in range(runs):
            done = run(options)
            total += done.counts
            seconds.append(done.seconds)
            bad += any(done.counts[kind] for kind in ("lost", "doubled", "wrong", "wrong end"))
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(total.items()))
        print(f"{name}: {bad} of {runs} runs with a fault; {counts}; ends in at most {max(seconds):.2f} s", flush=True)
        failed |= bad > 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
