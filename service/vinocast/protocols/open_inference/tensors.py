"""Tensors of a request in the forms in which they come, to what is asked: windows, series, grids and rasters.

Elements are little-endian bytes, row by row, or lists of JSON, flat or nested. Bytes are looked at where they lie: a
window of them is copied once, into the memory of the model.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import InvalidShapeError, InvalidValueError, PayloadTooLargeError, describe
from vinocast.protocols.glyphs import MOST_RASTER_CHARACTERS, grid_from_rows, png_from_base64
from vinocast.protocols.windows import fault_in, numbers_of, rows_to_array
from vinocast.requests import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

LENGTH = struct.Struct("<I")
# Of a raster as it is, what MOST_RASTER_CHARACTERS is of its base64.
MOST_RASTER_BYTES = MOST_RASTER_CHARACTERS // 4 * 3


@dataclass(slots=True)
class Tensor:
    """A tensor of a request, in exactly one of its forms.

    Attributes:
        name: what the request calls it.
        datatype: of its elements.
        shape: at least one in each of at least one dimension.
        nbytes: of the memory that it takes at most.
        values: its elements as parsed JSON; of bytes, their base64.
        binary: its elements as bytes; of what has no fixed size, each behind its length.
        elements: its elements, each of them bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    nbytes: int
    values: list[Any] | None = None
    binary: memoryview | None = None
    elements: Sequence[bytes] | None = None

    def numbers(self, dtype: str) -> NDArray[Any] | None:
        """Return the elements where they came as bytes; raises InvalidShapeError."""
        if self.binary is None:
            return None
        nbytes = math.prod(self.shape) * np.dtype(dtype).itemsize
        if len(self.binary) != nbytes:
            raise InvalidShapeError(
                f"{self.name}: expected {nbytes} bytes for shape {list(self.shape)}, got {len(self.binary)}", self.name
            )
        return np.frombuffer(self.binary, dtype).reshape(self.shape)

    def lists(self) -> tuple[list[Any], bool]:
        """Return the elements where they came as JSON, and whether they are nested; raises InvalidShapeError."""
        values = self.values or []
        nested = len(self.shape) > 1 and bool(values) and isinstance(values[0], list)
        expected = self.shape[0] if nested else math.prod(self.shape)
        if len(values) != expected:
            what = "arrays" if nested else "values"
            raise InvalidShapeError(
                f"{self.name}: expected {expected} {what} for shape {list(self.shape)}, got {len(values)}", self.name
            )
        return values, nested


