"""Grids and rasters from parsed JSON; whatever is wrong with one is said with its path."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import InvalidShapeError, InvalidValueError, PayloadTooLargeError, describe
from vinocast.protocols.base64 import decode_base64
from vinocast.protocols.sizes import parsed_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of one raster; all of a request together have half of that each. In it there is room for a picture of 128x128 pixels
# in four colours without compression.
MOST_RASTER_CHARACTERS = 200_000


class JsonGlyphs:
    """Glyphs as parsed JSON: grids, or rasters in base64, each of which is read when its turn comes.

    Attributes:
        field: what the request calls them.
        nbytes: of the request's text.
        parsed_bytes: of the memory that it takes at most.
    """

    def __init__(self, field: str, glyphs: list[Any], text: bytes, *, may_hold_booleans: bool = True) -> None:
        self.field = field
        self.nbytes = len(text)
        self.parsed_bytes = parsed_bytes(text)
        self._glyphs = glyphs
        self._may_hold_booleans = may_hold_booleans

    def __len__(self) -> int:
        return len(self._glyphs)

    def path(self, index: int) -> str:
        """Return the path of one."""
        return f"{self.field}[{index}]"

    def grid(self, index: int, side: int, primitives: int) -> NDArray[np.uint16]:
        """Return a grid; see :func:`grid_from_rows`."""
        return grid_from_rows(
            self._glyphs[index], self.path(index), side, primitives, may_hold_booleans=self._may_hold_booleans
        )

    def png(self, index: int) -> bytes:
        """Return the bytes of a raster; raises InvalidValueError where they are not in base64."""
        return png_from_base64(self._glyphs[index], self.path(index))


def grid_from_rows(
    rows: Any, path: str, side: int, primitives: int, *, may_hold_booleans: bool = True
) -> NDArray[np.uint16]:
    """Return the grid [side, side] of primitive ids of parsed JSON rows.

    ``may_hold_booleans`` is False when the caller knows that the JSON text holds neither ``true`` nor ``false``, which
    convert to ids in silence.

    Raises:
        InvalidShapeError: not ``side`` rows of as many elements.
        InvalidValueError: an element that is no integer from 0 to below ``primitives``.
    """
    ids = array("H")
    try:
        # Before any row is looked into, which may hold millions.
        if len(rows) != side or set(map(len, rows)) != {side}:
            raise _fault(rows, path, side, primitives)
        for row in rows:
            ids.extend(row)
    except (TypeError, OverflowError):
        raise _fault(rows, path, side, primitives) from None
    grid = np.frombuffer(ids, np.uint16)
    if grid.max(initial=0) >= primitives:
        raise _fault(rows, path, side, primitives)
    if may_hold_booleans and any(type(value) is bool for row in rows for value in row):
        raise _fault(rows, path, side, primitives)
    return grid.reshape(side, side)


def png_from_base64(text: Any, path: str) -> bytes:
    """Return the bytes that a string of base64 holds.

    Raises:
        InvalidValueError: it is none.
        PayloadTooLargeError: it is longer than a raster may be.
    """
    if not isinstance(text, str):
        raise InvalidValueError(f"{path}: expected a string, the base64 of a PNG, got {describe(text)}", path)
    if len(text) > MOST_RASTER_CHARACTERS:
        most = f"at most {MOST_RASTER_CHARACTERS} characters of base64"
        raise PayloadTooLargeError(f"{path}: expected {most}, got {len(text)}", path)
    return decode_base64(text, path, "a PNG")


def _fault(rows: Any, path: str, side: int, primitives: int) -> InvalidShapeError | InvalidValueError:
    """Find the first fault of a grid that is known to hold one, and say where it is."""
    if not isinstance(rows, list):
        return InvalidValueError(f"{path}: expected {side} rows of {side} ids, got {describe(rows)}", path)
    if len(rows) != side:
        return InvalidShapeError(f"{path}: expected {side} rows, got {len(rows)}", path)
    for i, row in enumerate(rows):
        if not isinstance(row, list):
            fault = f"{path}[{i}]: expected a row of {side} ids, got {describe(row)}"
            return InvalidValueError(fault, f"{path}[{i}]")
        if len(row) != side:
            return InvalidShapeError(f"{path}[{i}]: expected {side} ids, got {len(row)}", f"{path}[{i}]")
        for j, value in enumerate(row):
            if type(value) is not int or not 0 <= value < primitives:
                element = f"{path}[{i}][{j}]"
                return InvalidValueError(
                    f"{element}: expected an integer from 0 to {primitives - 1}, got {describe(value)}", element
                )
    return InvalidValueError(f"{path}: expected {side * side} ids", path)
