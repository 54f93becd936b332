"""Asking again: of real services that are overloaded, loading or gone."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import vinocast
from support import MODEL, MODELS, PATIENCE, Gate, HttpService, in_threads, random_windows, wait_until

WINDOW = np.ones((512, 7), np.float32)


@pytest.fixture
def gate(tmp_path: Path, make_gate: Callable[[str], Gate]) -> Gate:
    """The folder ``models`` with the bundled model, and one called "gated" that does not load before its gate opens."""
    gate = make_gate("gated")
    (tmp_path / "models" / MODEL).symlink_to(MODELS / MODEL)
    return gate


def test_a_full_queue_is_asked_again_over_lines(gate: Gate, tmp_path: Path) -> None:
    options = {"default_model": MODEL, "arguments": ["--queue-rows", "7"]}
    with (
        vinocast.spawn(tmp_path / "models", **options) as child,  # type: ignore[arg-type]
        ThreadPoolExecutor(9) as pool,
    ):
        first = pool.submit(child.forecast, WINDOW, model="gated")
        wait_until(lambda: child.stats()["queued_rows"] == 7, "the queue is full")
        with pytest.raises(vinocast.OverloadedError):
            child.forecast(WINDOW, model="gated")
        child._retries = 100
        others = [pool.submit(child.forecast, WINDOW, model="gated") for _ in range(8)]
        wait_until(lambda: child.stats()["failed"]["overloaded"] > 20, "they were refused again and again")
        assert not any(each.done() for each in others)
        gate.open()
        assert {each.result().model for each in (first, *others)} == {"gated"}
        assert child.stats()["answered"]["forecast"] == 9


@pytest.mark.slow
def test_a_queue_that_is_full_now_and_then_loses_no_request_over_http() -> None:
    windows = random_windows(8)
    with HttpService("--queue-rows", "7") as service, vinocast.connect(service.url, retries=50) as client:
        expected = [client.forecast(window).predictions for window in windows]

        def ask(number: int) -> bool:
            return all(np.array_equal(client.forecast(windows[number]), expected[number]) for _ in range(20))

        assert all(in_threads(ask))


def test_a_model_that_is_loading_is_asked_again_over_http(gate: Gate, tmp_path: Path) -> None:
    with HttpService("--models", tmp_path / "models", "--default-model", "gated", ready=False) as service:
        wait_until(lambda: httpx.get(f"{service.url}/livez").status_code == 200, "alive")
        with vinocast.connect(service.url) as client, pytest.raises(vinocast.NotReadyError) as caught:
            client.forecast(WINDOW)
        assert caught.value.retry_after >= 1

        async def ask() -> vinocast.Forecast:
            async with vinocast.connect_async(service.url, retries=100) as client:
                return await client.forecast(WINDOW)

        with vinocast.connect(service.url, retries=100) as client, ThreadPoolExecutor() as pool:
            waiting = [pool.submit(client.forecast, WINDOW), pool.submit(asyncio.run, ask())]
            time.sleep(0.5)
            assert not any(each.done() for each in waiting)
            gate.open()
            assert {each.result().model for each in waiting} == {"gated"}


def test_a_deadline_bounds_all_tries(gate: Gate, tmp_path: Path) -> None:
    with HttpService("--models", tmp_path / "models", "--default-model", "gated", ready=False) as service:
        wait_until(lambda: httpx.get(f"{service.url}/livez").status_code == 200, "alive")
        begun = time.monotonic()
        with vinocast.connect(service.url, retries=1_000_000) as client, pytest.raises(vinocast.NotReadyError):
            # The service asks for a second, which is more than there is: it is not slept away.
            client.forecast(WINDOW, deadline_ms=900)
        assert time.monotonic() - begun < PATIENCE / 2
        begun = time.monotonic()
        with vinocast.connect(service.url, retries=1_000_000) as client, pytest.raises(vinocast.NotReadyError):
            client.forecast(WINDOW, deadline_ms=2500)
        assert 1 <= time.monotonic() - begun < PATIENCE / 2


def test_what_retry_after_says_is_waited_for() -> None:
    with (
        HttpService("--max-streams", "1", "--stream-idle-seconds", "2") as service,
        vinocast.connect(service.url, retries=3) as client,
    ):
        client.observe("a", WINDOW)
        begun = time.monotonic()
        client._retries = 0
        with pytest.raises(vinocast.OverloadedError) as caught:
            client.observe("b", WINDOW)
        assert 1 <= caught.value.retry_after <= 3
        client._retries = 3
        assert client.observe("b", WINDOW).rows == 512
        assert time.monotonic() - begun >= 1.5


def test_what_will_not_change_is_not_asked_again(http: HttpService) -> None:
    with vinocast.connect(http.url, retries=1_000_000) as client:
        with pytest.raises(vinocast.InvalidShapeError):
            client.forecast(WINDOW[1:])
        with pytest.raises(vinocast.UnknownModelError):
            client.forecast(WINDOW, model="nothing")


@pytest.mark.parametrize(("op", "requests"), [("forecast", 3), ("observe", 1)])
def test_a_lost_request_is_repeated_where_that_does_no_harm(op: str, requests: int) -> None:
    """Each connection is taken, read from, and ended without an answer."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def serve() -> None:
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(30)
                    received = b""
                    while not received.endswith(b"}") and received != b"end":
                        received += connection.recv(1 << 16)
                    if received == b"end":
                        return
                    heard.append(received)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            with (
                vinocast.connect(f"http://127.0.0.1:{port}", retries=2) as client,
                pytest.raises(vinocast.ServiceUnreachableError) as caught,
            ):
                client.forecast(WINDOW) if op == "forecast" else client.observe("a", WINDOW)
        finally:
            with socket.create_connection(("127.0.0.1", port)) as last:
                last.sendall(b"end")
            thread.join(30)
    assert not caught.value.unsent
    assert len(heard) == requests
