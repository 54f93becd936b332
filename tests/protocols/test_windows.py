"""From the wire to a float32 window: what is right comes through bit for bit, what is wrong is named where it is."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from vinocast.errors import InvalidShapeError, InvalidValueError, RequestError
from vinocast.protocols.windows import MOST_LETTERS, may_hold_booleans, window_from_base64, window_from_rows

CONTEXT, CHANNELS = 5, 3
FLOAT32_MAX = float(np.finfo(np.float32).max)


def good_rows() -> list[Any]:
    return [[row + channel / 4 for channel in range(CHANNELS)] for row in range(CONTEXT)]


def refusal_of(rows: list[Any]) -> tuple[type[RequestError], str | None]:
    with pytest.raises(RequestError) as caught:
        window_from_rows(rows, CONTEXT, CHANNELS)
    assert caught.value.field is not None
    assert caught.value.message.startswith(caught.value.field)
    return type(caught.value), caught.value.field


def pack(values: NDArray[np.float32]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(good_rows(), id="floats"),
        pytest.param([[1, 2, 3]] * CONTEXT, id="integers"),
        pytest.param(
            [[1, 2.5, -3], [0.1, 2**53 + 1, 2**64 - 1], [-0.0, 1e-45, 1e-50], [1e38, 7, 0], [3, 4, 5]], id="mixed"
        ),
        pytest.param([[FLOAT32_MAX, -FLOAT32_MAX, 3.4028235e38]] * CONTEXT, id="ends of float32"),
    ],
)
def test_rows_become_what_numpy_makes_of_them(rows: list[Any]) -> None:
    window = window_from_rows(rows, CONTEXT, CHANNELS)
    assert window.dtype == np.float32
    assert window.shape == (CONTEXT, CHANNELS)
    assert window.tobytes() == np.array(rows, np.float64).astype(np.float32).tobytes()


ELEMENT_FAULTS = [
    pytest.param("1.5", InvalidValueError, id="string"),
    pytest.param(None, InvalidValueError, id="null"),
    pytest.param(True, InvalidValueError, id="true"),
    pytest.param(False, InvalidValueError, id="false"),
    pytest.param({}, InvalidValueError, id="object"),
    pytest.param(1e39, InvalidValueError, id="beyond float32"),
    pytest.param(-1e300, InvalidValueError, id="far below float32"),
    pytest.param([1.0], InvalidShapeError, id="nested deeper"),
    pytest.param([], InvalidShapeError, id="empty array"),
]
ROW_FAULTS = [
    pytest.param([1.0, 2.0], InvalidShapeError, id="short row"),
    pytest.param([1.0, 2.0, 3.0, 4.0], InvalidShapeError, id="long row"),
    pytest.param([], InvalidShapeError, id="empty row"),
    pytest.param(1.0, InvalidShapeError, id="number for a row"),
    pytest.param(None, InvalidValueError, id="null for a row"),
    pytest.param("abc", InvalidValueError, id="string for a row"),
    pytest.param(True, InvalidValueError, id="boolean for a row"),
    pytest.param({"0": 1.0}, InvalidValueError, id="object for a row"),
]


@pytest.mark.parametrize(("element", "error"), ELEMENT_FAULTS)
def test_a_wrong_element_is_named_by_row_and_channel(element: object, error: type[RequestError]) -> None:
    rows = good_rows()
    rows[3][1] = element
    assert refusal_of(rows) == (error, "past_values[3][1]")


@pytest.mark.parametrize(("row", "error"), ROW_FAULTS)
def test_a_wrong_row_is_named(row: object, error: type[RequestError]) -> None:
    rows = good_rows()
    rows[2] = row
    assert refusal_of(rows) == (error, "past_values[2]")


@pytest.mark.parametrize("count", [0, 1, CONTEXT - 1, CONTEXT + 1])
def test_another_number_of_rows_is_a_fault_of_the_whole(count: int) -> None:
    assert refusal_of([[1.0] * CHANNELS] * count) == (InvalidShapeError, "past_values")


def test_rows_that_all_have_another_width_are_a_shape_fault() -> None:
    assert refusal_of([[1.0] * (CHANNELS + 1)] * CONTEXT) == (InvalidShapeError, "past_values[0]")


def test_a_flat_list_is_a_shape_fault() -> None:
    assert refusal_of([1.0] * CONTEXT) == (InvalidShapeError, "past_values[0]")


def test_the_first_of_several_faults_is_named() -> None:
    rows = good_rows()
    rows[4], rows[1][2] = [1.0], None
    assert refusal_of(rows) == (InvalidValueError, "past_values[1][2]")


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
row_of_numbers = st.lists(finite | st.integers(-(2**63), 2**64 - 1), min_size=CHANNELS, max_size=CHANNELS)
rows_of_numbers = st.lists(row_of_numbers, min_size=CONTEXT, max_size=CONTEXT)
wrong_elements = (
    st.none()
    | st.booleans()
    | st.text()
    | st.lists(finite)
    | st.dictionaries(st.text(), finite)
    | st.floats(min_value=3.5e38, allow_infinity=False)
    | st.floats(max_value=-3.5e38, allow_infinity=False)
)


@settings(deadline=None)
@given(rows_of_numbers, wrong_elements, st.integers(0, CONTEXT - 1), st.integers(0, CHANNELS - 1))
def test_one_fault_anywhere_is_reported_at_exactly_that_place(
    rows: list[Any], fault: object, row: int, channel: int
) -> None:
    rows[row][channel] = fault
    # As it comes from the wire: what the parser makes of it.
    error, field = refusal_of(orjson.loads(orjson.dumps(rows)))
    assert field == f"past_values[{row}][{channel}]"
    assert error is (InvalidShapeError if isinstance(fault, list) else InvalidValueError)


@settings(deadline=None)
@given(arrays.arrays(np.float32, (CONTEXT, CHANNELS), elements=finite))
def test_a_finite_window_comes_through_either_form_bit_for_bit(window: NDArray[np.float32]) -> None:
    from_rows = window_from_rows(
        orjson.loads(orjson.dumps(window, option=orjson.OPT_SERIALIZE_NUMPY)), CONTEXT, CHANNELS
    )
    assert from_rows.tobytes() == window.tobytes()
    from_base64 = window_from_base64(pack(window), (CONTEXT, CHANNELS), CONTEXT, CHANNELS)
    assert from_base64.tobytes() == window.tobytes()


GOOD = np.arange(CONTEXT * CHANNELS, dtype=np.float32).reshape(CONTEXT, CHANNELS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_in_base64_is_named_by_row_and_channel(value: float) -> None:
    window = GOOD.copy()
    window[4, 2] = value
    with pytest.raises(InvalidValueError) as caught:
        window_from_base64(pack(window), (CONTEXT, CHANNELS), CONTEXT, CHANNELS)
    assert caught.value.field == "past_values_b64[4][2]"


@pytest.mark.parametrize(
    "text", ["!!!!", "AAA", "AAAA AAAA", "AA=A", "ÄÖÜ=", pack(GOOD) + "\n", "====", pack(GOOD)[:-1] + "-"]
)
def test_what_is_not_base64_is_a_value_fault(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        window_from_base64(text, (CONTEXT, CHANNELS), CONTEXT, CHANNELS)
    assert caught.value.field == "past_values_b64"


@pytest.mark.parametrize("data", [b"", GOOD.tobytes()[:-4], GOOD.tobytes()[:-1], GOOD.tobytes() + bytes(4)])
def test_base64_of_another_length_than_its_shape_is_a_shape_fault(data: bytes) -> None:
    with pytest.raises(InvalidShapeError) as caught:
        window_from_base64(base64.b64encode(data).decode(), (CONTEXT, CHANNELS), CONTEXT, CHANNELS)
    assert caught.value.field == "past_values_b64"


@pytest.mark.parametrize(
    "shape", [(CHANNELS, CONTEXT), (CONTEXT - 1, CHANNELS), (0, 0), (-CONTEXT, -CHANNELS), (15, 1)]
)
def test_another_shape_than_the_models_is_a_shape_fault(shape: tuple[int, int]) -> None:
    with pytest.raises(InvalidShapeError) as caught:
        window_from_base64(pack(GOOD), shape, CONTEXT, CHANNELS)
    assert caught.value.field == "shape"


@pytest.mark.parametrize("word", [b"true", b"false"])
@pytest.mark.parametrize("names", [b"", b"u" * 5 + b"l" * 5, b"ul" * MOST_LETTERS])
def test_a_boolean_in_the_text_is_seen_whatever_stands_before_it(word: bytes, names: bytes) -> None:
    assert may_hold_booleans(b'{"' + names + b'": [[1, ' + word + b"]]}")
    assert not may_hold_booleans(b'{"' + names + b'": [[1, 2]]}')


def test_a_word_cut_short_is_no_boolean() -> None:
    assert not may_hold_booleans(b"u, l, ue, lse, tru, fals")
