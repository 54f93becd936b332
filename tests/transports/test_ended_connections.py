"""A connection that has ended is gone at once: none waits, with its last request, for Python to look for garbage."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import uvicorn
import uvloop
from support import PATIENCE
from uvicorn.server import ServerState
from vinocast.transports.http.admission import Admission
from vinocast.transports.http.connections import Connection

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
# Closing resets the connection.
RESETS = struct.pack("ii", 1, 0)


async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer once the whole body has come, or whoever sends it has left."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def two_requests(client: socket.socket) -> None:
    for _ in range(2):
        client.sendall(GET + b"\r\n")
        assert read(client, b"ok").startswith(b"HTTP/1.1 200 ")


def the_last_request(client: socket.socket) -> None:
    client.sendall(GET + b"Connection: close\r\n\r\n")
    assert read(client).endswith(b"ok")


def no_http(client: socket.socket) -> None:
    client.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
    assert read(client).startswith(b"HTTP/1.1 400 ")


def half_a_head(client: socket.socket) -> None:
    client.sendall(GET)


def half_a_body(client: socket.socket) -> None:
    client.sendall(GET + b"Content-Length: 9\r\n\r\n{")


def a_bad_chunk(client: socket.socket) -> None:
    client.sendall(GET + b"Transfer-Encoding: chunked\r\n\r\nno length\r\n")
    assert read(client).startswith(b"HTTP/1.1 400 ")


def read(client: socket.socket, end: bytes = b"no such end") -> bytes:
    """Return what comes until an end, or until there is no more."""
    read = b""
    while not read.endswith(end) and (piece := client.recv(1 << 16)):
        read += piece
    return read


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Python does not look for garbage."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("talk", [two_requests, the_last_request, no_http, half_a_head, half_a_body, a_bad_chunk])
def test_an_ended_connection_leaves_nothing_to_collect(talk: Callable[[socket.socket], None], reset: bool) -> None:
    made: list[weakref.ref[Connection]] = []

    def client(address: tuple[str, int]) -> None:
        with socket.create_connection(address, PATIENCE) as connection:
            talk(connection)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)

    async def run() -> None:
        config = uvicorn.Config(answer, lifespan="off", log_config=None)
        config.load()
        admission, state = Admission(8, PATIENCE), ServerState()

        def connection() -> Connection:
            new = Connection(
                admission, lambda _: (b"x-request-id", b"none"), config=config, server_state=state, app_state={}
            )
            made.append(weakref.ref(new))
            return new

        server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
        async with asyncio.timeout(PATIENCE), server:
            await asyncio.to_thread(client, server.sockets[0].getsockname())
            while not made or made[0]() is not None:
                await asyncio.sleep(0.001)

    uvloop.run(run())
    assert len(made) == 1
