"""Windows and rows in JSON, to float32 in bulk: rows of numbers, or base64 of little-endian float32.

A window is [context, channels], oldest row first. Checked here and nowhere else: shape, type of every element, finite
in float32. What is right takes the fast way; only a window with a fault is looked at element by element, to name it.
"""

from __future__ import annotations

import math
import struct
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import InvalidShapeError, InvalidValueError, RequestError, describe
from vinocast.protocols.base64 import decode_base64

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Letters looked at one by one before the whole text is searched: names of fields hold a few.
MOST_LETTERS = 32
# What an element of a window may be beside what is named in full.
KINDS: dict[type, str] = {str: "a string", list: "an array", int: "a number", float: "a number"}


@dataclass(slots=True)
class JsonWindow:
    """A window as rows of parsed JSON; see :func:`window_from_rows`."""

    values: list[Any]
    may_hold_booleans: bool

    def window(self, context: int, channels: int) -> NDArray[np.float32]:
        """Return [context, channels]."""
        return window_from_rows(self.values, context, channels, may_hold_booleans=self.may_hold_booleans)


@dataclass(slots=True)
class Base64Window:
    """A window in base64, and the shape that the request gives it; see :func:`window_from_base64`."""

    text: str
    shape: tuple[int, int]

    def window(self, context: int, channels: int) -> NDArray[np.float32]:
        """Return [context, channels]."""
        return window_from_base64(self.text, self.shape, context, channels)


@dataclass(slots=True)
class JsonRows:
    """Rows of a stream as parsed JSON, of which one may come without the brackets of the array of rows."""

    values: list[Any]
    may_hold_booleans: bool

    def rows(self, channels: int) -> NDArray[np.float32]:
        """Return [rows, channels]; see :func:`rows_to_array`."""
        one = not isinstance(self.values[0], list)
        rows = [self.values] if one else self.values
        return rows_to_array(rows, channels, may_hold_booleans=self.may_hold_booleans, field="values", one_row=one)


def window_from_rows(
    rows: list[Any], context: int, channels: int, *, may_hold_booleans: bool = True, field: str = "past_values"
) -> NDArray[np.float32]:
    """Return [context, channels] from parsed JSON rows.

    ``may_hold_booleans`` is False when the caller knows that the JSON text holds neither ``true`` nor ``false``: a
    boolean is the one wrong element that converts to a number in silence.

    Raises:
        InvalidShapeError: not ``context`` rows of ``channels`` elements.
        InvalidValueError: an element that is no number, or beyond float32.
    """
    if len(rows) != context:
        got = str(len(rows))
        if len(rows) == 1 and _holds_rows(rows[0]):
            got += f" that holds {describe(rows[0])}: leave out the outermost brackets"
        raise InvalidShapeError(f"{field}: expected {context} rows, got {got}", field)
    return rows_to_array(rows, channels, may_hold_booleans=may_hold_booleans, field=field)


def rows_to_array(
    rows: list[Any], channels: int, *, may_hold_booleans: bool, field: str, one_row: bool = False
) -> NDArray[np.float32]:
    """Return [rows, channels] from parsed JSON rows, however many; see :func:`window_from_rows` for the rest.

    With ``one_row`` the field itself was the row, so that faults in it have one index less.
    """
    flat = _packed(rows, channels, may_hold_booleans=may_hold_booleans)
    if flat is None:
        row = _first_bad(rows, channels, may_hold_booleans=may_hold_booleans)
        raise _fault(rows[row], channels, field if one_row else f"{field}[{row}]")
    return flat.reshape(len(rows), channels)


def may_hold_booleans(body: bytes) -> bool:
    """Whether JSON text may hold ``true`` or ``false``.

    Looks for one letter that no number has, which is a memchr; to look for a word takes 40 times as long.
    """
    for letter, word in ((b"u", b"true"), (b"l", b"false")):
        position = body.find(letter)
        for _ in range(MOST_LETTERS):
            if position < 0:
                break
            if body.startswith(word, position - 2):
                return True
            position = body.find(letter, position + 1)
        else:
            if word in body:
                return True
    return False


