"""What requests of other standards hold is bounded, and so is what it costs to find a fault in them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydantic import ValidationError
from vinocast.errors import InvalidRequestError, RequestError
from vinocast.protocols.kserve import STEPS, ForecastOptions, TimeSeriesInput, TimeSeriesRequest
from vinocast.protocols.sagemaker import ChronosInput, ChronosParameters, ChronosRequest, with_nulls
from vinocast.protocols.standards import StandardPart, read_step, time_after

MANY = 1_000_000
HOSTILE: dict[str, Any] = {
    "nulls": [None] * MANY,
    "numbers": [0] * MANY,
    "texts": ["x"] * MANY,
    "arrays": [[]] * MANY,
    "objects": [{}] * MANY,
    "one text": "x" * MANY,
    "one object": {str(number): None for number in range(MANY)},
    "a large number": 10**300,
    "not a number": float("nan"),
}
PARTS = (TimeSeriesRequest, ForecastOptions, TimeSeriesInput, ChronosRequest, ChronosParameters, ChronosInput)
FIELDS = [(part, name) for part in PARTS for name in part.model_fields]


@pytest.mark.parametrize(("part", "name"), FIELDS, ids=lambda each: getattr(each, "__name__", each))
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_field_takes_a_million_of_anything_or_makes_an_error_of_each(
    part: type[StandardPart], name: str, hostile: str
) -> None:
    value = HOSTILE[hostile]
    begun = time.process_time()
    fault: RequestError | None = None
    try:
        held = part.of({name: value}, "here")
    except InvalidRequestError as error:
        fault = error
    else:
        assert getattr(held, name) is value or value == 10**300, "it was looked into, and copied"
    assert time.process_time() - begun < 0.5
    if fault is not None:
        assert isinstance(fault.__context__, ValidationError)
        assert fault.__context__.error_count() <= len(part.model_fields) + 1
        assert fault.field is not None
        assert fault.field.startswith("here.")
        assert len(fault.message) < 400


@pytest.mark.parametrize("part", PARTS)
def test_a_million_fields_that_are_not_known_cost_no_more_than_a_look(part: type[StandardPart]) -> None:
    begun = time.process_time()
    with pytest.raises(InvalidRequestError):
        part.of({**HOSTILE["one object"], "target_": 1, "targets": 1})
    assert time.process_time() - begun < 1.5


def test_a_schema_that_is_not_bounded_takes_no_request() -> None:
    class Unbounded(StandardPart):
        """A part with a list of any length."""

        values: list[int]

    with pytest.raises(TypeError, match=r"Unbounded.values: a list that is not bounded"):
        Unbounded.of({"values": [1]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[NaN, 1, NaN]", b"[null, 1, null]"),
        (b'["NaN", NaN]', b'["NaN", null]'),
        (rb'["a\"NaN", NaN, "\\", NaN]', rb'["a\"NaN", null, "\\", null]'),
        (b'["NaN', b'["NaN'),
        (rb'"\"\"NaN', rb'"\"\"NaN'),
    ],
)
def test_gaps_of_pythons_are_found_outside_of_strings(text: bytes, expected: bytes) -> None:
    assert with_nulls(text) == expected


@pytest.mark.parametrize(
    "text", [b'"' + b'\\"' * MANY, b'"' * MANY, b"Na" * MANY, b"\\" * MANY, b'"\\' * MANY, b"NaN," * 5 * MANY]
)
def test_to_look_for_gaps_takes_time_in_proportion(text: bytes) -> None:
    begun = time.process_time()
    with_nulls(text)
    assert time.process_time() - begun < 2


def test_every_word_of_kserve_is_a_step() -> None:
    assert len(STEPS) == 16
    for word, step in STEPS.items():
        assert time_after("2026-01-01", read_step(step, word), 0, word) == "2026-01-01"
