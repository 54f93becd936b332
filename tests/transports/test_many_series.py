"""Many series in one request, and windows of many channels: each as by itself, in parts, within limits."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from forecast_toys import CONTEXT, HORIZON, linear, make_linear
from support import HttpService, Reply, StdioService, Window, error_of, packed, wait_until
from vinocast.dataplane import DataPlane, Ticket
from vinocast.errors import RequestError
from vinocast.ops import OPS
from vinocast.protocols.json import JsonProtocol, Message
from vinocast.settings import Settings

COUNT = 1000


def series(count: int = COUNT, points: int = CONTEXT) -> Window:
    """Series [count, points]."""
    return np.random.default_rng(7).standard_normal((count, points)).cumsum(axis=1).astype(np.float32)


def inputs(values: Window) -> list[Reply]:
    return [{"item_id": index, "target": each.tolist()} for index, each in enumerate(values)]


def expected(values: Window, steps: int = HORIZON) -> Any:
    return linear(values[:, -CONTEXT:].T, steps).T


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_linear(folder / "linear")
    return folder


@pytest.fixture(scope="module")
def lines(models: Path) -> Iterator[StdioService]:
    with StdioService("--models", models) as service:
        yield service


@pytest.fixture(scope="module")
def served(models: Path) -> Iterator[httpx.Client]:
    with (
        HttpService("--models", models) as service,
        httpx.Client(base_url=service.url, timeout=60) as client,
    ):
        yield client


def test_a_thousand_series_are_each_what_they_are_in_a_window(lines: StdioService, served: httpx.Client) -> None:
    values = series(points=CONTEXT + 5)
    for reply in (
        lines.ask({"inputs": inputs(values)}),
        served.post("/forecast", json={"inputs": inputs(values)}).json(),
    ):
        assert [output["item_id"] for output in reply["outputs"]] == list(range(COUNT))
        np.testing.assert_allclose(
            [output["predictions"] for output in reply["outputs"]], expected(values), rtol=1e-4, atol=1e-4
        )
    window = np.ascontiguousarray(values[:, -CONTEXT:].T)
    wide = lines.ask(packed(window, channels=[f"c{index}" for index in range(COUNT)]))
    assert np.array(wide["predictions"], np.float32).T.tolist() == [
        np.array(output["predictions"], np.float32).tolist() for output in reply["outputs"]
    ]


@pytest.mark.parametrize("rest", [{}, {"metadata": "\n"}], ids=["taken apart", "parsed whole"])
@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"target": [1.0] * 15 + ["x"]}, "invalid_value", "inputs[777].target[15]"),
        ({"target": [1.0] * 15}, "invalid_shape", "inputs[777].target"),
        ({"target": [1.0] * 8 + [None] * 8}, "invalid_value", "inputs[777].target"),
        ({"target": [None] * 16}, "invalid_value", "inputs[777].target"),
        ({"item_id": [1]}, "invalid_request", "inputs[777].item_id"),
        ({"start": "yesterday"}, "invalid_request", "inputs[777].start"),
        ({"horizon": 5}, "invalid_request", "inputs[777].horizon"),
    ],
    ids=["a text", "short", "gaps", "nothing", "an id", "a time", "a field"],
)
def test_a_fault_in_one_of_a_thousand_series_refuses_all_by_its_path(
    lines: StdioService, served: httpx.Client, change: Reply, code: str, path: str, rest: Reply
) -> None:
    items = inputs(series())
    items[777] |= change
    items[778]["target"] = "wrong too"
    request = {"inputs": items, "missing": "interpolate", "freq": "h", **rest}
    assert error_of(lines.ask(request)) == (code, path)
    response = served.post("/forecast", json=request)
    assert (error_of(response.json()), response.status_code) == ((code, path), 422)
    assert lines.ask({"inputs": inputs(series(1))})["success"]


def test_series_that_come_out_beyond_float32_are_named(lines: StdioService) -> None:
    values = series(3)
    values[1] = np.float32(3.4e38) * np.sign(np.random.default_rng(5).uniform(-0.3, 0.4, (CONTEXT, HORIZON))[:, 0])
    assert error_of(lines.ask({"inputs": inputs(values)})) == ("invalid_value", "inputs[1].target")


def test_two_series_may_have_the_same_id(lines: StdioService) -> None:
    items = [{"item_id": "a", "target": each.tolist()} for each in series(2)]
    assert [output["item_id"] for output in lines.ask({"inputs": items})["outputs"]] == ["a", "a"]


@pytest.mark.parametrize("form", ["inputs", "channels"])
def test_more_than_the_queue_has_rows_are_refused(models: Path, form: str) -> None:
    values = series(9)
    with StdioService("--models", models, "--queue-rows", "8") as service:

        def ask(count: int) -> Reply:
            if form == "inputs":
                return service.ask({"inputs": inputs(values[:count])})
            return service.ask(packed(values[:count].T, channels=[f"c{index}" for index in range(count)]))

        assert ask(8)["success"]
        reply = ask(9)
        assert error_of(reply) == ("payload_too_large", form)
        assert "at most 8" in reply["error"]["message"]


def test_more_than_a_reply_has_room_for_are_refused_before_they_are_read(lines: StdioService) -> None:
    levels = [level / 100 for level in range(1, 100)]
    wrong = [{"target": ["x"]}] * 2000
    reply = lines.ask({"inputs": wrong, "quantile_levels": levels})
    assert error_of(reply) == ("payload_too_large", "inputs")
    assert "at most 499 of 4 steps and 99 quantiles" in reply["error"]["message"]
    assert error_of(lines.ask({"inputs": wrong[:499], "quantile_levels": levels}))[1] == "inputs[0].target[0]"
    window = series(2000).T
    reply = lines.ask(packed(window, channels=[f"c{index}" for index in range(2000)], quantile_levels=levels))
    assert error_of(reply) == ("payload_too_large", "targets")


def test_the_share_that_may_be_missing_is_a_setting(models: Path) -> None:
    target = [1.0, None, None, None] * 4
    with StdioService("--models", models, "--max-missing-share", "0.75") as service:
        assert service.ask({"inputs": [{"target": target}], "missing": "interpolate"})["outputs"][0]["filled"] == 12
        target[0] = None
        reply = service.ask({"inputs": [{"target": target}], "missing": "interpolate"})
        assert error_of(reply) == ("invalid_value", "inputs[0].target")
        assert "0.75" in reply["error"]["message"]
        assert "13 of 16" in reply["error"]["message"]


def test_several_workers_answer_all_but_streams(models: Path) -> None:
    values = series(5)
    with HttpService("--models", models, "--workers", "2") as service:
        for _ in range(4):
            reply = httpx.post(
                f"{service.url}/forecast", json={"inputs": inputs(values), "prediction_length": 2}
            ).json()
            made = [output["predictions"] for output in reply["outputs"]]
            np.testing.assert_allclose(made, expected(values, 2), rtol=1e-4, atol=1e-4)
        refused = httpx.post(f"{service.url}/forecast", json={"stream": "s", "short": "pad"})
        assert error_of(refused.json()) == ("unknown_stream", "stream")


class Plane:
    """A data plane whose lane the test steps."""

    def __init__(self, models: Path) -> None:
        self.plane = DataPlane(Settings(models=models), OPS)
        self.answers: list[tuple[Any, str]] = []
        self._protocol = JsonProtocol(self.plane, OPS)
        self.plane.start(lambda: None)
        wait_until(lambda: len(self.plane.default_model.engine.compiled_counts) == 4  # type: ignore[union-attr]
                   if self.plane.ready else False, "all shapes are there")  # fmt: skip

    def ask(self, **fields: Any) -> Ticket | None:
        return self.ask_text(orjson.dumps(fields), fields.get("request_id"))

    def ask_text(self, text: bytes, request_id: Any = None) -> Ticket | None:
        def answer(reply: bytes, error: RequestError | None) -> None:
            self.answers.append((request_id, error.code if error else "answered"))

        return self._protocol.start(Message(text), time.monotonic(), answer)


@pytest.fixture
def plane(models: Path) -> Iterator[Plane]:
    plane = Plane(models)
    yield plane
    plane.plane.stop()


def test_what_comes_meanwhile_goes_between_two_parts(plane: Plane) -> None:
    plane.ask(request_id="many", inputs=inputs(series(100)))
    steps = 0
    while plane.plane.lane.step():
        steps += 1
        if ("many", "answered") in plane.answers:
            break
        plane.ask(request_id=steps, **packed(series(3).T))
        assert plane.plane.lane.step()  # not the next part
        assert plane.answers[-1] == (steps, "answered")
    # It was read in one part at least and computed in 15, and then answered.
    assert steps >= 16
    assert plane.answers[-1] == ("many", "answered")


def test_each_horizon_of_a_forecast_that_is_fed_back_is_a_part(plane: Plane) -> None:
    plane.ask(request_id="far", **packed(series(3).T), prediction_length=4 * HORIZON, rollout=True)
    for step in range(4):
        assert plane.answers == [(before, "answered") for before in range(step)]
        assert plane.plane.lane.step()
        if step < 3:
            plane.ask(request_id=step, **packed(series(3).T))
            assert plane.plane.lane.step()
    assert plane.answers == [(0, "answered"), (1, "answered"), (2, "answered"), ("far", "answered")]


def test_what_nobody_waits_for_is_dropped_with_all_that_it_holds(plane: Plane) -> None:
    ticket = plane.ask(inputs=inputs(series(500)))
    assert ticket is not None
    assert ticket.lasting
    assert plane.plane.budget.taken > 500 * CONTEXT * 4
    assert plane.plane.lane.step()
    plane.plane.let_go(ticket)
    assert (len(plane.plane.lane), plane.plane.lane.rows, plane.plane.budget.taken) == (0, 0, 0)
    assert plane.answers == []


def test_a_deadline_that_passes_between_two_parts_ends_the_rest(plane: Plane) -> None:
    plane.ask(request_id="late", inputs=inputs(series(500)), deadline_ms=200)
    while not plane.answers:
        assert plane.plane.lane.step()
        time.sleep(0.01)
    assert plane.answers == [("late", "deadline_exceeded")]
    assert (len(plane.plane.lane), plane.plane.budget.taken) == (0, 0)


@pytest.mark.parametrize(
    ("count", "fields"),
    [
        (4096, {"prediction_length": 1}),
        (630, {"prediction_length": 1, "quantile_levels": [level / 100 for level in range(1, 100)]}),
        (1000, {"prediction_length": 16 * HORIZON, "rollout": True}),
        (1000, {"prediction_length": 1, "ids": True}),
        (4096, {"prediction_length": 1, "window": True}),
        (1000, {"prediction_length": 16 * HORIZON, "rollout": True, "window": True}),
    ],
    ids=["one step", "quantiles", "fed back", "ids", "a window", "a window fed back"],
)
def test_nothing_is_held_that_the_budget_does_not_know_of(plane: Plane, count: int, fields: Reply) -> None:
    ids = fields.pop("ids", False)
    values = series(count, CONTEXT)
    if fields.pop("window", False):
        message = packed(values.T, channels=[f"c{index}" for index in range(count)], **fields)
    else:
        message = {"inputs": inputs(values), **fields}
        for index, item in enumerate(message["inputs"] if ids else []):
            item["item_id"] = f"{index}-" + "\u20ac" * 250
    plane.ask(**packed(values[:3].T))
    while plane.plane.lane.step():
        pass
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        plane.ask_text(json.dumps(message, ensure_ascii=False).encode())
        while len(plane.plane.lane):
            # What any request may take for a moment is not counted.
            assert tracemalloc.get_traced_memory()[0] - before <= plane.plane.budget.taken + 300_000
            assert plane.plane.lane.step()
    finally:
        tracemalloc.stop()
    assert plane.answers[-1] == (None, "answered")
    assert plane.plane.budget.taken == 0
