"""Grids and rasters from parsed JSON; whatever is wrong with one is said with its path."""

from __future__ import annotations

import binascii
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import InvalidShapeError, InvalidValueError, RasterError, RasterSizeError, quote
from vinocast.glyphs.cells import CELLS, GRID_SIDE, PRIMITIVES
from vinocast.glyphs.normalize import raster_of_png
from vinocast.glyphs.rasters import decode_raster

if TYPE_CHECKING:
    from numpy.typing import NDArray


def grid_from_rows(rows: Any, path: str, *, may_hold_booleans: bool = True) -> NDArray[np.uint16]:
    """Return the grid [16, 16] of primitive ids of parsed JSON rows.

    ``may_hold_booleans`` is False when the caller knows that the JSON text holds neither ``true`` nor ``false``, which
    convert to ids in silence.

    Raises:
        InvalidShapeError: not 16 rows of 16 elements.
        InvalidValueError: an element that is no integer from 0 to 1023.
    """
    ids = array("H")
    try:
        for row in rows:
            ids.extend(row)
    except (TypeError, OverflowError):
        raise _fault(rows, path) from None
    grid = np.frombuffer(ids, np.uint16)
    if len(rows) != GRID_SIDE or set(map(len, rows)) != {GRID_SIDE} or grid.max(initial=0) >= PRIMITIVES:
        raise _fault(rows, path)
    if may_hold_booleans and any(type(value) is bool for row in rows for value in row):
        raise _fault(rows, path)
    return grid.reshape(GRID_SIDE, GRID_SIDE)


def raster_from_base64(text: Any, path: str, *, normalize: bool = False) -> NDArray[np.uint8]:
    """Return the pixels [128, 128] of a PNG in base64; with ``normalize`` it is fitted to the model's geometry.

    Raises:
        InvalidValueError: no string, no base64, or no PNG that decodes; with ``normalize``, one without ink.
        InvalidShapeError: a PNG of another size; with ``normalize``, of more than 1024x1024 pixels.
    """
    if not isinstance(text, str):
        raise InvalidValueError(f"{path}: expected a string, the base64 of a PNG, got {quote(text)}", path)
    try:
        png = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise InvalidValueError(f"{path}: expected base64 of a PNG: {error}", path) from None
    try:
        return raster_of_png(png) if normalize else decode_raster(png)
    except RasterSizeError as error:
        raise InvalidShapeError(f"{path}: {error}", path) from None
    except RasterError as error:
        raise InvalidValueError(f"{path}: {error}", path) from None


def _fault(rows: Any, path: str) -> InvalidShapeError | InvalidValueError:
    """Find the first fault of a grid that is known to hold one, and say where it is."""
    if not isinstance(rows, list):
        return InvalidValueError(f"{path}: expected {GRID_SIDE} rows of {GRID_SIDE} ids, got {quote(rows)}", path)
    if len(rows) != GRID_SIDE:
        return InvalidShapeError(f"{path}: expected {GRID_SIDE} rows, got {len(rows)}", path)
    for i, row in enumerate(rows):
        if not isinstance(row, list):
            fault = f"{path}[{i}]: expected a row of {GRID_SIDE} ids, got {quote(row)}"
            return InvalidValueError(fault, f"{path}[{i}]")
        if len(row) != GRID_SIDE:
            return InvalidShapeError(f"{path}[{i}]: expected {GRID_SIDE} ids, got {len(row)}", f"{path}[{i}]")
        for j, value in enumerate(row):
            if type(value) is not int or not 0 <= value < PRIMITIVES:
                element = f"{path}[{i}][{j}]"
                return InvalidValueError(
                    f"{element}: expected an integer from 0 to {PRIMITIVES - 1}, got {quote(value)}", element
                )
    return InvalidValueError(f"{path}: expected {CELLS} ids", path)