class _Parts:
    """A tensor of which each part along the first dimension is read when its turn comes."""

    def __init__(self, tensor: Tensor, dtype: str) -> None:
        self.field = tensor.name
        self.shape = tensor.shape
        self.nbytes = self.parsed_bytes = tensor.nbytes
        self._array = tensor.numbers(dtype)
        self._values, self._nested = ([], False) if self._array is not None else tensor.lists()
        self._size = math.prod(tensor.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def path(self) -> Callable[[int], str]:
        """What returns the path of a part, and keeps nothing of the request."""
        return partial("{}[{}]".format, self.field)

    def _listed(self, index: int) -> Any:
        """Return a part as JSON has it: of nested elements whatever stands there, else as many as there should be."""
        return self._values[index] if self._nested else self._values[index * self._size : (index + 1) * self._size]

    def _rows(self, index: int) -> list[Any]:
        """Return a part of two dimensions as rows of JSON; raises InvalidShapeError."""
        rows, columns = self.shape[1:]
        values = self._listed(index)
        if not self._nested:
            return [values[start : start + columns] for start in range(0, self._size, columns)]
        if not isinstance(values, list) or len(values) != rows:
            path = self.path(index)
            raise InvalidShapeError(f"{path}: expected an array of {rows} rows, got {describe(values)}", path)
        return values


class Windows(_Parts):
    """Windows [n, context, channels]; see ``requests.WindowsSource``."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor, "<f4")

    def check(self, context: int, channels: int, *, fewer: bool) -> None:
        """Raise InvalidShapeError where they are not of that shape; with ``fewer`` there may be fewer rows."""
        _, rows, columns = self.shape
        if columns != channels or not (rows == context or (fewer and rows < context)):
            wanted = f"[n, {'1 to ' if fewer else ''}{context}, {channels}]"
            raise InvalidShapeError(
                f"{self.field}: expected shape {wanted}, or [n, points] of single series, got {list(self.shape)}",
                self.field,
            )

    def window(self, index: int, *, gaps: bool) -> NDArray[np.float32]:
        """Return one, [rows, channels]; with ``gaps`` a value may be missing, and is NaN. Raises as below."""
        if self._array is not None:
            return _finite(self._array[index], self.path(index), gaps=gaps)
        if not self._nested and (numbers := numbers_of(self._listed(index), gaps=gaps)) is not None:
            return numbers.reshape(self.shape[1:])
        rows = self._rows(index)
        return rows_to_array(rows, self.shape[2], may_hold_booleans=True, field=self.path(index), gaps=gaps)


@dataclass(slots=True)
class OneWindow:
    """The only one of windows; see ``requests.WindowSource``."""

    windows: Windows

    @property
    def field(self) -> str:
        """What the request calls it."""
        return self.windows.field

    def window(self, context: int, channels: int, *, fewer: bool = False, gaps: bool = False) -> NDArray[np.float32]:
        """Return [context, channels]."""
        self.windows.check(context, channels, fewer=fewer)
        return self.windows.window(0, gaps=gaps)


class SingleSeries(_Parts):
    """Series [n, points]; see ``requests.SeriesSource``."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor, "<f4")

    def read(self, *, gaps: bool = False) -> Iterator[Series]:
        """Return the series in their order, each read when it is asked for."""
        return (Series(self._one(index, gaps=gaps)) for index in range(len(self)))

    def _one(self, index: int, *, gaps: bool) -> NDArray[np.float32]:
        path = self.path(index)
        if self._array is not None:
            return _finite(self._array[index], path, gaps=gaps)
        values = self._listed(index)
        if not isinstance(values, list) or len(values) != self._size:
            raise InvalidShapeError(f"{path}: expected an array of {self._size}, got {describe(values)}", path)
        numbers = numbers_of(values, gaps=gaps)
        if numbers is None:
            raise fault_in(values, path, gaps=gaps)
        return numbers


class Grids(_Parts):
    """Grids [n, side, side] of ids; see ``requests.GridSource``."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor, "<i8")

    def grid(self, index: int, side: int, primitives: int) -> NDArray[np.uint16]:
        """Return [side, side] ids below ``primitives``; raises InvalidShapeError or InvalidValueError."""
        if self.shape[1:] != (side, side):
            raise InvalidShapeError(
                f"{self.field}: expected shape [n, {side}, {side}], got {list(self.shape)}", self.field
            )
        if self._array is None:
            return grid_from_rows(self._rows(index), self.path(index), side, primitives)
        ids = self._array[index]
        wrong = (ids < 0) | (ids >= primitives)
        if wrong.any():
            path, got = _first(wrong, ids, self.path(index))
            raise InvalidValueError(f"{path}: expected an integer from 0 to {primitives - 1}, got {got}", path)
        grid: NDArray[np.uint16] = ids.astype(np.uint16)
        return grid


class Rasters:
    """Rasters [n]: the base64 of each in JSON, else the bytes; see ``requests.RasterSource``."""

    def __init__(self, tensor: Tensor) -> None:
        self.field = tensor.name
        self.nbytes = self.parsed_bytes = tensor.nbytes
        self._values: Sequence[Any]
        if tensor.binary is not None:
            self._values = split_bytes(tensor.binary, tensor.shape[0], tensor.name)
        else:
            self._values = tensor.lists()[0] if tensor.elements is None else tensor.elements
        self._texts = tensor.values is not None
        if len(self._values) != tensor.shape[0]:
            raise InvalidShapeError(
                f"{self.field}: expected {tensor.shape[0]} elements for shape {list(tensor.shape)}, got "
                f"{len(self._values)}",
                self.field,
            )

    def __len__(self) -> int:
        return len(self._values)

    def path(self, index: int) -> str:
        """Return the path of one."""
        return f"{self.field}[{index}]"

    def png(self, index: int) -> bytes:
        """Return the bytes of a PNG, or of what should be one; raises InvalidValueError or PayloadTooLargeError."""
        value, path = self._values[index], self.path(index)
        if self._texts:
            return png_from_base64(value, path)
        if len(value) > MOST_RASTER_BYTES:
            raise PayloadTooLargeError(f"{path}: expected at most {MOST_RASTER_BYTES} bytes, got {len(value)}", path)
        return bytes(value)


def split_bytes(data: memoryview, count: int, name: str) -> list[memoryview]:
    """Return so many elements, each of which stands behind its length in four bytes; raises InvalidShapeError."""
    elements: list[memoryview] = []
    place = 0
    while place < len(data):
        path = f"{name}[{len(elements)}]"
        if len(elements) == count:
            raise InvalidShapeError(f"{name}: expected {count} elements, and found bytes behind them", name)
        if place + LENGTH.size > len(data):
            raise InvalidShapeError(f"{path}: expected a length of {LENGTH.size} bytes, got {len(data) - place}", path)
        (length,) = LENGTH.unpack_from(data, place)
        place += LENGTH.size
        if place + length > len(data):
            raise InvalidShapeError(
                f"{path}: expected {length} bytes, as its length says, got {len(data) - place}", path
            )
        elements.append(data[place : place + length])
        place += length
    if len(elements) != count:
        raise InvalidShapeError(f"{name}: expected {count} elements, got {len(elements)}", name)
    return elements


def join_bytes(elements: Sequence[bytes]) -> bytes:
    """Return elements one behind the other, each behind its length."""
    return b"".join(part for element in elements for part in (LENGTH.pack(len(element)), element))


def _finite(numbers: NDArray[np.float32], path: str, *, gaps: bool) -> NDArray[np.float32]:
    good = ~np.isinf(numbers) if gaps else np.isfinite(numbers)
    if not good.all():
        path, got = _first(~good, numbers, path)
        hint = '; "missing": "interpolate" fills it' if np.isnan(got) else ""
        raise InvalidValueError(f"{path}: expected a finite number, got {got}{hint}", path)
    return numbers


def _first(wrong: NDArray[np.bool_], values: NDArray[Any], path: str) -> tuple[str, Any]:
    """Return the path of the first wrong element, and the element."""
    place = tuple(np.argwhere(wrong)[0].tolist())
    return path + "".join(f"[{index}]" for index in place), values[place]
