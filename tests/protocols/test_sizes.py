"""What a text takes once it is parsed, and texts that are made to take more than any request."""

from __future__ import annotations

import sys
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vinocast.errors import PayloadTooLargeError
from vinocast.protocols.json import parse_json
from vinocast.protocols.sizes import CHECKED_TEXT, check_counts, parsed_bytes

EIGHT_MIB = 8 << 20
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
HOSTILE = {
    "arrays": b"[],",
    "objects": b"{},",
    "objects of a field": b'{"":0},',
    "nested arrays": b"[" * 300 + b"]" * 300 + b",",
    "nested objects": b'{"":' * 250 + b"0" + b"}" * 250 + b",",
    "arrays of a number": b"[0],",
    "numbers": b"999,",
    "digits": b"1,",
    "floats": b"1e1,",
    "strings": b'"a",',
    "wide strings": b'"' + b"a" * 100 + "😀".encode() + b'",',
    "strings made wide": b'"' + b"a" * 100 + b'\\ud83d\\ude00",',
}


def memory_of(value: Any) -> int:
    """Bytes of all the objects that parsed JSON consists of, each counted wherever it stands."""
    size = sys.getsizeof(value)
    if isinstance(value, list):
        return size + sum(map(memory_of, value))
    if isinstance(value, dict):
        return size + sum(memory_of(key) + memory_of(each) for key, each in value.items())
    return size


def hostile(name: str, length: int) -> bytes:
    piece = HOSTILE[name]
    return b'{"past_values":[' + piece * ((length - 20) // len(piece)) + b"0]}"


@settings(max_examples=50)
@given(st.dictionaries(st.text(), ANY_JSON))
def test_a_parsed_text_takes_no_more_than_is_said(fields: dict[str, Any]) -> None:
    text = orjson.dumps(fields)
    assert memory_of(orjson.loads(text)) <= parsed_bytes(text) + 256


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_made_to_take_much_takes_no_more_than_is_said(name: str) -> None:
    text = hostile(name, 50_000)
    assert memory_of(orjson.loads(text)) <= parsed_bytes(text)


def test_a_window_of_numbers_takes_a_few_times_its_text() -> None:
    text = orjson.dumps({"past_values": [[0.1234567 + column for column in range(862)] for _ in range(20)]})
    assert parsed_bytes(text) < 6 * len(text)


@pytest.mark.parametrize("name", ["arrays", "nested arrays", "objects", "nested objects", "digits", "strings"])
def test_8_mib_of_small_things_are_refused_before_they_are_parsed(name: str) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"expected at most 4000000 small things, .*, got \d+"):
        parse_json(hostile(name, EIGHT_MIB))


def test_what_requests_of_any_length_need_is_let_in() -> None:
    check_counts(b"[" * CHECKED_TEXT)  # a short text may hold anything
    check_counts(orjson.dumps({"grids": [[[7] * 16] * 16] * 4096}))
    check_counts(orjson.dumps({"grids": [[[1023] * 16] * 16] * 4096}))
    check_counts(orjson.dumps({"rasters": ["iVBORw0KGgo" * 90] * 4096}))
    check_counts(orjson.dumps({"values": [[0.5]] * 100_000}))
    check_counts(orjson.dumps({"past_values": [[12.5] * 862] * 512}))
