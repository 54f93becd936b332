"""The numbers of a window read beside the rest of a request are what the whole text holds."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from vinocast.errors import RequestError
from vinocast.protocols.json import parse_json, parse_request
from vinocast.protocols.numbers import MOST_BYTES, Numbers, take_numbers
from vinocast.protocols.windows import JsonWindow, may_hold_booleans

pytest.importorskip("simdjson", reason="no build of it for this Python")

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64) | st.integers(-(2**70), 2**70) | st.just("-0")
ELEMENTS = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=3), st.lists(NUMBERS, max_size=2))
FAULTS = ["", " ", "\\", '"past_values":[[1]],', "]]", "[[", ",", "NaN", "1e999", "\x00", "\ufeff", '{"a":', "}", "tru"]


def outcome(fields: Any, text: bytes, context: int, channels: int) -> Any:
    """Return what a window of a request comes to: its bits, or its error."""
    window = fields.get("past_values")
    if not isinstance(window, list | Numbers):
        return window
    source = window if isinstance(window, Numbers) else JsonWindow(window, may_hold_booleans(text))
    try:
        return (source.window(context, channels) + np.float32(0)).tobytes()  # of -0 the sign is lost
    except RequestError as error:
        return error.body()


def both_ways(text: bytes, context: int, channels: int) -> list[Any]:
    """Return what is made of a request with its numbers read beside the rest, and without."""
    outcomes: list[Any] = []
    for parse in (parse_request, parse_json):
        try:
            fields = parse(text)
        except RequestError as error:
            outcomes.append(error.body())
        else:
            rest = {name: value for name, value in fields.items() if name not in ("past_values", "metadata")}
            outcomes.append((rest, outcome(fields, text, context, channels)))
    return outcomes


@given(
    st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=3, max_size=3)
    | st.lists(st.lists(ELEMENTS, max_size=3), max_size=4),
    st.dictionaries(st.sampled_from(["request_id", "metadata", "stream", "a"]), ELEMENTS, max_size=2),
    st.sampled_from([b"", b" ", b"\n\t"]),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(FAULTS)), max_size=2),
)
@example([[1.0, 2.0]] * 3, {"metadata": '"past_values"'}, b"", False, [])
def test_a_request_is_the_same_whichever_way_its_numbers_are_read(
    rows: list[Any], others: dict[str, Any], space: bytes, last: bool, faults: list[tuple[int, str]]
) -> None:
    def written(value: Any) -> bytes:
        if isinstance(value, list):
            return b"[" + (b"," + space).join(map(written, value)) + b"]"
        return b"-0" if value == "-0" else str(value).encode() if type(value) is int else orjson.dumps(value)

    window = (b'"past_values"', written(rows))
    parts = [(orjson.dumps(name), written(value)) for name, value in others.items()]
    parts = [*parts, window] if last else [window, *parts]
    text = b"{" + b",".join(name + space + b":" + space + value for name, value in parts) + b"}"
    for place, fault in faults:
        position = min(place, len(text))
        text = text[:position] + fault.encode() + text[position:]

    beside, whole = both_ways(text, 3, 2)

    assert beside == whole


@pytest.mark.parametrize(
    "text",
    [
        b'{"past\\u005fvalues":[],"metadata":{"past_values":[[1,2]]}}',
        b'{"metadata":{"past_values":[[1,2]]},"past_values":[]}',
        b'{"past_values":[[1,2]],"past_values":[[3,4]]}',
        b'{"metadata":"\\"past_values\\":[[1,2]]"}',
        b'{"past_values":[[1,2],[3,[4]]]}',
        b'{"past_values":[[1,2],[3,true]]}',
        b'{"past_values":[[1,2],[3,4]}',
        b'{"past_values":7,"metadata":[[1,2]]}',
        b'{"past_values":[["past_values",2]]}',
        b'[["past_values",[[1,2]]]]',
        b'{"past_values":' + b"[" * 1024 + b"]" * 1024 + b"}",
        b'{"past_values":[[1,2],' + b"[" * 1023 + b"]" * 1023 + b"]}",
    ],
)
def test_what_is_not_plain_to_see_is_left_to_who_reads_the_rest(text: bytes) -> None:
    beside, whole = both_ways(text, 1, 2)

    assert beside == whole


def test_a_window_of_the_right_form_is_read_beside_the_rest() -> None:
    rows = np.random.default_rng(1).standard_normal((512, 7))
    text = b'{"request_id":7, "past_values" :' + orjson.dumps(rows.tolist()) + b"}"

    fields = parse_request(text)

    assert isinstance(fields["past_values"], Numbers)
    assert fields["request_id"] == 7
    packed = struct.pack("3584f", *rows.ravel().tolist())
    assert fields["past_values"].window(512, 7).tobytes() == packed


def test_a_very_long_window_is_left_alone() -> None:
    text = b'{"past_values":[[' + b"1," * (MOST_BYTES // 2) + b"1]]}"

    assert take_numbers(text) is None
