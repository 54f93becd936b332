"""JSON lines, one request at a time: what every kind of request is answered with, by one service that lives on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from support import (
    CHANNELS,
    MODEL,
    Reply,
    StdioService,
    Window,
    error_of,
    near,
    packed,
    random_windows,
    raw_inference,
    rows,
)
from vinocast import __version__


@pytest.fixture(scope="module")
def windows() -> list[Window]:
    return random_windows(3)


@pytest.fixture(scope="module")
def answers(windows: list[Window]) -> list[Window]:
    return raw_inference(windows)


@pytest.fixture(autouse=True)
def nothing_unasked(stdio: StdioService) -> Iterator[None]:
    """After every test the service lives and has nothing more to say than the answer to a ping."""
    yield
    assert stdio.ask({"op": "ping", "request_id": "the last word"})["request_id"] == "the last word"


@pytest.mark.parametrize("request_of", [rows, packed], ids=["rows", "base64"])
def test_a_forecast_is_the_models_own_answer_in_the_fewest_digits(
    stdio: StdioService, windows: list[Window], answers: list[Window], request_of: Any
) -> None:
    for window, answer in zip(windows, answers, strict=True):
        stdio.send(request_of(window, request_id="1", timestamp_ms=1705678900000))
        line = stdio.receive_line()
        reply = orjson.loads(line)
        assert set(reply) == {
            "request_id", "timestamp_ms", "predictions", "channels", "inference_time_ms", "queue_time_ms", "model",
            "success",
        }  # fmt: skip
        assert (reply["request_id"], reply["timestamp_ms"]) == ("1", 1705678900000)
        assert (reply["model"], reply["success"]) == (MODEL, True)
        assert reply["inference_time_ms"] > 0
        assert reply["queue_time_ms"] >= 0
        assert near(reply["predictions"], answer, window)
        # Each number is a float32, in the digits that no shorter number reads back as.
        read = np.array(reply["predictions"], np.float32)
        assert orjson.dumps(read, option=orjson.OPT_SERIALIZE_NUMPY) in line


def test_an_integer_window_is_forecast_like_the_same_numbers_as_floats(stdio: StdioService) -> None:
    whole = np.rint(random_windows(1)[0] * 10)
    as_floats = stdio.ask(rows(whole))
    as_integers = stdio.ask({"past_values": whole.astype(int).tolist()})
    assert as_integers["predictions"] == as_floats["predictions"]


@pytest.mark.parametrize(
    "targets",
    [["OT"], [6], ["OT", "HUFL"], [6, 0], ["LULL", 1, "OT"], [*CHANNELS[::-1]], [*range(7)], [0, 1], [3], [5, 2, 1, 4]],
    ids=str,
)
def test_targets_are_the_same_columns_in_the_order_asked_for(
    stdio: StdioService, windows: list[Window], targets: list[str | int]
) -> None:
    window = windows[0]
    everything = np.array(stdio.ask(packed(window))["predictions"])
    some = np.array(stdio.ask(packed(window, targets=targets))["predictions"])
    columns = [CHANNELS.index(target) if isinstance(target, str) else target for target in targets]
    assert some.shape == (96, len(targets))
    assert np.abs(some - everything[:, columns]).max() <= 2e-6 * np.abs(window).max()


@pytest.mark.parametrize("request_id", ["", "a", "ü☃\u0000\n", 0, -1, 2**63 - 1, 2**64 - 1, None])
@pytest.mark.parametrize("op", ["ping", "stats", "forecast", "nothing"])
def test_request_id_and_timestamp_are_echoed_as_sent(
    stdio: StdioService, op: str, request_id: str | int | None
) -> None:
    reply = stdio.ask({"op": op, "request_id": request_id, "timestamp_ms": -5})
    assert reply["request_id"] == request_id
    assert type(reply["request_id"]) is type(request_id)
    assert reply["timestamp_ms"] == -5


@pytest.mark.parametrize("op", ["ping", "forecast", "nothing"])
def test_request_id_and_timestamp_are_null_when_absent(stdio: StdioService, op: str) -> None:
    reply = stdio.ask({"op": op})
    assert (reply["request_id"], reply["timestamp_ms"]) == (None, None)


@pytest.mark.parametrize("unreadable", [1.5, True, [], {}, 1e300])
def test_request_id_and_timestamp_are_null_when_unreadable(
    stdio: StdioService, window: Window, unreadable: object
) -> None:
    for name in ("request_id", "timestamp_ms"):
        reply = stdio.ask(packed(window, **{name: unreadable}))
        assert reply[name] is None
        assert error_of(reply) == ("invalid_request", name)
    for op in ("ping", "stats"):
        reply = stdio.ask({"op": op, "request_id": [], "timestamp_ms": "x"})
        assert reply["request_id"] is None
        assert error_of(reply) == ("invalid_request", "request_id")


def test_null_for_absent_fields_is_as_if_they_were_absent(stdio: StdioService, window: Window) -> None:
    nothing = dict.fromkeys(["op", "model", "targets", "deadline_ms", "stream", "shape", "past_values_b64"])
    reply = stdio.ask(rows(window, **nothing))
    assert reply["predictions"] == stdio.ask(rows(window))["predictions"]


def test_carriage_returns_and_blank_lines_do_not_matter(stdio: StdioService) -> None:
    stdio.send(b'\n\r\n  \n\t\r\n{"op":"ping","request_id":1}\r\n\n\r\n {"op":"ping","request_id":2} \n')
    assert [stdio.receive()["request_id"] for _ in range(2)] == [1, 2]


def test_a_ping_tells_version_models_and_what_is_in_force(stdio: StdioService) -> None:
    ping = stdio.ask({"op": "ping"})
    assert (ping["success"], ping["ready"], ping["version"]) == (True, True, __version__)
    assert (ping["default_model"], ping["profile"]) == (MODEL, "epyc-7763")
    (model,) = [model for model in ping["models"] if model["name"] == MODEL]
    assert (model["state"], model["error"]) == ("ready", None)
    assert (model["context"], model["horizon"], model["channels"]) == (512, 96, CHANNELS)
    assert model["in_force"]["INFERENCE_PRECISION_HINT"] == "f32"
    assert model["in_force"]["NUM_STREAMS"] == 1


def test_stats_count_answers_and_refusals(stdio: StdioService, window: Window) -> None:
    before = stdio.ask({"op": "stats"})
    for _ in range(3):
        assert stdio.ask(packed(window))["success"]
    for _ in range(2):
        assert error_of(stdio.ask(b"garbage\n"))[0] == "invalid_json"
    after = stdio.ask({"op": "stats"})
    assert after["success"] is True
    assert after["answered"]["forecast"] - before["answered"].get("forecast", 0) == 3
    assert after["failed"]["invalid_json"] - before["failed"].get("invalid_json", 0) == 2
    assert (after["queued_requests"], after["queued_rows"]) == (0, 0)
    for quantiles in (after["inference_time_ms"], after["queue_time_ms"]):
        assert 0 <= quantiles["p50"] <= quantiles["p95"] <= quantiles["p99"]


def test_stats_count_each_op_and_each_code_under_its_name_which_stands_there_once(
    stdio: StdioService, window: Window
) -> None:
    def names(value: object) -> list[str]:
        return (
            [name for key, inner in value.items() for name in (key, *names(inner))] if isinstance(value, dict) else []
        )

    stdio.ask({"op": "stats"})
    before = stdio.ask({"op": "stats"})
    for request in (
        packed(window),
        {"op": "observe", "stream": "counted", "values": [0] * 7},
        {"op": "forget", "stream": "counted"},
        {"op": "glyphs", "grids": [[[0] * 16] * 16]},
        {"op": "ping"},
    ):
        assert stdio.ask(request)["success"], request
    assert error_of(stdio.ask({"op": "forget", "stream": "counted"})) == ("unknown_stream", "stream")
    after = stdio.ask({"op": "stats"})
    ops = ["forecast", "observe", "forget", "glyphs", "ping", "stats"]
    assert [after["answered"][op] - before["answered"].get(op, 0) for op in ops] == [1] * len(ops)
    assert after["failed"]["unknown_stream"] - before["failed"].get("unknown_stream", 0) == 1
    assert [names(after).count(name) for name in [*ops, *after["failed"]]] == [1] * (len(ops) + len(after["failed"]))
    assert after["glyphs_inference_time_ms"]["p50"] > 0


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"garbage", id="garbage"),
        pytest.param(b"{", id="half an object"),
        pytest.param(b'{"request_id": "1", "past_values": [[1', id="half a request"),
        pytest.param(b'{"request_id": 1,}', id="trailing comma"),
        pytest.param(b"{} {}", id="two objects"),
        pytest.param(b"{'op': 'ping'}", id="single quotes"),
        pytest.param(b'{"past_values": [[NaN]]}', id="NaN"),
        pytest.param(b'{"past_values": [[Infinity]]}', id="Infinity"),
        pytest.param(b'{"past_values": [[-Infinity]]}', id="minus Infinity"),
        pytest.param(b'{"past_values": [[1e999]]}', id="1e999"),
        pytest.param(b'{"request_id": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"request_id": "\xed\xa0\x80"}', id="encoded surrogate"),
        pytest.param(b'{"request_id": "\\ud800"}', id="escaped lone surrogate"),
        pytest.param(b'\xef\xbb\xbf\xef\xbb\xbf{"op": "ping"}', id="two byte order marks"),
        pytest.param(b"\x00", id="zero byte"),
        pytest.param('{"op": "ping"}'.encode("utf-16-le"), id="UTF-16"),
        pytest.param(b'{"past_values": ' + b"[" * 2000 + b"]" * 2000 + b"}", id="2,000 arrays deep"),
        pytest.param(b'{"a":' * 2000 + b"1" + b"}" * 2000, id="2,000 objects deep"),
        pytest.param(b"[" * 100_000, id="100,000 open brackets"),
    ],
)
def test_what_is_not_json_is_invalid_json_and_the_next_request_is_answered(
    stdio: StdioService, window: Window, line: bytes
) -> None:
    stdio.send(line + b"\n", packed(window, request_id="next"))
    assert error_of(stdio.receive()) == ("invalid_json", None)
    good = stdio.receive()
    assert (good["request_id"], good["success"]) == ("next", True)


@pytest.mark.parametrize("line", [b"[]", b"1", b"null", b'"ping"', b"true", b'[{"op": "ping"}]'])
def test_json_that_is_no_object_is_an_invalid_request(stdio: StdioService, line: bytes) -> None:
    assert error_of(stdio.ask(line + b"\n")) == ("invalid_request", None)


@pytest.mark.parametrize("op", ["Forecast", "", "quit", "x" * 10_000])
def test_an_unknown_op_is_refused(stdio: StdioService, op: str) -> None:
    reply = stdio.ask({"op": op})
    assert error_of(reply) == ("unknown_op", "op")
    assert len(reply["error"]["message"]) < 300


@pytest.mark.parametrize("op", [1, True, [], {}, b"[" * 1000 + b"]" * 1000], ids=["1", "true", "[]", "{}", "deep"])
def test_an_op_that_is_no_string_is_an_invalid_request(stdio: StdioService, op: object) -> None:
    value = op if isinstance(op, bytes) else orjson.dumps(op)
    assert error_of(stdio.ask(b'{"op":' + value + b"}\n")) == ("invalid_request", "op")


def zeros(row_count: int, channels: int) -> list[list[float]]:
    return [[0.0] * channels for _ in range(row_count)]


def with_element(element: object) -> list[list[Any]]:
    values: list[list[Any]] = zeros(512, 7)
    values[300][6] = element
    return values


GOOD = packed(np.zeros((512, 7), np.float32))


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        pytest.param({"past_values": zeros(511, 7)}, "invalid_shape", "past_values", id="511 rows"),
        pytest.param({"past_values": zeros(513, 7)}, "invalid_shape", "past_values", id="513 rows"),
        pytest.param({"past_values": []}, "invalid_shape", "past_values", id="0 rows"),
        pytest.param({"past_values": zeros(512, 6)}, "invalid_shape", "past_values[0]", id="6 channels"),
        pytest.param({"past_values": zeros(512, 8)}, "invalid_shape", "past_values[0]", id="8 channels"),
        pytest.param({"past_values": zeros(512, 0)}, "invalid_shape", "past_values[0]", id="0 channels"),
        pytest.param({"past_values": [*zeros(511, 7), [0.0] * 6]}, "invalid_shape", "past_values[511]", id="ragged"),
        pytest.param({"past_values": [0.0] * 3584}, "invalid_shape", "past_values", id="flat"),
        pytest.param({"past_values": with_element([0.0])}, "invalid_shape", "past_values[300][6]", id="deeper"),
        pytest.param({"past_values": with_element("1")}, "invalid_value", "past_values[300][6]", id="string"),
        pytest.param({"past_values": with_element(None)}, "invalid_value", "past_values[300][6]", id="null"),
        pytest.param({"past_values": with_element(True)}, "invalid_value", "past_values[300][6]", id="true"),
        pytest.param({"past_values": with_element(False)}, "invalid_value", "past_values[300][6]", id="false"),
        pytest.param({"past_values": with_element({})}, "invalid_value", "past_values[300][6]", id="object"),
        pytest.param({"past_values": with_element(1e39)}, "invalid_value", "past_values[300][6]", id="1e39"),
        pytest.param({"past_values": "abc"}, "invalid_request", "past_values", id="a string for a window"),
        pytest.param({"past_values": {}}, "invalid_request", "past_values", id="an object for a window"),
        pytest.param({"past_values": True}, "invalid_request", "past_values", id="a boolean for a window"),
        pytest.param({}, "invalid_request", "past_values", id="no window"),
        pytest.param({"past_values": None}, "invalid_request", "past_values", id="null for a window"),
        pytest.param(GOOD | {"past_values": zeros(512, 7)}, "invalid_request", "past_values", id="two windows"),
        pytest.param(GOOD | {"stream": "s"}, "invalid_request", "past_values", id="a window and a stream"),
        pytest.param(GOOD | {"shape": None}, "invalid_request", "shape", id="no shape"),
        pytest.param(GOOD | {"shape": [512]}, "invalid_request", "shape", id="shape of one"),
        pytest.param(GOOD | {"shape": [1, 512, 7]}, "invalid_request", "shape", id="shape of three"),
        pytest.param(GOOD | {"shape": ["512", 7]}, "invalid_request", "shape[0]", id="shape of strings"),
        pytest.param(GOOD | {"shape": [512, 7.0]}, "invalid_request", "shape[1]", id="shape of floats"),
        pytest.param(GOOD | {"shape": [7, 512]}, "invalid_shape", "shape", id="turned shape"),
        pytest.param(GOOD | {"shape": [-512, -7]}, "invalid_shape", "shape", id="negative shape"),
        pytest.param(GOOD | {"past_values_b64": "AAAA"}, "invalid_shape", "past_values_b64", id="3 bytes"),
        pytest.param(GOOD | {"past_values_b64": ""}, "invalid_shape", "past_values_b64", id="no bytes"),
        pytest.param(GOOD | {"past_values_b64": "%%%%"}, "invalid_value", "past_values_b64", id="no base64"),
        pytest.param(GOOD | {"past_values_b64": "ü"}, "invalid_value", "past_values_b64", id="no ASCII"),
        pytest.param(GOOD | {"past_values_b64": 1}, "invalid_request", "past_values_b64", id="a number for base64"),
        pytest.param(
            packed(np.full((512, 7), np.nan, np.float32)), "invalid_value", "past_values_b64[0][0]", id="NaN in base64"
        ),
        pytest.param(
            packed(np.full((512, 7), -np.inf, np.float32)), "invalid_value", "past_values_b64[0][0]", id="inf in base64"
        ),
        pytest.param(GOOD | {"model": "other"}, "unknown_model", "model", id="unknown model"),
        pytest.param(GOOD | {"model": ""}, "unknown_model", "model", id="empty model"),
        pytest.param(GOOD | {"model": "../" + MODEL}, "unknown_model", "model", id="a path for a model"),
        pytest.param(GOOD | {"model": 1}, "invalid_request", "model", id="a number for a model"),
        pytest.param(GOOD | {"targets": ["OT", "ot"]}, "unknown_target", "targets[1]", id="unknown name"),
        pytest.param(GOOD | {"targets": [7]}, "unknown_target", "targets[0]", id="index beyond"),
        pytest.param(GOOD | {"targets": [-1]}, "unknown_target", "targets[0]", id="negative index"),
        pytest.param(GOOD | {"targets": []}, "invalid_request", "targets", id="no target"),
        pytest.param(GOOD | {"targets": "OT"}, "invalid_request", "targets", id="a string for targets"),
        pytest.param(GOOD | {"targets": [0, 1.0]}, "invalid_request", "targets[1]", id="a float for a target"),
        pytest.param(GOOD | {"targets": [True]}, "invalid_request", "targets[0]", id="a boolean for a target"),
        pytest.param(GOOD | {"targets": ["OT", 6]}, "invalid_request", "targets[1]", id="a target twice"),
        pytest.param(GOOD | {"deadline_ms": -1}, "invalid_request", "deadline_ms", id="negative deadline"),
        pytest.param(GOOD | {"deadline_ms": "1"}, "invalid_request", "deadline_ms", id="a string for a deadline"),
        pytest.param(GOOD | {"deadline_ms": 0}, "deadline_exceeded", "deadline_ms", id="a deadline of nothing"),
        pytest.param({"stream": "nobody observed it"}, "unknown_stream", "stream", id="unknown stream"),
    ],
)  # fmt: skip
def test_each_fault_gets_its_code_and_its_path_and_the_next_request_is_answered(
    stdio: StdioService, fields: Reply, code: str, field: str
) -> None:
    stdio.send({**fields, "request_id": 7, "timestamp_ms": 8}, {**GOOD, "request_id": "next"})
    replies = [stdio.receive(), stdio.receive()]
    bad, good = sorted(replies, key=lambda reply: reply["request_id"] == "next")
    assert error_of(bad) == (code, field)
    assert (bad["request_id"], bad["timestamp_ms"]) == (7, 8)
    assert (good["request_id"], good["success"]) == ("next", True)


def test_a_deadline_that_is_far_off_is_kept(stdio: StdioService) -> None:
    assert stdio.ask(GOOD | {"deadline_ms": 600_000})["success"] is True
    assert stdio.ask(GOOD | {"deadline_ms": 1e300})["success"] is True


@pytest.mark.parametrize("value", [3.4e38, -3.4e38])
def test_the_largest_values_are_answered_with_finite_numbers_or_refused_but_never_with_null(
    stdio: StdioService, value: float
) -> None:
    constant = np.full((512, 7), value, np.float32)
    swinging = constant * np.sign(np.sin(np.arange(512)))[:, None].astype(np.float32)
    for window in (constant, swinging):
        reply = stdio.ask(packed(window))
        if reply["success"]:
            assert np.isfinite(np.array(reply["predictions"], np.float32)).all()
        else:
            assert error_of(reply)[0] == "invalid_value"


def test_a_tiny_or_constant_window_is_forecast(stdio: StdioService) -> None:
    for window in (np.zeros((512, 7)), np.full((512, 7), 1e-42), np.full((512, 7), 12345.678)):
        reply = stdio.ask(packed(window.astype(np.float32)))
        predictions = np.array(reply["predictions"])
        assert predictions.shape == (96, 7)
        assert np.abs(predictions - window[0, 0]).max() <= 0.05 * max(1, window[0, 0])


def test_10_mb_on_one_line_are_one_error_and_the_next_request_is_answered(stdio: StdioService, window: Window) -> None:
    long = b'{"request_id": "long", "past_values": [' + b"1.0," * 2_500_000 + b"1.0]}\n"
    stdio.send(long, packed(window, request_id="next"))
    assert error_of(stdio.receive()) == ("line_too_long", None)
    good = stdio.receive()
    assert (good["request_id"], good["success"]) == ("next", True)
