"""Forecasts of 862 channels: their window is let in, and what is asked meanwhile is answered between two parts."""

from __future__ import annotations

import http.client
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import torch
from support import (
    MODEL,
    HttpService,
    Reply,
    RunVinocast,
    StdioService,
    Window,
    change_manifest,
    copy_model,
    error_of,
    packed,
    random_windows,
    rows,
    wait_until,
)
from transformers import PatchTSTConfig, PatchTSTForPrediction
from vinocast.dataplane import DataPlane
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.profiles import PROFILES
from vinocast.errors import RequestError
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.job import WideForecastJob
from vinocast.forecast.manifest import SERIES_PER_PART, open_forecaster
from vinocast.handlers.status import pong
from vinocast.ops import OPS
from vinocast.protocols.json import JsonProtocol, Message
from vinocast.settings import Settings

pytestmark = pytest.mark.slow

CHANNELS = 862
NET = {
    "num_input_channels": CHANNELS,
    "context_length": 512,
    "prediction_length": 8,
    "patch_length": 64,
    "patch_stride": 64,
    "d_model": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "ffn_dim": 16,
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def net() -> PatchTSTForPrediction:
    """A small net for many channels."""
    torch.manual_seed(4)
    return PatchTSTForPrediction(PatchTSTConfig(**NET)).eval()


@pytest.fixture(scope="module")
def models(net: PatchTSTForPrediction, tmp_path_factory: pytest.TempPathFactory, run_vinocast: RunVinocast) -> Path:
    """The bundled model, and the small net of many channels."""
    folder = tmp_path_factory.mktemp("wide")
    net.save_pretrained(folder / "source")
    names = ",".join(f"sensor {i}" for i in range(CHANNELS))
    done = run_vinocast("convert", folder / "source", "--output", folder / "models" / "wide", "--channels", names)
    assert done.returncode == 0, done.stderr
    copy_model(folder / "models")
    return folder / "models"


@pytest.fixture(scope="module")
def window() -> Window:
    """Random walks, whose numbers take as many digits as float32 has."""
    walks = np.random.default_rng(5).standard_normal((512, CHANNELS)).cumsum(axis=0)
    return (walks * 1e-3).astype(np.float32)


@pytest.fixture(scope="module")
def expected(net: PatchTSTForPrediction, window: Window) -> Window:
    """What torch forecasts."""
    with torch.inference_mode():
        answer: Window = net(torch.from_numpy(window)[None]).prediction_outputs[0].numpy()
    return answer


def wide(window: Window, **fields: Any) -> Reply:
    return packed(window, model="wide", **fields)


def near(answer: Any, expected: Window, window: Window) -> bool:
    values = np.array(answer, np.float32)
    return values.shape == expected.shape and bool((abs(values - expected) <= 1e-4 * window.std(axis=0)).all())


def ready(ping: Reply) -> bool:
    return all(model["state"] == "ready" for model in ping["models"])


def test_a_wide_forecast_is_what_torch_computes(models: Path, window: Window, expected: Window) -> None:
    with StdioService("--models", models) as service:
        reply = service.ask(wide(window))
        assert near(reply["predictions"], expected, window)
        assert reply["inference_time_ms"] > 0
        assert reply["queue_time_ms"] >= 0
        backwards = list(range(CHANNELS))[:100:-1]
        some = service.ask(rows(window, model="wide", targets=[f"sensor {i}" for i in backwards]))
        assert near(some["predictions"], expected[:, backwards], window[:, backwards])


def test_only_small_shapes_are_compiled(models: Path, window: Window, expected: Window) -> None:
    forecaster, compiler = ForecastEngine(open_forecaster(models / "wide")), Compiler(PROFILES["native"], cpu_budget())
    forecaster.load(compiler)
    assert forecaster.compiled_counts == [SERIES_PER_PART]
    for _ in range(2):
        forecast, seconds = forecaster.forecast(window, range(CHANNELS))
        assert near(forecast, expected, window)
        assert forecast.flags.c_contiguous
        assert seconds > 0
        for targets in ([CHANNELS - 1], range(40, 105), [5, 3, 800]):
            some = list(targets)
            assert near(forecaster.forecast(window, targets)[0], expected[:, some], window[:, some])
        forecaster.load_rest(compiler)
    assert forecaster.compiled_counts == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 32]


