"""An inference that never ends: the service is not live, whoever watches it sees so, and another worker goes on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import openvino as ov
import pytest
from forecast_toys import WEIGHTS, make_linear
from guarded import two_cores
from openvino import opset13 as op
from support import PATIENCE, HttpService, Window, fix_hashes, packed, wait_until

GOOD: Window = np.random.default_rng(3).standard_normal((16, 3)).astype(np.float32)
# What has the model go round its loop 2**40 times, instead of once.
ENDLESS: Window = np.full((16, 3), 1e7, np.float32)
# In which a loop that turns would have answered many times.
SILENCE_SECONDS = 1.5


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Of one model, whose forecast of ordinary numbers is that of their sines."""
    folder = make_linear(tmp_path / "models" / "wedge", with_table=False)
    past = op.parameter([-1, 16], np.float32, name="past_values")
    inner = op.parameter([-1, 16], np.float32)
    body = ov.Model([op.result(op.constant(True)), op.result(op.sin(inner))], [inner], "body")
    largest = op.reduce_max(past, op.constant([0, 1]))
    often = op.select(op.greater(largest, op.constant(np.float32(1e6))), op.constant(1 << 40), op.constant(1))
    loop = op.loop(often, op.constant(True))
    loop.set_function(body)
    loop.set_special_body_ports([-1, 0])
    loop.set_merged_input(inner, past.output(0), body.results[1].output(0))
    sines = loop.get_iter_value(body.results[1].output(0), -1)
    forecast = op.matmul(sines, op.constant(WEIGHTS), False, False)
    ov.save_model(ov.Model([op.result(forecast)], [past], "wedge"), folder / "model.xml", compress_to_fp16=False)
    with np.load(folder / "golden.npz") as golden:
        inputs = golden["inputs"]
    np.savez(folder / "golden.npz", inputs=inputs, outputs=np.sin(inputs) @ WEIGHTS)
    fix_hashes(folder)
    return folder.parent


def wedge(service: HttpService) -> threading.Thread:
    """Ask for what never comes, from a client that nobody waits for."""

    def ask() -> None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{service.url}/forecast", json=packed(ENDLESS))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def is_silent(manager: socket.socket) -> bool:
    """Whether nothing is told for a while."""
    manager.settimeout(SILENCE_SECONDS)
    try:
        manager.recv(4096)
    except TimeoutError:
        return True
    return False


def test_it_is_not_live_and_the_watchdog_hears_nothing(models: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with HttpService("--models", models, env=env) as service:
            reply = httpx.post(f"{service.url}/forecast", json=packed(GOOD)).json()
            np.testing.assert_allclose(reply["predictions"], (np.sin(GOOD.T) @ WEIGHTS).T, rtol=1e-3, atol=1e-5)
            assert httpx.get(f"{service.url}/livez").status_code == 200
            asking = wedge(service)
            wait_until(lambda: is_silent(manager), "the watchdog hears nothing more")
            with pytest.raises(httpx.TimeoutException):
                httpx.get(f"{service.url}/livez", timeout=SILENCE_SECONDS)
            service.process.kill()
            asking.join()


@pytest.mark.slow
@two_cores
def test_another_worker_answers_and_the_wedged_one_is_replaced(models: Path) -> None:
    with HttpService("--models", models, "--workers", "2") as service:
        wait_until(lambda: "is ready on http" in service.log, "both are ready")
        asking = wedge(service)
        wait_until(lambda: "had to be killed" in service.log or "and was killed" in service.log, "it is noticed")
        asking.join()  # its connection has ended with the worker
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit and service.log.count("model wedge is ready") < 3:
            assert httpx.post(f"{service.url}/forecast", json=packed(GOOD)).status_code == 200
            time.sleep(0.1)
        assert service.log.count("model wedge is ready") == 3
