"""Windows and rows in JSON, to float32 in bulk: rows of numbers, or base64 of little-endian float32.

A window is [context, channels], oldest row first. Checked here and nowhere else: shape, type of every element, finite
in float32. What is right takes the fast way; only a window with a fault is looked at element by element, to name it.
"""

from __future__ import annotations

import math
import struct
from array import array
from dataclasses import dataclass
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vinocast.errors import InvalidShapeError, InvalidValueError, RequestError, describe
from vinocast.protocols.base64 import decode_base64

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Letters looked at one by one before the whole text is searched: names of fields hold a few.
MOST_LETTERS = 32
# What an element of a window may be beside what is named in full.
KINDS: dict[type, str] = {str: "a string", list: "an array", int: "a number", float: "a number"}


@dataclass(slots=True)
class JsonWindow:
    """A window as rows of parsed JSON; see :func:`window_from_rows`."""

    field: ClassVar[str] = "past_values"
    values: list[Any]
    may_hold_booleans: bool

    def window(self, context: int, channels: int, *, fewer: bool = False, gaps: bool = False) -> NDArray[np.float32]:
        """Return [context, channels]."""
        return window_from_rows(
            self.values, context, channels, may_hold_booleans=self.may_hold_booleans, fewer=fewer, gaps=gaps
        )


@dataclass(slots=True)
class Base64Window:
    """A window in base64, and the shape that the request gives it; see :func:`window_from_base64`."""

    field: ClassVar[str] = "past_values_b64"
    text: str
    shape: tuple[int, int]

    def window(self, context: int, channels: int, *, fewer: bool = False, gaps: bool = False) -> NDArray[np.float32]:
        """Return [context, channels]."""
        return window_from_base64(self.text, self.shape, context, channels, fewer=fewer, gaps=gaps)


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
    rows: list[Any],
    context: int,
    channels: int,
    *,
    may_hold_booleans: bool = True,
    field: str = "past_values",
    fewer: bool = False,
    gaps: bool = False,
) -> NDArray[np.float32]:
    """Return [context, channels] from parsed JSON rows.

    ``may_hold_booleans`` is False when the caller knows that the JSON text holds neither ``true`` nor ``false``: a
    boolean is the one wrong element that converts to a number in silence. With ``fewer`` there may be fewer rows, one
    at least; with ``gaps`` an element may be null, which becomes NaN.

    Raises:
        InvalidShapeError: not ``context`` rows of ``channels`` elements.
        InvalidValueError: an element that is no number, or beyond float32.
    """
    if len(rows) != context and not (fewer and 1 <= len(rows) < context):
        got = str(len(rows))
        if len(rows) == 1 and _holds_rows(rows[0]):
            got += f" that holds {describe(rows[0])}: leave out the outermost brackets"
        raise InvalidShapeError(f"{field}: expected {'1 to ' if fewer else ''}{context} rows, got {got}", field)
    return rows_to_array(rows, channels, may_hold_booleans=may_hold_booleans, field=field, gaps=gaps)


def rows_to_array(
    rows: list[Any],
    channels: int,
    *,
    may_hold_booleans: bool,
    field: str,
    one_row: bool = False,
    gaps: bool | None = None,
) -> NDArray[np.float32]:
    """Return [rows, channels] from parsed JSON rows, however many; see :func:`window_from_rows` for the rest.

    With ``one_row`` the field itself was the row, so that faults in it have one index less. ``gaps`` is whether an
    element may be null, or None where that cannot be asked for.
    """
    pack = partial(_packed, channels=channels, may_hold_booleans=may_hold_booleans, gaps=bool(gaps))
    flat = pack(rows)
    if flat is None:
        row = _first_bad(rows, pack)
        raise _fault(rows[row], channels, field if one_row else f"{field}[{row}]", gaps=gaps)
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
    text: str,
    shape: tuple[int, int],
    context: int,
    channels: int,
    *,
    field: str = "past_values_b64",
    fewer: bool = False,
    gaps: bool = False,
) -> NDArray[np.float32]:
    """Return [context, channels] from base64 of little-endian float32, row by row.

    With ``fewer`` there may be fewer rows, one at least; with ``gaps`` a value may be NaN.

    Raises:
        InvalidShapeError: ``shape`` is not the model's, or the bytes are not of that length.
        InvalidValueError: not base64, or a value that is not finite.
    """
    rows = shape[0]
    if shape != (context, channels) and not (fewer and shape[1] == channels and 1 <= rows < context):
        wanted = f"[{'1 to ' if fewer else ''}{context}, {channels}]"
        raise InvalidShapeError(f"shape: expected {wanted}, got [{shape[0]}, {shape[1]}]", "shape")
    raw = decode_base64(text, field, "float32 values")
    if len(raw) != rows * channels * 4:
        raise InvalidShapeError(f"{field}: expected {rows * channels * 4} bytes, got {len(raw)}", field)
    window = np.frombuffer(raw, "<f4").reshape(rows, channels)
    finite = ~np.isinf(window) if gaps else np.isfinite(window)
    if not finite.all():
        row, channel = np.argwhere(~finite)[0]
        path = f"{field}[{row}][{channel}]"
        raise InvalidValueError(f"{path}: expected a finite number, got {window[row, channel]}", path)
    return window


