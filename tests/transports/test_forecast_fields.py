"""Each field of a forecast beside each other, over lines and HTTP: honoured as numpy says, or refused by code and path.

What is refused stands in REFUSALS, in the order in which it is found; all else is honoured.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from forecast_toys import CONTEXT, HORIZON, NAMES, RESIDUALS, linear, make_linear
from support import HttpService, Reply, StdioService, Window, error_of, packed, rows, wait_until
from vinocast.ops import OPS
from vinocast.protocols.replies import ErrorReply, ForecastOfOne

FORMS = ("past_values", "past_values_b64", "stream", "inputs")
# Whole; with gaps; with fewer rows than the context.
DATA = ("whole", "gaps", "few")
FEW = 5
EXTRA = 4  # points of a series in front of those that count
START, STEP = np.datetime64("2026-01-31T22:00"), np.timedelta64(1, "h")
FIRST_MS, STEP_MS = 1_700_000_000_000, 60_000
IDS: list[Any] = ["x", 7, None]

Fields = dict[str, Any]
CHOICES: list[Fields] = [
    {"channels": ["u", "v", "w"]},
    {"targets": [2, 0]},
    {"prediction_length": 2},
    {"prediction_length": HORIZON},
    {"prediction_length": 10},
    {"prediction_length": 16 * HORIZON + 1},
    {"rollout": True},
    {"rollout": False},
    {"rollout": True, "prediction_length": 10},
    {"quantile_levels": [0.9, 0.1]},
    {"missing": "refuse"},
    {"missing": "interpolate"},
    {"short": "refuse"},
    {"short": "pad"},
    {"start": "2026-01-31 22:00"},
    {"freq": "h"},
    {"start": "2026-01-31 22:00", "freq": "h"},
    {"step_ms": STEP_MS},
    {"timestamp_ms": FIRST_MS},
    {"step_ms": STEP_MS, "timestamp_ms": FIRST_MS},
    {"each start": "2026-01-31 22:00"},
    {"each start": "2026-01-31 22:00", "freq": "h"},
    {"model": "whole"},
    {"model": "without"},
    {"encoding_format": "float"},
    {"encoding_format": "base64"},
    {"deadline_ms": 60_000},
    {"deadline_ms": 0},
    {"metadata": {"mine": [1]}},
]


class Case:
    """A request: a form, its data, and fields."""

    def __init__(self, form: str, data: str, fields: Fields) -> None:
        self.form, self.data = form, data
        self.fields = {name: value for name, value in fields.items() if name != "each start"}
        self.starts = "each start" in fields
        values = np.random.default_rng(1).standard_normal((CONTEXT, 3)).cumsum(axis=0).astype(np.float32)
        if data == "gaps":
            values[[0, 7, 8], 0] = values[[5, 15], 2] = np.nan
        self.values: Window = values[:FEW] if data == "few" else values

    def __getitem__(self, name: str) -> Any:
        return self.fields.get(name)

    def __repr__(self) -> str:
        return f"{self.form} {self.data} {'each start ' * self.starts}{self.fields}"

    @property
    def steps(self) -> int:
        return self["prediction_length"] or HORIZON

    @property
    def missing_path(self) -> str:
        return {
            "past_values": "past_values[0][0]",
            "past_values_b64": "past_values_b64[0][0]",
            "inputs": f"inputs[0].target[{EXTRA}]",
        }[self.form]

    def request(self) -> Reply:
        if self.form == "past_values":
            listed = [[None if np.isnan(x) else float(x) for x in row] for row in self.values]
            return {"past_values": listed, **self.fields}
        if self.form == "past_values_b64":
            return packed(self.values, **self.fields)
        if self.form == "stream":
            return {"stream": self.data, **self.fields}
        inputs: list[Fields] = []
        for item_id, column in zip(IDS, self.values.T, strict=True):
            before = [] if self.data == "few" else [1e6] * EXTRA
            target = [None if np.isnan(x) else float(x) for x in (*before, *column)]
            inputs.append({"target": target} if item_id is None else {"item_id": item_id, "target": target})
            if self.starts:
                inputs[-1]["start"] = "2026-01-31 22:00"
        return {**self.fields, "inputs": inputs}


def beyond(case: Case) -> bool:
    return case.steps > HORIZON


# When, and then by which code and path.
REFUSALS: list[tuple[Callable[[Case], bool], str, str | Callable[[Case], str]]] = [
    # Fields that do not go together.
    (lambda c: c.form == "inputs" and c["targets"] is not None, "invalid_request", "targets"),
    (lambda c: c.form in ("stream", "inputs") and c["channels"] is not None, "invalid_request", "channels"),
    (lambda c: c.form in ("stream", "inputs") and c["start"] is not None, "invalid_request", "start"),
    (lambda c: c["start"] is not None and c["freq"] is None, "invalid_request", "start"),
    (lambda c: c["freq"] is not None and c["start"] is None and c.form != "inputs", "invalid_request", "freq"),
    (lambda c: c["step_ms"] is not None and c["timestamp_ms"] is None, "invalid_request", "step_ms"),
    (lambda c: c["step_ms"] is not None and c["freq"] is not None, "invalid_request", "step_ms"),
    # What the model does not give.
    (lambda c: beyond(c) and not c["rollout"], "invalid_request", "prediction_length"),
    (lambda c: c.steps > 16 * HORIZON, "invalid_request", "prediction_length"),
    (lambda c: beyond(c) and c["quantile_levels"] is not None, "invalid_request", "quantile_levels"),
    (
        lambda c: c["quantile_levels"] is not None and c["model"] in ("whole", "without"),
        "invalid_request",
        "quantile_levels",
    ),
    (lambda c: c["model"] == "whole" and c["channels"] is not None, "invalid_request", "channels"),
    (lambda c: c["model"] == "whole" and c.form == "inputs", "invalid_request", "inputs"),
    # What comes too late; series are read when their turn comes.
    (lambda c: c.form == "inputs" and c["deadline_ms"] == 0, "deadline_exceeded", "deadline_ms"),
    # The data.
    (lambda c: c.form == "stream" and c.data == "few" and c["short"] != "pad", "not_enough_history", "stream"),
    (
        lambda c: c.data == "few" and c["short"] != "pad",
        "invalid_shape",
        lambda c: {"past_values_b64": "shape", "inputs": "inputs[0].target"}.get(c.form, c.form),
    ),
    (lambda c: c.data == "gaps" and c["missing"] != "interpolate", "invalid_value", lambda c: c.missing_path),
    (lambda c: c.starts and c["freq"] is None, "invalid_request", "inputs[0].start"),
    (lambda c: c.form == "inputs" and c["freq"] is not None and not c.starts, "invalid_request", "freq"),
    (lambda c: c["deadline_ms"] == 0, "deadline_exceeded", "deadline_ms"),
]


def refused(case: Case) -> tuple[str, str] | None:
    """Code and path by which a case is to be refused; None where it is to be honoured."""
    for applies, code, path in REFUSALS:
        if applies(case):
            return code, path if isinstance(path, str) else path(case)
    return None


def cases() -> Iterator[Case]:
    for form, data in itertools.product(FORMS, DATA):
        if (form, data) == ("stream", "gaps"):  # a row with a gap is refused when it comes
            continue
        pairs = [(one, other) for one, other in itertools.combinations(CHOICES, 2) if not one.keys() & other.keys()]
        for fields in [{}, *CHOICES, *({**one, **other} for one, other in pairs)]:
            if "each start" not in fields or form == "inputs":
                yield Case(form, data, fields)


def prepared(case: Case) -> tuple[Window, int]:
    """The window that is forecast from, by other means than the service's, and how many rows were made up."""
    window = case.values.copy()
    for column in window.T:
        there = np.flatnonzero(~np.isnan(column))
        for place in np.flatnonzero(np.isnan(column)):
            before, behind = there[there < place], there[there > place]
            if len(before) and len(behind):
                share = (place - before[-1]) / (behind[0] - before[-1])
                column[place] = column[before[-1]] * (1 - share) + column[behind[0]] * share
            else:
                column[place] = column[before[-1] if len(before) else behind[0]]
    missing = CONTEXT - len(window)
    return np.pad(window, ((missing, 0), (0, 0)), mode="mean"), missing


