"""An op and a kind that are registered are served over both transports, documented, counted, and told by ping."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support import MODEL, HttpService, StdioService, copy_model, error_of

TESTS = Path(__file__).parent
# The toys are registered in a process of their own: in this one they would be there for every other test.
PROGRAM = (sys.executable, "-m", "toys")
ENV = {"PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))}
MAKE = "import sys, pathlib, toys; toys.make_scaler(pathlib.Path(sys.argv[1]), 2.5)"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys") / "models"
    copy_model(folder)
    subprocess.run([sys.executable, "-c", MAKE, folder / "double"], env=os.environ | ENV, check=True)
    return folder


@pytest.fixture(scope="module")
def http(models: Path) -> Iterator[HttpService]:
    with HttpService("--models", models, program=PROGRAM, env=ENV) as service:
        yield service


def test_a_registered_op_and_kind_are_served_over_lines(models: Path) -> None:
    with StdioService("--models", models, program=PROGRAM, env=ENV) as service:
        states = {model["name"]: model["state"] for model in service.ask({"op": "ping"})["models"]}
        assert states == {MODEL: "ready", "double": "not_loaded"}
        reply = service.ask({"op": "scale", "values": [1, 2], "request_id": 7, "metadata": "mine"})
        assert (reply["values"], reply["model"], reply["request_id"], reply["metadata"]) == (
            [2.5, 5],
            "double",
            7,
            "mine",
        )
        assert (reply["success"], reply["inference_time_ms"] >= 0, reply["queue_time_ms"] >= 0) == (True, True, True)
        assert error_of(service.ask({"op": "scale", "value": [1]})) == ("invalid_request", "value")
        assert error_of(service.ask({"op": "scale", "values": [1], "model": MODEL})) == ("unknown_model", "model")
        unknown = service.ask({"op": "scales"})
        assert "or scale, got 'scales'" in unknown["error"]["message"]
        stats = service.ask({"op": "stats"})
        assert stats["answered"] == {"ping": 1, "scale": 1}
        assert stats["scale_inference_time_ms"]["p50"] >= 0
        model = service.ask({"op": "ping"})["models"][1]
        assert (model["kind"], model["unit"], model["state"]) == ("scaler", "m", "ready")


def test_an_answer_that_cannot_be_written_is_an_error_of_ours_and_ends_nothing(models: Path) -> None:
    with StdioService("--models", models, program=PROGRAM, env=ENV) as service:
        for number in range(2):
            reply = service.ask({"op": "huge", "request_id": number})
            assert (reply["request_id"], error_of(reply)) == (number, ("internal", None))
        assert "Integer exceeds 64-bit range" in service.log
        stats = service.ask({"op": "stats"})
        assert (stats["answered"], stats["failed"]) == ({}, {"internal": 2})
        assert service.finish() == ([], 0)


def test_a_registered_op_has_a_route_that_the_reference_describes(http: HttpService) -> None:
    reply = httpx.post(f"{http.url}/scale", json={"values": [2], "request_id": "a"}).json()
    assert (reply["values"], reply["request_id"]) == ([5], "a")
    assert httpx.get(f"{http.url}/scale").status_code == 405
    schema = httpx.get(f"{http.url}/openapi.json").json()
    operation = schema["paths"]["/scale"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    assert operation["summary"] == "Multiply numbers"
    assert body["schema"]["required"] == ["values"]
    assert "ScaleReply" in schema["components"]["schemas"]
    assert httpx.post(f"{http.url}/scale", json=body["example"]).json()["success"] is True
    assert [model["kind"] for model in httpx.get(f"{http.url}/readyz").json()["models"]] == ["forecaster", "scaler"]


@pytest.mark.slow
def test_doctor_tells_of_a_registered_kind(models: Path) -> None:
    command = [*PROGRAM, "doctor", "--models", str(models)]
    done = subprocess.run(command, env=os.environ | ENV, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "double           multiplies" in done.stdout


def test_without_its_registration_a_kind_is_told_as_unknown(models: Path) -> None:
    with StdioService("--models", models) as service:
        ping = service.ask({"op": "ping"})
        assert [entry["model"] for entry in ping["degraded"]] == ["double"]
        assert "kind: expected forecaster or glyphs, got 'scaler'" in ping["degraded"][0]["error"]
        assert error_of(service.ask({"op": "scale", "values": [1]})) == ("unknown_op", "op")