def window_from_base64(
    text: str, shape: tuple[int, int], context: int, channels: int, *, field: str = "past_values_b64"
) -> NDArray[np.float32]:
    """Return [context, channels] from base64 of little-endian float32, row by row.

    Raises:
        InvalidShapeError: ``shape`` is not the model's, or the bytes are not of that length.
        InvalidValueError: not base64, or a value that is not finite.
    """
    if shape != (context, channels):
        raise InvalidShapeError(f"shape: expected [{context}, {channels}], got [{shape[0]}, {shape[1]}]", "shape")
    raw = decode_base64(text, field, "float32 values")
    if len(raw) != context * channels * 4:
        raise InvalidShapeError(f"{field}: expected {context * channels * 4} bytes, got {len(raw)}", field)
    window = np.frombuffer(raw, "<f4").reshape(context, channels)
    finite = np.isfinite(window)
    if not finite.all():
        row, channel = np.argwhere(~finite)[0]
        path = f"{field}[{row}][{channel}]"
        raise InvalidValueError(f"{path}: expected a finite number, got {window[row, channel]}", path)
    return window


def _packed(rows: list[Any], channels: int, *, may_hold_booleans: bool) -> NDArray[np.float32] | None:
    """Return the numbers of rows one behind the other; None where there is any fault in them."""
    values: list[Any] = []
    try:
        # Before any row is looked into, which may hold millions; faster than a set of the lengths.
        if list(map(len, rows)).count(channels) != len(rows):
            return None
        for row in rows:
            values += row
        # Packing refuses what is no number, and is the fastest way from Python's floats to float32.
        flat = np.frombuffer(struct.pack(f"{len(values)}f", *values), np.float32)
    except (TypeError, struct.error):
        return None
    if not np.isfinite(flat).all() or (may_hold_booleans and any(bool in map(type, row) for row in rows)):
        return None
    return flat


def _first_bad(rows: list[Any], channels: int, *, may_hold_booleans: bool) -> int:
    """Return the index of the first row with a fault, of rows that are known to hold one.

    By halves, which together take as long as all rows took: to look at millions of elements one by one takes seconds.
    """
    first, behind = 0, len(rows)
    while behind - first > 1:
        middle = (first + behind) // 2
        if _packed(rows[first:middle], channels, may_hold_booleans=may_hold_booleans) is None:
            behind = middle
        else:
            first = middle
    return first


def _fault(row: Any, channels: int, path: str) -> RequestError:
    """Find the first fault of a row that is known to hold one, and say where it is."""
    if not isinstance(row, list):
        kind = InvalidShapeError if _is_number(row) else InvalidValueError
        return kind(f"{path}: expected a row of {channels} numbers, got {_name(row)}", path)
    if _holds_rows(row):
        return InvalidShapeError(f"{path}: expected a row of {channels} numbers, got an array of arrays", path)
    if len(row) != channels:
        return InvalidShapeError(f"{path}: expected {channels} channels, got {len(row)}", path)
    for j, value in enumerate(row):
        element = f"{path}[{j}]"
        if isinstance(value, list):
            return InvalidShapeError(f"{element}: expected a number, got an array", element)
        if not _is_number(value):
            return InvalidValueError(f"{element}: expected a number, got {_name(value)}", element)
        if not math.isfinite(array("f", [value])[0]):
            return InvalidValueError(f"{element}: expected a number within float32, got {value!r}", element)
    return InvalidValueError(f"{path}: expected numbers within float32", path)


def _holds_rows(row: object) -> bool:
    return isinstance(row, list) and bool(row) and all(isinstance(value, list) for value in row)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(value: object) -> str:
    """Name a JSON value as its author would, by its kind where the value itself may be long."""
    return KINDS.get(type(value)) or describe(value)