class Plane:
    """The data plane of a service whose lane is stepped by hand; what was answered, in order."""

    def __init__(self, models: Path) -> None:
        self.plane = DataPlane(Settings(models=models, profile="native"), OPS)
        self.protocol = JsonProtocol(self.plane, OPS)
        self.answers: list[tuple[Any, str | None]] = []
        self.plane.start(lambda: None)
        wait_until(lambda: ready(pong(self.plane)), "the models")

    def forecast(self, fields: Reply, received: float = 1e12) -> Any:
        def answer(reply: bytes, error: RequestError | None) -> None:
            self.answers.append((orjson.loads(reply)["request_id"], error.code if error else None))

        return self.protocol.start(Message(orjson.dumps(fields)), received, answer)

    def drain(self) -> None:
        while self.plane.lane.step():
            pass


@pytest.fixture
def plane(models: Path) -> Iterator[Plane]:
    made = Plane(models)
    yield made
    made.plane.close()


def test_what_comes_in_the_middle_of_a_wide_forecast_is_answered_next(plane: Plane, window: Window) -> None:
    plane.forecast(wide(window, request_id="wide"))
    assert plane.plane.lane.step()
    assert plane.plane.lane.rows == CHANNELS
    (narrow,) = random_windows(1)
    plane.forecast(packed(narrow, model=MODEL, request_id="other model"))
    plane.forecast(wide(window, request_id="same model", targets=[3]))
    assert plane.plane.lane.step()
    assert plane.plane.lane.step()
    assert [name for name, _ in plane.answers] == ["other model", "same model"]
    plane.drain()
    assert plane.answers[2:] == [("wide", None)]
    assert (len(plane.plane.lane), plane.plane.lane.rows) == (0, 0)


def test_what_waits_of_wide_forecasts_is_bounded_and_leaves_others_their_room(plane: Plane, window: Window) -> None:
    for i in range(5):
        plane.forecast(wide(window, request_id=i))
    assert plane.answers == [(4, "overloaded")]  # 4 times 862 are 3448, of 4096
    plane.forecast(wide(window, request_id="one", targets=["sensor 1"]))
    plane.drain()
    assert plane.answers[1:] == [("one", None), (0, None), (1, None), (2, None), (3, None)]


def test_a_deadline_that_passes_ends_a_wide_forecast_between_two_parts(plane: Plane, window: Window) -> None:
    plane.forecast(wide(window, request_id="late", deadline_ms=0), received=0.0)
    plane.forecast(wide(window, request_id="in time", deadline_ms=3_600_000))
    assert plane.plane.lane.step()
    assert plane.answers == [("late", "deadline_exceeded")]
    assert plane.plane.lane.step()
    ((job,),) = plane.plane.lane._long_jobs.values()
    assert isinstance(job, WideForecastJob)
    job._job.deadline = 0.0  # time goes on
    assert plane.plane.lane.step()
    assert plane.answers[1:] == [("in time", "deadline_exceeded")]
    assert (len(plane.plane.lane), plane.plane.lane.rows) == (0, 0)


def test_a_wide_forecast_that_nobody_waits_for_is_done_no_more(plane: Plane, window: Window) -> None:
    ticket = plane.forecast(wide(window))
    assert plane.plane.lane.step()
    assert plane.plane.budget.taken > window.nbytes
    plane.plane.let_go(ticket)
    assert (len(plane.plane.lane), plane.plane.lane.rows, plane.plane.budget.taken) == (0, 0, 0)
    assert not plane.plane.lane.step()
    assert plane.answers == []