def _packed(
    rows: list[Any], channels: int, *, may_hold_booleans: bool, gaps: bool = False
) -> NDArray[np.float32] | None:
    """Return the numbers of rows one behind the other, NaN for a null with ``gaps``; None where a fault is in them."""
    values: list[Any] = []
    try:
        # Before any row is looked into, which may hold millions; faster than a set of the lengths.
        if list(map(len, rows)).count(channels) != len(rows):
            return None
        for row in rows:
            values += row
    except TypeError:
        return None
    return numbers_of(values, may_hold_booleans=may_hold_booleans, gaps=gaps)


def numbers_of(values: list[Any], *, may_hold_booleans: bool = True, gaps: bool = False) -> NDArray[np.float32] | None:
    """Return numbers as float32, NaN for each null with ``gaps``; None where there is any fault in them."""
    if gaps:
        return _with_gaps(values)
    try:
        # Packing refuses what is no number, and is the fastest way from Python's floats to float32.
        flat = np.frombuffer(struct.pack(f"{len(values)}f", *values), np.float32)
    except struct.error:
        return None
    return flat if np.isfinite(flat).all() and not (may_hold_booleans and bool in map(type, values)) else None


def _with_gaps(values: list[Any]) -> NDArray[np.float32] | None:
    if not set(map(type, values)) <= {float, int, NoneType}:
        return None
    with np.errstate(over="ignore"):
        flat = np.array(values, np.float64).astype(np.float32)
    return None if np.isinf(flat).any() else flat


def _first_bad(rows: list[Any], pack: Callable[[list[Any]], NDArray[np.float32] | None]) -> int:
    """Return the index of the first row with a fault, of rows that are known to hold one.

    By halves, which together take as long as all rows took: to look at millions of elements one by one takes seconds.
    """
    first, behind = 0, len(rows)
    while behind - first > 1:
        middle = (first + behind) // 2
        if pack(rows[first:middle]) is None:
            behind = middle
        else:
            first = middle
    return first


def _fault(row: Any, channels: int, path: str, *, gaps: bool | None) -> RequestError:
    """Find the first fault of a row that is known to hold one, and say where it is."""
    if not isinstance(row, list):
        kind = InvalidShapeError if _is_number(row) else InvalidValueError
        return kind(f"{path}: expected a row of {channels} numbers, got {_name(row)}", path)
    if _holds_rows(row):
        return InvalidShapeError(f"{path}: expected a row of {channels} numbers, got an array of arrays", path)
    if len(row) != channels:
        return InvalidShapeError(f"{path}: expected {channels} channels, got {len(row)}", path)
    return fault_in(row, path, gaps=gaps)


def fault_in(values: list[Any], path: str, *, gaps: bool | None) -> RequestError:
    """Find the first fault of numbers that are known to hold one, and say where it is; see :func:`rows_to_array`."""
    expected = "a number or null" if gaps else "a number"
    for j, value in enumerate(values):
        element = f"{path}[{j}]"
        if isinstance(value, list):
            return InvalidShapeError(f"{element}: expected {expected}, got an array", element)
        if value is None and gaps:
            continue
        if not _is_number(value):
            hint = "" if value is not None or gaps is None else '; "missing": "interpolate" fills it'
            return InvalidValueError(f"{element}: expected {expected}, got {_name(value)}{hint}", element)
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
