"""No request costs much more than to parse it: what a schema looks into is bounded, and given up at its first fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import orjson
import pytest
from pydantic import Field, ValidationError, create_model
from vinocast.dataplane import Op
from vinocast.errors import MOST_FIELD, MOST_MESSAGE, InvalidRequestError, PayloadTooLargeError, RequestError
from vinocast.handlers.forecast import NUMBER_BYTES
from vinocast.ops import OPS
from vinocast.protocols.bounded import check_bounded
from vinocast.protocols.fields import MOST
from vinocast.protocols.json import echo, parse_json, validate
from vinocast.protocols.schemas import Envelope
from vinocast.protocols.windows import rows_to_array
from vinocast.settings import METADATA_BYTES

FIELDS = [(op, name) for op in OPS.values() for name in op.request.model_fields]
MANY = 1_000_000
HOSTILE: dict[str, Any] = {
    "nulls": [None] * MANY,
    "numbers": [0] * MANY,
    "texts": ["OT"] * MANY,
    "arrays": [[]] * MANY,
    "pairs": [[0, 1]] * MANY,
    "booleans": [True] * MANY,
    "fractions": [1.5] * MANY,
    "objects": [{}] * MANY,
    "one text": "x" * MANY,
    "one object": {str(number): None for number in range(MANY)},
}


@pytest.mark.parametrize(("op", "name"), FIELDS, ids=lambda each: getattr(each, "name", each))
@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_field_of_any_op_takes_a_million_of_anything_or_makes_an_error_of_each(
    op: Op, name: str, hostile: str
) -> None:
    value = HOSTILE[hostile]
    good = {"op": op.name, "stream": "s", "values": [1], "candles": [[0, 1, 1, 1, 1, 1]]}
    fields = {known: good[known] for known in op.request.model_fields if known in good} | {name: value}
    fault: InvalidRequestError | None = None
    begun = time.process_time()
    try:
        request = validate(op.request, fields)
    except InvalidRequestError as error:
        fault = error
    assert time.process_time() - begun < 0.5  # an error for each takes some 6 s, a look at each 0.1
    if fault is None:
        assert getattr(request, name) is value, "it was looked into, and copied"
        return
    assert isinstance(fault.__context__, ValidationError)
    assert fault.__context__.error_count() <= 2  # one for each type that an element may have
    assert fault.field is not None
    assert fault.field.partition("[")[0] == name
    assert len(fault.message) < 400


@pytest.mark.parametrize(
    "kind",
    [
        list[int],
        list[Any],
        list[int] | None,
        dict[str, int],
        dict[str, Any],
        set[int],
        tuple[int, ...],
        str,
        bytes,
        Any,
        object,
        Annotated[list[int], Field(max_length=9)],
        Annotated[list[int], Field(fail_fast=True)],
        Annotated[list[str], Field(max_length=9, fail_fast=True)],
        Annotated[list[list[int]], Field(max_length=9, fail_fast=True)],
        Annotated[str, Field(min_length=1)],
        int | str,
    ],
    ids=str,
)
def test_a_schema_with_a_field_that_is_not_bounded_takes_no_request(kind: Any) -> None:
    sloppy = create_model("Sloppy", __base__=Envelope, field=(kind, ...))
    for _ in range(2):
        with pytest.raises(TypeError, match=r"Sloppy\.field.*not bounded"):
            validate(sloppy, {"field": 1})


def test_what_is_bounded_takes_requests() -> None:
    text = Annotated[str, Field(max_length=9)]
    numbers = Annotated[list[int | text], Field(max_length=9, fail_fast=True)]
    careful = create_model(
        "Careful", __base__=Envelope, field=(numbers | None, None), other=(bool, False), third=(float, ...)
    )
    validate(careful, {"field": [1, "x"], "third": 1.5})
    for op in OPS.values():
        assert op.request.model_rebuild(force=True)
        check_bounded(op.request.__pydantic_core_schema__, op.name)


def test_targets_beyond_the_bound_are_refused_with_the_bound() -> None:
    with pytest.raises(InvalidRequestError, match=rf"targets: expected at most {MOST} elements, got an array of 65537"):
        validate(OPS["forecast"].request, {"targets": list(range(MOST + 1)), "stream": "s"})
    assert len(validate(OPS["forecast"].request, {"targets": list(range(MOST)), "stream": "s"}).targets) == MOST


def test_a_request_id_beyond_the_bound_is_refused_and_counts_as_unreadable() -> None:
    for length, good in ((MOST, True), (MOST + 1, False)):
        fields = {"op": "ping", "request_id": "x" * length}
        assert (echo(fields)["request_id"] == fields["request_id"]) is good
        if good:
            validate(OPS["ping"].request, fields)
        else:
            with pytest.raises(InvalidRequestError, match=r"request_id: expected .*at most 65536 characters"):
                validate(OPS["ping"].request, fields)


@pytest.mark.parametrize("unit", [b"[]", b"{}", b"[[]]", b'{"a":{}}'])
def test_a_request_of_brackets_is_refused_before_it_is_parsed(unit: bytes) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"at most \d+ small things"):
        parse_json(b'{"past_values":[%b]}' % b",".join([unit] * 400_000))
    assert parse_json(b'{"past_values":[%b]}' % b",".join([unit] * 40_000))


def test_metadata_that_would_be_written_longer_than_its_bound_is_refused() -> None:
    """1e15 is written as 1000000000000000.0."""
    count = METADATA_BYTES // 19
    for more, good in ((-10, True), (10, False)):
        fields = parse_json(b'{"op":"ping","metadata":[%b]}' % b",".join([b"1e15"] * (count + more)))
        assert ("metadata" in echo(fields)) is good
        if not good:
            with pytest.raises(InvalidRequestError, match=r"metadata: expected any JSON .*1 MiB long"):
                validate(OPS["ping"].request, fields)


def test_no_number_of_a_forecast_takes_more_than_is_reckoned_with(rng: np.random.Generator) -> None:
    bits = rng.integers(0, 2**32, 1_000_000, dtype=np.uint32).view(np.float32)
    column = np.concatenate([bits[np.isfinite(bits)], -np.geomspace(1e9, 1e17, 10_000, dtype=np.float32)])[:, None]
    written = orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    assert len(written) == len(column)
    assert 17 <= max(map(len, written)) + 1 <= NUMBER_BYTES


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


@pytest.mark.parametrize("bad", ["x", None, True, 1e39, [1], {}])
@pytest.mark.parametrize("count", [2, 3, 100, 65537, 200_000])
def test_the_first_fault_of_many_rows_is_found_in_the_time_of_a_few_looks_at_all(bad: Any, count: int) -> None:
    rows: list[Any] = [[1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5] for _ in range(count)]

    def look() -> None:
        rows_to_array(rows, 7, may_hold_booleans=True, field="values")

    def find() -> None:
        with pytest.raises(RequestError) as refused:
            look()
        assert refused.value.field == f"values[{count - 1}][6]"

    plain = min(seconds(look) for _ in range(3))
    rows[-1] = [1, 2, 3, 4, 5, 6, bad]
    assert min(seconds(find) for _ in range(3)) < 5 * plain + 0.05  # one by one it takes 20 times as long
    rows[count // 2] = [1, 2, 3, 4, 5, 6]
    with pytest.raises(RequestError, match=rf"values\[{count // 2}\]: expected 7 channels, got 6"):
        look()


def test_the_message_of_an_error_is_a_short_printable_line() -> None:
    for message in ("x" * MANY, "a\nb\r\x1b[31m\0\u202e\x85\u2028", "\udce9"):
        error = InvalidRequestError(message, message)
        assert error.message.isprintable()
        assert error.field
        assert error.field.isprintable()
        assert len(error.message) <= max(MOST_MESSAGE, 100)
        assert len(error.field) <= max(MOST_FIELD, 100)
        orjson.dumps(error.body())
    assert InvalidRequestError("a\nb").message == "a\\nb"