def test_a_fault_in_a_part_of_a_wide_forecast_is_told_and_ends_it(
    plane: Plane, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.forecast(wide(window, request_id="unlucky"))
    assert plane.plane.lane.step()
    with monkeypatch.context() as patched:
        patched.setattr(ForecastEngine, "forecast_together", lambda *_: 1 / 0)
        assert plane.plane.lane.step()
    assert plane.answers == [("unlucky", "internal")]
    assert (len(plane.plane.lane), plane.plane.lane.rows) == (0, 0)


def test_a_window_of_the_widest_model_is_let_in_as_json(models: Path, window: Window, expected: Window) -> None:
    text = orjson.dumps(rows(window, model="wide"))
    longest = rows(np.full_like(window, -1.2345678806304932e-20), model="wide", targets=[0])
    indented = orjson.dumps(longest, option=orjson.OPT_INDENT_2)
    assert 8 * 1024 * 1024 < len(text) < len(indented)
    with HttpService("--models", models) as service, httpx.Client(base_url=service.url, timeout=120) as client:
        wait_until(lambda: ready(client.get("/readyz").json()), "the wide model")
        reply = client.post("/forecast", content=text, headers=JSON)
        assert reply.status_code == 200, reply.text[:500]
        assert near(reply.json()["predictions"], expected, window)
        assert client.post("/forecast", content=indented, headers=JSON).status_code == 200
        # The bound is known, and said.
        limit = client.get("/readyz").json()["max_request_bytes"]
        assert limit < 16 * 1024 * 1024
        assert f"requests may have up to {limit} bytes" in service.log
        refused = client.post("/forecast", content=b" " * (limit + 1), headers=JSON)
        assert error_of(refused.json()) == ("payload_too_large", None)
        assert str(limit) in refused.json()["error"]["message"]


def test_a_limit_that_was_asked_for_stays_and_says_what_it_keeps_out(models: Path, window: Window) -> None:
    with StdioService("--models", models, "--max-request-bytes", "5000000") as service:
        assert service.ask({"op": "ping"})["max_request_bytes"] == 5_000_000
        assert "--max-request-bytes 5000000 may be too few: a window of wide takes up to" in service.log
        assert service.ask(rows(window, model="wide"))["error"]["code"] == "line_too_long"
        assert service.ask(wide(window))["success"]
    with StdioService() as service:
        assert service.ask({"op": "ping"})["max_request_bytes"] == 8 * 1024 * 1024


def test_the_service_answers_others_behind_wide_forecasts_over_http(tmp_path: Path) -> None:
    """With the bundled net, of which 300 channels take long."""
    copy_model(tmp_path / "models")
    change_manifest(copy_model(tmp_path / "models", "wide"), channels=[f"sensor {i}" for i in range(300)])
    (narrow,) = random_windows(1)
    text = orjson.dumps(packed(np.resize(narrow, (512, 300)), model="wide"))
    with HttpService("--models", tmp_path / "models") as service:
        with httpx.Client(base_url=service.url, timeout=120) as client:
            wait_until(lambda: ready(client.get("/readyz").json()), "the wide model")
            asked = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=120) for _ in range(4)]
            for connection in asked:
                connection.request("POST", "/forecast", text, JSON)
            assert client.get("/livez").status_code == 200
            assert client.post("/forecast", json=packed(narrow)).status_code == 200
            assert client.get("/livez").status_code == 200
            assert len(select.select([connection.sock for connection in asked], [], [], 0)[0]) < len(asked)
        for connection in asked:
            answer = orjson.loads(connection.getresponse().read())
            assert np.shape(answer["predictions"]) == (96, 300)
            connection.close()


def test_a_target_that_is_none_is_told_with_some_of_the_names(plane: Plane, window: Window) -> None:
    every = [f"sensor {i}" for i in range(CHANNELS)]
    told: list[Reply] = []
    for targets in (["sensor 862"], [CHANNELS], [*every, "sensor 3"]):
        fields = wide(window, targets=targets)
        plane.protocol.start(Message(orjson.dumps(fields)), 0.0, lambda reply, _: told.append(orjson.loads(reply)))
    assert [error_of(reply) for reply in told] == [
        ("unknown_target", "targets[0]"),
        ("unknown_target", "targets[0]"),
        ("invalid_request", f"targets[{CHANNELS}]"),
    ]
    assert "sensor 19, … or 0..861, got 'sensor 862'" in told[0]["error"]["message"]
