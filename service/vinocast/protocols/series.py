"""Series in JSON: ``inputs``, an array of ``{"item_id", "target", "start"}``, each read when its turn comes.

A thousand series of 512 numbers have 10 MB, which take longer to parse than others can wait. So where it is plain to
see where each of them begins and ends, the text of the request is taken apart before any of it is parsed: see
:func:`take_series`. What is not plain to see is parsed whole, with the same answers.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from vinocast.errors import InvalidJsonError, InvalidRequestError, InvalidShapeError, describe, shorten
from vinocast.protocols.numbers import MOST_BEFORE, MOST_BYTES, WHITE_SPACE, number_parser, parse_numbers
from vinocast.protocols.sizes import check_counts, parsed_bytes
from vinocast.protocols.windows import fault_in, numbers_of
from vinocast.requests import Series

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = b'"inputs"'
# What stands in the text of the rest where the series were.
PLACEHOLDER = b"[]"
FIELDS = ("item_id", "target", "start")
# Of an item_id and of a start, in characters.
MOST_CHARACTERS = 256
# More are left to who reads the whole: a queue seldom has room for as many, and each takes a microsecond to find.
MOST_SERIES = 1 << 13


class JsonSeries:
    """Series as parsed JSON, or as the texts of objects that are still to be parsed; see the module.

    Attributes:
        nbytes: of the memory that they take at most until all are read.
    """

    def __init__(self, items: list[Any], text: bytes) -> None:
        self._items = items
        self.nbytes = parsed_bytes(text)

    def __len__(self) -> int:
        return len(self._items)

    @staticmethod
    def path(index: int) -> str:
        """Return the path of the numbers of one."""
        return f"inputs[{index}].target"

    def read(self, *, gaps: bool = False) -> Iterator[Series]:
        """Return the series; see ``requests.SeriesSource``."""
        return (series_of(item, f"inputs[{index}]", gaps=gaps) for index, item in enumerate(self._items))


class SeriesText:
    """Series whose objects are still to be parsed.

    Attributes:
        nbytes: of the text.
    """

    def __init__(self, text: bytes, bounds: list[int]) -> None:
        """Take a text, and where in it each object begins and, next to it, ends."""
        self._text = text
        self._bounds = bounds
        self.nbytes = len(text) + 2 * 36 * len(bounds)

    def __len__(self) -> int:
        return len(self._bounds) // 2

    @staticmethod
    def path(index: int) -> str:
        """Return the path of the numbers of one."""
        return f"inputs[{index}].target"

    def read(self, *, gaps: bool = False) -> Iterator[Series]:
        """Return the series; see ``requests.SeriesSource``."""
        for index in range(len(self)):
            text = self._text[self._bounds[2 * index] : self._bounds[2 * index + 1]]
            path = f"inputs[{index}]"
            yield _quickly(text, path) or _thoroughly(text, path, gaps=gaps)


def take_series(text: bytes) -> tuple[bytes, SeriesText] | None:
    """Return a request's text with a placeholder for its series, and these; None where they are not plain to see.

    They are the array that the one ``"inputs"`` of the text names. Its end is the first brace of objects that stand
    side by side which a bracket follows. That is so wherever the rest is JSON and holds an empty ``inputs``: without a
    backslash in the text every quote begins or ends a string, so a place within a string would leave an odd number of
    them to the rest; and a place within one of the objects would leave brackets to it that nothing closes. An object
    that turns out to be no JSON makes the whole none.
    """
    key = text.find(KEY, 0, MOST_BEFORE)
    if key < 0 or b"\\" in text:
        return None
    start = text.find(b"[", key)
    if start < 0 or text[key + len(KEY) : start].strip(WHITE_SPACE) != b":":
        return None
    bounds: list[int] = []
    place = start + 1
    while True:
        begin = _past_white_space(text, place)
        end = text.find(b"}", begin) + 1
        # A quote more or less, and the brace is one of a string.
        if (
            not end
            or text[begin : begin + 1] != b"{"
            or text.count(b'"', begin, end) % 2
            or len(bounds) > 2 * MOST_SERIES
        ):
            return None
        bounds += (begin, end)
        place = _past_white_space(text, end)
        behind = text[place : place + 1]
        place += 1
        if behind == b"]":
            break
        if behind != b",":
            return None
    rest = text[:start] + PLACEHOLDER + text[place:]
    return (rest, SeriesText(text, bounds)) if rest.count(KEY) == 1 else None


def series_of(item: Any, path: str, *, gaps: bool) -> Series:
    """Return the series that parsed JSON holds; raises InvalidRequestError, InvalidShapeError or InvalidValueError."""
    if not isinstance(item, dict):
        expected = f"an object of {', '.join(FIELDS)}"
        raise InvalidRequestError(f"{path}: expected {expected}, got {describe(item)}", path)
    for name in item:
        if name not in FIELDS:
            raise _unknown_field(name, path)
    item_id, start, target = (item.get(name) for name in ("item_id", "start", "target"))
    if not (item_id is None or type(item_id) is int or (isinstance(item_id, str) and len(item_id) <= MOST_CHARACTERS)):
        expected = f"a string of at most {MOST_CHARACTERS} characters or an integer of at most 64 bits"
        raise InvalidRequestError(f"{path}.item_id: expected {expected}, got {describe(item_id)}", f"{path}.item_id")
    if not (start is None or (isinstance(start, str) and len(start) <= MOST_CHARACTERS)):
        expected = f"a string of at most {MOST_CHARACTERS} characters, the time of the first point"
        raise InvalidRequestError(f"{path}.start: expected {expected}, got {describe(start)}", f"{path}.start")
    path = f"{path}.target"
    if isinstance(target, np.ndarray):  # which was read before
        return Series(target, item_id, start)
    if not isinstance(target, list):
        got = "nothing" if "target" not in item else describe(target)
        raise InvalidRequestError(f"{path}: expected an array of numbers, oldest first, got {got}", path)
    if not target:
        raise InvalidShapeError(f"{path}: expected one number at least, got none", path)
    values = numbers_of(target, gaps=gaps)
    if values is None:
        raise fault_in(target, path, gaps=gaps)
    return Series(values, item_id, start)


def _quickly(text: bytes, path: str) -> Series | None:
    """Return the series of an object's text; None where that is not plainly one whose numbers are all there."""
    start = text.find(b"[")
    end = text.find(b"]") + 1
    if not 0 <= start < end <= start + MOST_BYTES or text.find(b"[", start + 1) >= 0:
        return None
    if (parser := number_parser()) is None or (numbers := parse_numbers(text[start:end], parser)) is None:
        return None
    with np.errstate(over="ignore"):
        values = numbers.astype(np.float32)
    if not len(values) or not np.isfinite(values).all():
        return None
    try:
        item = orjson.loads(text[:start] + PLACEHOLDER + text[end:])
    except orjson.JSONDecodeError:  # which the whole would tell of
        return None
    if item.get("target") != []:
        return None
    item["target"] = values
    return series_of(item, path, gaps=False)


def _thoroughly(text: bytes, path: str, *, gaps: bool) -> Series:
    check_counts(text)
    try:
        item = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidJsonError(f"{path}: expected a JSON object: {error}", path) from None
    return series_of(item, path, gaps=gaps)


def _past_white_space(text: bytes, place: int) -> int:
    while text[place : place + 1] and text[place] in WHITE_SPACE:
        place += 1
    return place


def _unknown_field(name: str, path: str) -> InvalidRequestError:
    field = shorten(name)
    near = difflib.get_close_matches(field.lower(), FIELDS, n=1, cutoff=0.7)
    hint = f", did you mean {near[0]}?" if near else ";"
    where = f"{path}.{field}"
    return InvalidRequestError(f"{where}: no such field{hint} expected none but {', '.join(FIELDS)}", where)
