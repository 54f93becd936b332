"""The numbers of a window, read from the text of a request beside the rest of it.

To make Python's lists and floats of 3,584 numbers, and to free them again, takes twice as long as all that is done
here. What is not plainly an array of arrays of numbers is left to who reads the rest, and so is every fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import orjson

from vinocast.protocols.windows import window_from_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from simdjson import Parser

KEY = b'"past_values"'
# What stands in the text of the rest where the window was.
PLACEHOLDER = b"[]"
WHITE_SPACE = b" \t\r\n"
# A parser keeps ten times as much for good. 3,584 numbers of 17 digits have 75 kB.
MOST_BYTES = 256 * 1024
# Where the name of a window is looked for: to go through one in base64 would take as long as to decode it.
MOST_BEFORE = 512
NO_STRUCTURE = bytes(set(range(256)) - set(b"[],"))


@dataclass(slots=True)
class Numbers:
    """A window as it was sent.

    Attributes:
        text: JSON, an array of arrays of numbers.
        structure: what is left of the text without numbers and white space.
        flat: float64, the numbers one after another.
    """

    field: ClassVar[str] = "past_values"
    text: bytes
    structure: bytes
    flat: NDArray[np.float64]

    def window(self, context: int, channels: int, *, fewer: bool = False, gaps: bool = False) -> NDArray[np.float32]:
        """Return [context, channels]; raises as :func:`window_from_rows` does."""
        rows = min(context, len(self.flat) // channels) if fewer else context
        if self.structure == _structure(rows, channels) and len(self.flat) == rows * channels:
            with np.errstate(over="ignore"):
                values = self.flat.astype(np.float32)
            if np.isfinite(values).all():
                return values.reshape(rows, channels)
        return window_from_rows(orjson.loads(self.text), context, channels, fewer=fewer, gaps=gaps)


@lru_cache(8)
def _structure(context: int, channels: int) -> bytes:
    """Return the structure of a window."""
    row = b"[" + b"," * (channels - 1) + b"]"
    return b"[" + b",".join([row] * context) + b"]"


@cache
def number_parser() -> Parser | None:
    """Return the parser of the one thread that reads requests; None where this Python has no build of it.

    Requests are read the other way there, with the same answers. Imported for the first request, which comes while the
    models load: a service has to start fast.
    """
    try:
        from simdjson import Parser  # noqa: PLC0415 - while models load
    except ImportError:
        return None
    return Parser()


def take_numbers(text: bytes) -> tuple[bytes, Numbers] | None:
    """Return a request's text with a placeholder for its window, and the window; None where that is not plain to see.

    The window is what the one ``"past_values"`` of the text names, whatever holds that: without a backslash in the rest
    these bytes are no part of a longer string. Both parts are JSON if and only if the text is, as the window is a value
    and a value is put in its place.
    """
    key = text.find(KEY, 0, MOST_BEFORE)
    if key < 0 or (parser := number_parser()) is None:
        return None
    start = text.find(b"[[", key)
    end = text.rfind(b"]]") + 2  # from the end, as each row has one of these bytes
    if start < 0 or not start < end <= start + MOST_BYTES or text[key + len(KEY) : start].strip(WHITE_SPACE) != b":":
        return None
    window = text[start:end]
    rest = text[:start] + PLACEHOLDER + text[end:]
    if b"\\" in rest or rest.count(KEY) != 1:
        return None
    structure = window.translate(None, NO_STRUCTURE)
    if structure.rfind(b"[[") > 0:  # how deep a request may be is for who reads all of it to say
        return None
    flat = parse_numbers(window, parser)
    return None if flat is None else (rest, Numbers(window, structure, flat))


def parse_numbers(text: bytes, parser: Parser) -> NDArray[np.float64] | None:
    """Return the numbers of an array, and of arrays in it, one after another; None where there is anything else."""
    try:
        # In one expression: nothing of a parser may live when it is used again.
        numbers = parser.parse(text).as_buffer(of_type="d")  # type: ignore[union-attr]  # it begins as an array
        return np.frombuffer(numbers, np.float64)
    except (TypeError, ValueError, RuntimeError):  # an element that is no number, no JSON, an integer beyond 64 bits
        return None
