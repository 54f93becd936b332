"""What a reply repeats of its request, and what is refused, for every text a request may be."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from vinocast.dataplane import DataPlane
from vinocast.errors import InvalidJsonError, InvalidRequestError
from vinocast.ops import OPS
from vinocast.protocols import schemas
from vinocast.protocols.json import JsonProtocol, Message, described, echo, encode, parse_json, validate
from vinocast.requests import Forecasted, ForecastedSeries, ForecastOfOne, StreamPosition
from vinocast.settings import Settings

REQUESTS = [
    schemas.ForecastRequest,
    schemas.ObserveRequest,
    schemas.ForgetRequest,
    schemas.GlyphsRequest,
    schemas.PingRequest,
    schemas.StatsRequest,
]
# As a reader takes them that keeps integers of any size; what no double holds, the service refuses as JSON.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


def echoed(text: bytes) -> Any:
    return json.loads(encode(echo(parse_json(text))))


def same(one: object, other: object) -> bool:
    """Whether two values are the same JSON, in the order of their fields, and integers where the other has some."""
    return json.dumps(one) == json.dumps(other)


@given(VALUES, st.booleans())
@example({"a": [2**64, -(2**63) - 1, 2**63, 1e19, 1e300, -1.5e-300]}, True)
@example(2**64, False)
@example("1e19", False)
@example(["1e19", ",1e19,", '":1e19}'], False)
def test_metadata_comes_back_as_it_was_sent(metadata: Any, ascii_only: bool) -> None:
    text = json.dumps({"values": [1, 2], "metadata": metadata}, ensure_ascii=ascii_only).encode()
    expected = {"request_id": None, "timestamp_ms": None, "metadata": metadata}
    assert same(echoed(text), expected)


@given(st.integers(-(10**300), 10**300) | TEXTS)
@example(2**64)
@example(-(2**63) - 1)
@example(2**63)
def test_a_request_id_comes_back_as_it_was_sent(request_id: int | str) -> None:
    text = json.dumps({"request_id": request_id, "op": "ping"}).encode()
    assert same(echoed(text), {"request_id": request_id, "timestamp_ms": None})
    validate(schemas.PingRequest, parse_json(text))


@pytest.mark.parametrize("request_id", ["1e300", "18446744073709551616.0", "1.5", "true", "[]", "{}"])
def test_a_request_id_of_another_type_is_refused_with_what_was_sent(request_id: str) -> None:
    fields = parse_json(f'{{"op": "ping", "request_id": {request_id}, "metadata": "mine"}}'.encode())
    assert echo(fields)["request_id"] is None
    with pytest.raises(InvalidRequestError, match=r"request_id: expected a string or an integer, .*got") as refused:
        validate(schemas.PingRequest, fields)
    assert refused.value.field == "request_id"
    assert echoed(b'{"op": "ping", "request_id": true, "metadata": "mine"}')["metadata"] == "mine"


@pytest.mark.parametrize("timestamp", [2**64, -(2**63) - 1])
def test_a_timestamp_beyond_64_bits_is_refused_with_the_limit(timestamp: int) -> None:
    fields = parse_json(f'{{"op": "ping", "request_id": 1, "timestamp_ms": {timestamp}}}'.encode())
    assert echo(fields) == {"request_id": 1, "timestamp_ms": None}
    with pytest.raises(InvalidRequestError, match="timestamp_ms: expected an integer of at most 64 bits"):
        validate(schemas.PingRequest, fields)


def test_metadata_too_deep_to_be_echoed_is_refused_and_the_rest_is_echoed() -> None:
    deep = b'{"op": "ping", "request_id": 7, "metadata": %b}'
    assert echoed(deep % (b"[" * 254 + b"]" * 254))["metadata"]
    fields = parse_json(deep % (b"[" * 255 + b"]" * 255))
    assert echo(fields) == {"request_id": 7, "timestamp_ms": None}
    with pytest.raises(InvalidRequestError, match=r"metadata: expected any JSON .*254 levels"):
        validate(schemas.PingRequest, fields)


def test_an_integer_beyond_64_bits_is_exact_however_deep_a_text_is_but_for_a_very_long_one() -> None:
    text = b'{"request_id": 18446744073709551616, "x": ' + b"[" * 300 + b"]" * 300 + b"%b}"
    assert parse_json(text % b"")["request_id"] == 2**64
    with pytest.raises(InvalidJsonError, match="nested too deep"):
        parse_json(text % (b" " * (1 << 20)))


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_json(BOM_UTF8 + b'{"request_id": 1}') == {"request_id": 1}
    with pytest.raises(InvalidJsonError):
        parse_json(BOM_UTF8 * 2 + b'{"request_id": 1}')


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_another_coding_than_utf_8_is_named(coding: str) -> None:
    with pytest.raises(InvalidJsonError, match="in UTF-8: these bytes look like UTF-16 or UTF-32"):
        parse_json('{"op": "ping"}'.encode(coding))


@pytest.mark.parametrize("schema", REQUESTS, ids=lambda schema: schema.__name__)
def test_an_error_says_of_a_field_what_its_description_says(schema: type[schemas.Envelope]) -> None:
    good = {"op": schema.__name__.removesuffix("Request").lower(), "stream": "s", "values": [1]}
    needed = {name: value for name, value in good.items() if name in schema.model_fields}
    for name, field in schema.model_fields.items():
        with pytest.raises(InvalidRequestError) as refused:
            validate(schema, {**needed, name: object()})
        assert refused.value.field == name
        assert refused.value.message.startswith(f"{name}: expected {field.description}, got ")


def test_an_observations_timestamp_is_said_to_order_rows_and_a_forecasts_to_be_echoed() -> None:
    timestamp = {"request_id": 1, "timestamp_ms": "now"}
    with pytest.raises(InvalidRequestError, match=r"which orders the rows of the stream; .* got 'now'"):
        validate(schemas.ObserveRequest, {**timestamp, "stream": "s", "values": [1]})
    with pytest.raises(InvalidRequestError, match=r"64 bits, echoed in the reply, got 'now'"):
        validate(schemas.ForecastRequest, timestamp)


@pytest.mark.parametrize(
    ("schema", "misspelt", "meant"),
    [
        (schemas.ForecastRequest, "target", "targets"),
        (schemas.ForecastRequest, "past_value", "past_values"),
        (schemas.ForecastRequest, "pastValues", "past_values"),
        (schemas.ForecastRequest, "requestId", "request_id"),
        (schemas.ForecastRequest, "timestamp", "timestamp_ms"),
        (schemas.ForecastRequest, "deadline", "deadline_ms"),
        (schemas.ForecastRequest, "METADATA", "metadata"),
        (schemas.ObserveRequest, "past_values", "values"),
        (schemas.ObserveRequest, "streams", "stream"),
        (schemas.GlyphsRequest, "top_k", "topk"),
        (schemas.GlyphsRequest, "raster", "rasters"),
        (schemas.ForgetRequest, "steam", "stream"),
        (schemas.PingRequest, "request-id", "request_id"),
        (schemas.ForecastRequest, "horizon", None),
        (schemas.ForecastRequest, "quantiles", "quantile_levels"),
        (schemas.StatsRequest, "past_values", None),
    ],
)  # fmt: skip
def test_a_field_that_is_not_known_is_refused_with_the_nearest_that_is(
    schema: type[schemas.Envelope], misspelt: str, meant: str | None
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        validate(schema, {misspelt: 1})
    assert refused.value.field == misspelt
    message = refused.value.message
    assert message.startswith(f"{misspelt}: ")
    assert message.endswith(f"expected none but {', '.join(schema.model_fields)}")
    assert (f"did you mean {meant}?" in message) is (meant is not None)
    assert ("did you mean" in message) is (meant is not None)


def test_an_unknown_field_of_a_megabyte_or_one_of_many_makes_a_short_message() -> None:
    for fields in ({"x" * 1_000_000: 1}, {f"field {number}": 1 for number in range(100_000)}, {"": 1}):
        with pytest.raises(InvalidRequestError) as refused:
            validate(schemas.ForecastRequest, fields)
        assert len(refused.value.message) < 400
        assert len(refused.value.field or "") <= 80


def test_a_long_list_of_wrong_targets_is_given_up_at_the_first() -> None:
    with pytest.raises(InvalidRequestError, match=r"targets\[1\]: .*got 1.5") as refused:
        validate(schemas.ForecastRequest, {"targets": [0] + [1.5] * 1000})
    fault = refused.value.__context__
    assert isinstance(fault, ValidationError)
    assert fault.error_count() <= 2  # one for each type that an element may have


def test_a_forecast_is_written_with_what_it_holds_and_no_more() -> None:
    points = np.array([[1.5, 2], [0.1, -3]], np.float32)
    plain = Forecasted("model", 0.00123456, 0.5, points, ["a", "b"])
    assert json.loads(encode(described(plain))) == {
        "predictions": [[1.5, 2], [0.1, -3]],
        "channels": ["a", "b"],
        "inference_time_ms": 1.2346,
        "queue_time_ms": 500,
        "model": "model",
    }
    full = Forecasted(
        "model",
        0,
        0,
        points,
        ["a", "b"],
        quantiles={0.0: points, 0.1: points - 1, 0.12345678901: points, 0.9: points + 1, 1.0: points},
        timestamps=[10, 20],
        filled=3,
        padded=4,
        rollout=True,
        position=StreamPosition(None, 3),
    )
    reply = json.loads(encode(described(full)))
    assert list(reply["quantiles"]) == ["0", "0.1", "0.12345678901", "0.9", "1"]
    assert reply["quantiles"]["0.1"] == [[0.5, 1], [-0.9, -4]]
    assert (reply["timestamps"], reply["newest_timestamp_ms"], reply["rows_since_newest"]) == ([10, 20], None, 3)
    assert (reply["filled"], reply["padded"], reply["rollout"]) == (3, 4, True)


def test_forecasts_of_series_are_written_each_with_what_it_holds_and_no_more() -> None:
    points = np.array([1.5, 2], np.float32)
    outputs = [
        ForecastOfOne("a", points),
        ForecastOfOne(None, points, {0.5: points}, ["2024-01-01", "2024-01-02"], 1, 2),
    ]
    assert json.loads(encode(described(ForecastedSeries("model", 0, 0, outputs)))) == {
        "outputs": [
            {"item_id": "a", "predictions": [1.5, 2]},
            {
                "item_id": None,
                "predictions": [1.5, 2],
                "quantiles": {"0.5": [1.5, 2]},
                "timestamps": ["2024-01-01", "2024-01-02"],
                "filled": 1,
                "padded": 2,
            },
        ],
        "inference_time_ms": 0,
        "queue_time_ms": 0,
        "model": "model",
    }
    assert described(ForecastedSeries("model", 0, 0, [], rollout=True))["rollout"] is True


class Unlucky(schemas.PingRequest):
    def ask(self, text: bytes, received: float) -> Any:
        raise ZeroDivisionError


def test_a_fault_of_ours_in_reading_a_request_is_counted_and_answered() -> None:
    op = replace(OPS["ping"], request=Unlucky)
    plane = DataPlane(Settings(), {"ping": op})
    answers: list[Any] = []
    protocol = JsonProtocol(plane, {"ping": op})
    message = Message(b'{"op": "ping", "request_id": "x"}')
    assert protocol.start(message, 0, lambda reply, _: answers.append(json.loads(reply))) is None
    (answer,) = answers
    assert (answer["request_id"], answer["success"], answer["error"]["code"]) == ("x", False, "internal")
    assert plane.statistics.summary()["failed"] == {"internal": 1}