def as_numbers(fields: Reply, shape: list[int]) -> None:
    """Put numbers into the place of what a reply holds in base64."""
    assert fields.pop("shape") == shape

    def numbers(text: str) -> Any:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(shape)

    fields["predictions"] = numbers(fields.pop("predictions_b64"))
    if "quantiles_b64" in fields:
        fields["quantiles"] = {level: numbers(text) for level, text in fields.pop("quantiles_b64").items()}


def check_honoured(case: Case, reply: Reply) -> None:
    """A reply holds what each field asks for, and nothing else."""
    window, padded = prepared(case)
    points = linear(window, case.steps)
    gaps = np.isnan(case.values).sum(axis=0)
    known = range(3) if case["channels"] is None and case.form != "inputs" else [3, 3, 3]
    residuals = RESIDUALS[list(known)][:, : case.steps, [1, 3]].transpose(2, 1, 0)
    deviations = np.sqrt(window[padded:].astype(np.float64).var(axis=0) + 1e-5)
    quantiles = None if case["quantile_levels"] is None else points + residuals * deviations
    times: list[Any] | None = None
    if case["freq"] is not None:
        sent = len(case.values) + (EXTRA if case.form == "inputs" and case.data != "few" else 0)
        moments = START + STEP * np.arange(sent, sent + case.steps)
        times = [str(moment).replace("T", " ") for moment in moments]
    elif case["step_ms"] is not None:
        times = [FIRST_MS + STEP_MS * (step + 1) for step in range(case.steps)]

    def check(fields: Reply, targets: list[int], picked: Any) -> None:
        if case["encoding_format"] == "base64":
            as_numbers(fields, [case.steps, *([] if case.form == "inputs" else [len(targets)])])
        np.testing.assert_allclose(fields.pop("predictions"), points[:, picked], rtol=1e-4, atol=1e-4)
        if quantiles is not None:
            made = fields.pop("quantiles")
            assert list(made) == ["0.1", "0.9"]
            for place, values in enumerate(made.values()):
                np.testing.assert_allclose(values, quantiles[place][:, picked], rtol=1e-4, atol=1e-4)
        if times is not None:
            assert fields.pop("timestamps") == times
        assert fields.pop("filled", 0) == gaps[targets].sum()
        assert fields.pop("padded", 0) == padded

    assert reply.pop("success") is True
    assert reply.pop("model") == (case["model"] or "linear")
    assert reply.pop("rollout", False) is beyond(case)
    assert (reply.pop("request_id"), reply.pop("timestamp_ms")) == (None, case["timestamp_ms"])
    assert reply.pop("metadata", None) == case["metadata"]
    assert reply.pop("inference_time_ms") >= 0
    assert reply.pop("queue_time_ms") >= 0
    if case.form == "stream":
        assert (reply.pop("newest_timestamp_ms"), reply.pop("rows_since_newest")) == (None, len(case.values))
    if case.form == "inputs":
        outputs = reply.pop("outputs")
        for index, output in enumerate(outputs):
            ForecastOfOne.model_validate(output)
            assert output.pop("item_id") == IDS[index]
            check(output, [index], index)
            assert output == {}
    else:
        targets = case["targets"] or [0, 1, 2]
        assert reply.pop("channels") == [(case["channels"] or NAMES)[index] for index in targets]
        check(reply, targets, targets)
    assert reply == {}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_linear(folder / "linear")
    make_linear(folder / "whole", "window", with_table=False)
    make_linear(folder / "without", with_table=False)
    return folder


