"""Whoever connects behind a crowd waits for few rounds of the loop; without descriptors the crowd waits, and comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
from typing import TYPE_CHECKING

from vinocast.transports.http.accepting import ACCEPTED_A_ROUND, Accepting
from vinocast.transports.http.listeners import listen

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

CROWD = 200
PATIENCE = 30


@contextlib.contextmanager
def crowd(count: int) -> Iterator[socket.socket]:
    """A listening socket with so many connections that nobody has accepted."""
    (listener,) = listen("127.0.0.1", 0)
    with contextlib.ExitStack() as open_ones:
        open_ones.callback(listener.close)
        for _ in range(count):
            open_ones.enter_context(socket.create_connection(listener.getsockname()))
        yield listener


def test_a_crowd_is_taken_over_in_few_rounds() -> None:
    taken: list[socket.socket] = []

    async def rounds(listener: socket.socket) -> int:
        accepting = Accepting([listener], taken.append)
        accepting.begin()
        count = 0
        while len(taken) < CROWD and count < CROWD:
            await asyncio.sleep(0)
            count += 1
        await accepting.end()
        return count

    with crowd(CROWD) as listener:
        # The first of them may come before the socket is polled, and the last finds it empty.
        assert asyncio.run(rounds(listener)) <= CROWD // ACCEPTED_A_ROUND + 4
    assert len(taken) == CROWD
    for connection in taken:
        connection.close()


def test_what_finds_no_descriptor_is_accepted_later(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[socket.socket] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def run(listener: socket.socket) -> None:
        async with asyncio.timeout(PATIENCE):
            accepting = Accepting([listener], taken.append)
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, hard))
            try:
                accepting.begin()
                while "cannot accept a connection" not in caplog.text:
                    await asyncio.sleep(0.001)
                assert len(taken) == 2
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            while len(taken) < 5:
                await asyncio.sleep(0.001)
            await accepting.end()

    with caplog.at_level(logging.ERROR), crowd(5) as listener:
        asyncio.run(run(listener))
    assert caplog.text.count("cannot accept a connection") == 1
    for connection in taken:
        connection.close()
