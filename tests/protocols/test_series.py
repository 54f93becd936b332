"""Series in JSON: taken apart before they are parsed, or parsed whole, with the same answers; faults by their paths."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vinocast.errors import InvalidRequestError, PayloadTooLargeError, RequestError
from vinocast.protocols.json import parse_json, parse_request, validate
from vinocast.protocols.schemas import ForecastRequest
from vinocast.protocols.series import JsonSeries, SeriesText, take_series
from vinocast.requests import Forecast, Series

# What a brace, a bracket or a quote in a text may be taken for.
TRAPS = ["}", "]", "}]", "},{", '"', "\\", '"inputs"', "[", "{", '}],"x":[{', "ü", "", "a"]
WHITE = st.sampled_from(["", " ", "\n", "\t \r\n"])
ITEMS = st.lists(
    st.fixed_dictionaries(
        {"target": st.lists(st.floats(-1e30, 1e30) | st.integers(-(2**70), 2**70) | st.none(), max_size=4)},
        optional={"item_id": st.sampled_from(TRAPS) | st.integers(), "start": st.sampled_from(TRAPS), "x": st.none()},
    ),
    max_size=4,
)
REST: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["request_id", "model", "metadata", "freq"]),
    st.sampled_from(TRAPS) | st.just([{}]) | st.just({"inputs": [{}]}) | st.just([{"a": 1}, {"b": [{}]}]),
    max_size=3,
)


def outcome(fields: dict[str, Any], text: bytes, *, gaps: bool) -> Any:
    """What a request is: each of its series, or by which code it is refused."""
    try:
        request = validate(ForecastRequest, fields).ask(text, 0.0)
        assert isinstance(request, Forecast)
        if request.series is None:
            return "no series"
        series = [(s.values.tobytes(), s.item_id, s.start) for s in request.series.read(gaps=gaps)]
        assert len(series) == len(request.series)
    except RequestError as error:
        return error.code, error.field
    return series, request.model, request.freq


def read(text: bytes) -> list[Series]:
    request = validate(ForecastRequest, parse_request(text)).ask(text, 0.0)
    assert request.series is not None
    return list(request.series.read())


def check_alike(text: bytes) -> None:
    for gaps in (False, True):
        try:
            whole: Any = outcome(parse_json(text), text, gaps=gaps)
        except RequestError as error:
            whole = error.code, error.field
        try:
            taken: Any = outcome(parse_request(text), text, gaps=gaps)
        except RequestError as error:
            taken = error.code, error.field
        if whole[0] == "invalid_json":  # which the one finds at once, and the other where it is
            assert taken[0] == "invalid_json" or taken[1], text
        else:
            assert taken == whole, text


def written(value: Any, white: str, *, escaped: bool) -> str:
    return json.dumps(value, separators=(f"{white},{white}", f"{white}:{white}"), ensure_ascii=escaped)


@given(ITEMS, REST, REST, WHITE, st.booleans())
def test_taken_apart_or_whole_a_request_says_the_same(
    items: list[Any], before: dict[str, Any], behind: dict[str, Any], white: str, escaped: bool
) -> None:
    check_alike(written({**before, "inputs": items, **behind}, white, escaped=escaped).encode())


@given(ITEMS, REST, st.integers(0, 2**32))
def test_damaged_texts_are_refused_alike(items: list[Any], rest: dict[str, Any], seed: int) -> None:
    text = bytearray(written({"inputs": items, **rest}, "", escaped=False).encode())
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(text))
        kind = rng.randrange(3)
        if kind == 0:
            del text[place]
        elif kind == 1:
            text[place : place + 1] = rng.choice([b"{", b"}", b"[", b"]", b",", b'"', b":", b" ", b"\\", b"1"])
        else:
            text[place:place] = rng.choice([b"{", b"}", b"[", b"]", b",", b'"', b"{}", b"[]", b"},{", b"}]"])
    check_alike(bytes(text))


def texts(*items: Any, **rest: Any) -> bytes:
    return orjson.dumps({"inputs": items, **rest})


def test_a_plain_text_is_taken_apart_and_any_other_is_not() -> None:
    assert isinstance(parse_request(texts({"target": [1]}, {"target": [2]}))["inputs"], SeriesText)
    assert isinstance(parse_request(texts({"target": [1]}, metadata="\n"))["inputs"], list)
    assert take_series(texts()) is None
    assert isinstance(parse_request(texts({"target": [{"a": 1}, {"b": 2}]}))["inputs"], list)
    assert isinstance(parse_request(texts({"target": [1], "item_id": "}]"}))["inputs"], list)
    assert take_series(b'{"inputs":[{}],"inputs":[{}]}') is None


@pytest.mark.parametrize(
    ("item", "code", "field"),
    [
        (3, "invalid_request", ""),
        ([], "invalid_request", ""),
        ({}, "invalid_request", ".target"),
        ({"target": None}, "invalid_request", ".target"),
        ({"target": "1"}, "invalid_request", ".target"),
        ({"target": []}, "invalid_shape", ".target"),
        ({"target": [1, [2]]}, "invalid_shape", ".target[1]"),
        ({"target": [1, "2"]}, "invalid_value", ".target[1]"),
        ({"target": [1, True]}, "invalid_value", ".target[1]"),
        ({"target": [1, {}]}, "invalid_value", ".target[1]"),
        ({"target": [1, 2, None]}, "invalid_value", ".target[2]"),
        ({"target": [1e39]}, "invalid_value", ".target[0]"),
        ({"target": [1], "item_id": 1.5}, "invalid_request", ".item_id"),
        ({"target": [1], "item_id": True}, "invalid_request", ".item_id"),
        ({"target": [1], "item_id": "a" * 257}, "invalid_request", ".item_id"),
        ({"target": [1], "start": 5}, "invalid_request", ".start"),
        ({"target": [1], "start": "2" * 257}, "invalid_request", ".start"),
        ({"target": [1], "targets": [1]}, "invalid_request", ".targets"),
        ({"target": [1], "itemId": 1}, "invalid_request", ".itemId"),
    ],
)
def test_a_fault_is_named_by_its_path_and_by_no_other(item: Any, code: str, field: str) -> None:
    good = {"target": [1.5, 2], "item_id": "a"}
    for rest in ({}, {"metadata": "\n"}):
        text = texts(good, good, item, {"target": "wrong too"}, **rest)
        assert outcome(parse_request(text), text, gaps=False) == (code, f"inputs[2]{field}")


def test_a_field_of_an_item_that_is_not_known_is_refused_with_the_nearest() -> None:
    text = texts({"targt": [1]})
    with pytest.raises(InvalidRequestError, match=r"did you mean target\?"):
        read(text)


def test_numbers_are_the_same_to_the_last_bit_however_they_are_read() -> None:
    numbers = np.random.default_rng(0).standard_normal(500) * 10.0 ** np.arange(-25, 25).repeat(10)
    for rest in ({}, {"metadata": "\n"}):
        text = texts({"target": numbers.tolist()}, **rest)
        (series,) = read(text)
        assert series.values.tobytes() == numbers.astype(np.float32).tobytes()
    text = texts({"target": [*numbers.tolist(), None]})
    (series,) = JsonSeries(orjson.loads(text)["inputs"], text).read(gaps=True)
    assert series.values[:-1].tobytes() == numbers.astype(np.float32).tobytes()
    assert np.isnan(series.values[-1])


@pytest.mark.parametrize(
    "junk", [b"{},", b'{"":0},', b"{}", b"{", b'{"target":[', b'{"a":"', b" ", b"}", b"}]"], ids=repr
)
def test_eight_megabytes_of_anything_are_looked_through_at_once(junk: bytes) -> None:
    text = b'{"inputs":[' + junk * ((8 << 20) // len(junk)) + b"]}"
    start = time.perf_counter()
    try:
        fields = parse_request(text)
    except (RequestError, PayloadTooLargeError):
        pass
    else:
        outcome(fields, text, gaps=False)
    assert time.perf_counter() - start < 5  # some 0.1 s; one step in Python for each byte would take more