def observe(ask: Callable[[Reply], Reply]) -> None:
    for data in ("whole", "few"):
        listed = rows(Case("stream", data, {}).values)["past_values"]
        assert ask({"op": "observe", "stream": data, "values": listed})["success"]


def test_each_field_beside_each_other_over_lines(models: Path) -> None:
    honoured = 0
    with StdioService("--models", models, "--default-model", "linear") as service:
        observe(service.ask)
        for model in ("whole", "without"):  # which load behind the default
            assert service.ask({**rows(prepared(Case("past_values", "whole", {}))[0]), "model": model})["success"]
        for case in cases():
            reply = service.ask(case.request())
            expected = refused(case)
            if expected:
                ErrorReply.model_validate(reply)
                assert error_of(reply) == expected, f"{case}: {reply}"
            else:
                assert reply["success"], f"{case}: {reply}"
                OPS["forecast"].reply.model_validate(reply)
                check_honoured(case, reply)
                honoured += 1
    assert honoured > 500


def test_each_field_beside_each_other_over_http(models: Path) -> None:
    """Where a request is parsed whole, as its text holds a backslash."""
    statuses = {"invalid_request": 422, "invalid_shape": 422, "invalid_value": 422, "not_enough_history": 409}
    statuses["deadline_exceeded"] = 504
    with (
        HttpService("--models", models, "--default-model", "linear") as service,
        httpx.Client(base_url=service.url) as client,
    ):

        def settled() -> bool:
            return all(model["state"] == "ready" for model in client.get("/readyz").json()["models"])

        wait_until(settled, "all models are there")
        observe(
            lambda request: client.post(
                f"/streams/{request['stream']}/observations", json={"values": request["values"]}
            ).json()
        )
        for case in cases():
            request = {"request_id": "\n", **case.request()}
            response = client.post("/forecast", json=request)
            reply, expected = response.json(), refused(case)
            assert reply["request_id"] == "\n"
            if expected:
                assert error_of(reply) == expected, f"{case}: {reply}"
                assert response.status_code == statuses[expected[0]]
            else:
                assert response.status_code == 200, f"{case}: {reply}"
                check_honoured(case, reply | {"request_id": None})
