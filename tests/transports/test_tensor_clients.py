"""Clients of others, unchanged, against the Open Inference Protocol; each runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from support import MODEL, PATIENCE, ROOT, HttpService
from tensor_clients import CLIENTS
from tensors_asked import EXAMPLES, GRIDS, PNGS, WINDOWS, grpc_port, own_forecasts, own_labels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service() -> Iterator[HttpService]:
    with HttpService("--grpc-port", "0") as running:
        yield running


@pytest.fixture(scope="module")
def expected(service: HttpService) -> dict[str, Any]:
    """What our own routes answer to what the clients ask for."""
    with httpx.Client(base_url=service.url, timeout=PATIENCE) as client:
        forecasts = own_forecasts(client, WINDOWS, quantile_levels=[0.1, 0.5, 0.9])
        ranked = {"grids": own_labels(client, grids=GRIDS.tolist()), "rasters": own_labels(client, rasters=EXAMPLES)}
    answers: dict[str, Any] = {
        "past_values.predictions": [each["predictions"] for each in forecasts],
        "past_values.quantiles": [list(each["quantiles"].values()) for each in forecasts],
    }
    for name, glyphs in ranked.items():
        answers[f"{name}.labels"] = [[each["label"] for each in glyph] for glyph in glyphs]
        answers[f"{name}.probabilities"] = [[each["prob"] for each in glyph] for glyph in glyphs]
    return answers


def run(client: str, address: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a client gets and is told."""
    asked = {"past_values": WINDOWS, "grids": GRIDS, "rasters": np.array(PNGS, object)}
    np.savez(folder / "asked.npz", **asked)  # type: ignore[arg-type]  # which takes any array
    done = subprocess.run(
        [sys.executable, "-m", "tensor_clients", client, address, str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "got.npz", allow_pickle=True) as file:
        return dict(file), orjson.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_of_others_get_the_numbers_of_our_own_route(
    service: HttpService, expected: dict[str, Any], tmp_path: Path, client: str
) -> None:
    port = grpc_port(service) if "grpc" in client else service.port
    got, told = run(client, f"127.0.0.1:{port}", tmp_path)
    checked = 0
    for name, own in expected.items():
        if name not in got:
            assert (client, name.partition(".")[0]) == ("triton_http_json", "rasters")
        elif name.endswith("labels"):
            texts = [[text.decode() if isinstance(text, bytes) else text for text in each] for each in got[name]]
            assert texts == own
            checked += 1
        else:
            assert np.array_equal(got[name], np.array(own, np.float32)), name
            checked += 1
    assert checked >= 4
    assert told["server"]["name"] == "vinocast"
    for described in told.get("models", []):
        assert described["name"] in (MODEL, "glyphs")
        assert [str(version) for version in described["versions"]] == ["1"]


def test_the_request_of_perf_analyzer_is_answered(service: HttpService) -> None:
    """As its client library of C++ makes it: no Content-Type but curl's for bytes, two pieces, an Expect header."""
    name = {"name": "past_values", "shape": [1, 512, 7], "datatype": "FP32"}
    one = {**name, "parameters": {"binary_data_size": 14336}}
    outputs = [{"name": "predictions", "parameters": {"binary_data": True}}]
    text = orjson.dumps({"id": "1", "inputs": [one], "outputs": outputs, "parameters": {}})
    headers = {
        "Inference-Header-Content-Length": str(len(text)),
        "Content-Type": "application/octet-stream",
        "Expect": "",
        "Accept": "*/*",
    }
    url = f"{service.url}/v2/models/{MODEL}"
    for path in ("", "/ready"):
        assert httpx.get(url + path).status_code == 200
    body = text + WINDOWS[0].tobytes()
    with httpx.Client(timeout=PATIENCE) as client:
        for _ in range(3):  # it asks the same again and again on one connection
            reply = client.post(f"{url}/infer", content=iter([body[:100], body[100:]]), headers=headers)
            assert reply.status_code == 200, reply.text
            length = int(reply.headers["Inference-Header-Content-Length"])
            assert orjson.loads(reply.content[:length])["id"] == "1"
            assert len(reply.content) == length + 96 * 7 * 4
