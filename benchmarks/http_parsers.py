"""What HTTP itself costs: a bare application behind the connections of this service, and behind those of uvicorn.

    python -m benchmarks.http_parsers
    python -m benchmarks.http_parsers h11 httptools MODULE:CLASS

One client on a keep-alive connection, all servers in turns. Then bodies in chunks of one byte, and of empty lines: the
processor time that the server takes for each MB on the wire, in pieces of at most 256 kB during which it does nothing
else.
"""

from __future__ import annotations

import itertools
import multiprocessing
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

import click
import numpy as np
import uvicorn
from vinocast.measure.bench.load import FIRST_ID, Body, Client, ClosedLoop, Wire, cut_responses
from vinocast.measure.children import sharpen_timers
from vinocast.transports.http.admission import Admission
from vinocast.transports.http.connections import Connection

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

OURS = "vinocast"
PARSERS = ("h11", "httptools", OURS)
IDLE_SECONDS = 3600
SIZES = (500, 35_000)
ROUNDS = 40
SETTLE = 20
HEAD = (
    b"POST /forecast HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\n"
)
ONE_BYTE = b"1\r\n[\r\n"
EMPTY_LINES = b"fff8\r\n" + b"\r\n" * 0x7FFC + b"\r\n"
MB = 1_000_000


async def application(_scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Read the body, and answer with the processor time that this process has taken."""
    while (await receive()).get("more_body"):
        pass
    body = b"%.6f" % time.process_time()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _name(_: object) -> tuple[bytes, bytes]:
    """Return the field of a response that names a request which was refused."""
    return b"x-request-id", b"none"


def serve(parser: str, listener: socket.socket) -> None:
    """Serve the application until the process is ended."""
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=partial(Connection, Admission(1, IDLE_SECONDS), _name)  # type: ignore[arg-type]  # it is called, and no more
        if parser == OURS
        else parser,  # a class by its name, MODULE:CLASS, as well
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=IDLE_SECONDS,
    )
    uvicorn.Server(config).run([listener])


def request(size: int) -> Body:
    """Return a request with a body of that many bytes, its id among them."""
    filling = b"1" * (size - len(str(FIRST_ID)))
    return Body(HEAD + b"Content-Length: %d\r\n\r\n" % size, filling)


def chunked(chunk: bytes) -> Body:
    """Return a request with a body of such chunks, a MB of them on the wire; the last one is its id."""
    chunks = chunk * (MB // len(chunk))
    return Body(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"a\r\n", b"\r\n0\r\n\r\n")


@click.command(context_settings={"show_default": True})
@click.argument("parsers", nargs=-1)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=20.0, help="For each size and server.")
def main(parsers: tuple[str, ...], seconds: float) -> None:
    """Print microseconds for a request, and seconds for a MB of chunks."""
    sharpen_timers()
    parsers = parsers or PARSERS
    spawn = multiprocessing.get_context("spawn")
    connections: dict[str, socket.socket] = {}
    for parser in parsers:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            spawn.Process(target=serve, args=(parser, listener), daemon=True).start()
            connections[parser] = socket.create_connection(listener.getsockname())
            connections[parser].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    clients = {
        parser: Client([Wire(each.fileno(), each.fileno(), cut_responses)], 1, identified=False)
        for parser, each in connections.items()
    }
    latency: dict[tuple[str, int], list[float]] = {load: [] for load in itertools.product(parsers, SIZES)}
    cpu = dict.fromkeys(latency, 0.0)
    for _ in range(ROUNDS):
        for parser, size in latency:
            bodies = itertools.repeat(request(size))
            before = clients[parser].drive(ClosedLoop(most=SETTLE), bodies).replies[-1]
            part = clients[parser].drive(ClosedLoop(seconds / ROUNDS), bodies)
            latency[parser, size] += part.latencies
            cpu[parser, size] += float(part.replies[-1]) - float(before)
    print(f"{'bytes':>8}{'requests':>10}{'p50':>8}{'p99':>8}{'CPU':>8} us")
    for (parser, size), times in latency.items():
        p50, p99 = np.quantile(times, (0.5, 0.99)) * 1e6
        print(f"{size:8}{len(times):10}{p50:8.0f}{p99:8.0f}{cpu[parser, size] / len(times) * 1e6:8.0f}    {parser}")
    print(f"\n{'one byte':>10}{'empty lines':>13} s for each MB")
    for parser in parsers:
        marks = [float(reply) for reply in clients[parser].ask([request(500), chunked(ONE_BYTE), chunked(EMPTY_LINES)])]
        one_byte, empty_lines = np.diff(marks)
        print(f"{one_byte:10.3f}{empty_lines:13.3f}    {parser}")


if __name__ == "__main__":
    main()
