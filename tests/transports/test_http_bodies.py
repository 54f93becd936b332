"""Bodies that do not come, or whose turn does not, and addresses that cannot be had: what outsiders seldom see."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import orjson
import pytest
from support import error_of
from vinocast.dataplane import Claim, DataPlane
from vinocast.engine.budget import Budget
from vinocast.errors import DeadlineExceededError, SetupError, ShuttingDownError
from vinocast.ops import OPS
from vinocast.protocols.json import JsonProtocol, Message
from vinocast.settings import Settings
from vinocast.transports.http import bodies, listeners
from vinocast.transports.http.endpoint import Endpoint, Endpoints
from vinocast.transports.http.exchange import KEY, Exchange
from vinocast.transports.http.pump import Pump

SCOPE = {"headers": [(b"content-type", b"application/json")]}


async def never() -> Any:
    await asyncio.Event().wait()


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.01)
    with pytest.raises(DeadlineExceededError, match="the body comes too slowly: 0 bytes in 0 s"):
        asyncio.run(bodies.read_body(SCOPE, never, 100, Claim(Budget(100)), may_lack=False))


@pytest.mark.parametrize("least", [1, 1 << 16], ids=["in all", "at this rate"])
def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch, least: int) -> None:
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(bodies, "LEAST_BYTES_A_SECOND", least)
    budget = Budget(1000)
    claim = Claim(budget)

    async def trickle() -> Any:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    with pytest.raises(DeadlineExceededError, match=r"the body comes too slowly: \d+ bytes"):
        asyncio.run(bodies.read_body(SCOPE, trickle, 1000, claim))
    assert 0 < budget.taken <= 30
    claim.release()
    assert budget.taken == 0


def test_a_large_body_whose_turn_does_not_come_is_told_of_the_end() -> None:
    async def end() -> None:
        large = bodies.LargeBodies()
        async with large._turn:
            waiting = asyncio.create_task(large.parse(b"{}", Message))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(ShuttingDownError, match="before the body's turn came"):
                await waiting

    asyncio.run(end())


def test_a_host_that_is_not_found_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SetupError, match=r"cannot listen on nowhere:.* choose another --port or --host"):
        listeners.listen("nowhere", 80)


@pytest.mark.parametrize("off", [{socket.AF_INET6}, {socket.AF_INET, socket.AF_INET6}])
def test_a_version_of_ip_that_is_off_is_done_without(monkeypatch: pytest.MonkeyPatch, off: set[int]) -> None:
    addresses = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
    ]
    real = listeners._listener

    def listener(family: int, *rest: Any, alone: bool) -> socket.socket:
        if family in off:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest, alone=alone)

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    monkeypatch.setattr(listeners, "_listener", listener)
    if len(off) == 2:
        with pytest.raises(SetupError, match="cannot listen on both"):
            listeners.listen("both", 0)
        return
    (only,) = listeners.listen("both", 0)
    with only:
        assert only.family == socket.AF_INET


def test_an_address_that_is_taken_leaves_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    real = listeners._listener

    def listener(*arguments: Any, alone: bool) -> socket.socket:
        if opened:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        opened.append(real(*arguments, alone=alone))
        return opened[0]

    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address, address])
    monkeypatch.setattr(listeners, "_listener", listener)
    with pytest.raises(SetupError, match="Address already in use"):
        listeners.listen("twice", 0)
    assert opened[0].fileno() == -1


def test_a_fault_of_ours_before_a_request_is_read_is_answered_in_the_envelope() -> None:
    plane = DataPlane(Settings(), OPS)
    endpoint = Endpoint(Endpoints(plane, Pump(plane)), JsonProtocol(plane, OPS), OPS["forecast"], "/forecast")
    sent: list[Any] = []

    async def broken() -> Any:
        raise RuntimeError("no such thing")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(endpoint({**SCOPE, "query_string": b"", "state": {KEY: Exchange("name", "")}}, broken, send))
    head, body = sent
    assert head["status"] == 500
    assert error_of(orjson.loads(body["body"])) == ("internal", None)
    assert plane.statistics.summary()["failed"] == {"internal": 1}
