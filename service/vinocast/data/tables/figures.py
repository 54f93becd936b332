"""Numbers as people and spreadsheets write them: with decimal commas, with thousands apart, and empty cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np

from vinocast.data.tables.cells import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Decimal = Literal[".", ","]

SPACES = " '\u2019\u00a0\u202f\u2009"
# With a decimal point, thousands apart by commas or spaces; and with a decimal comma.
NUMBER = r"[+-]?(?:\d{{1,3}}(?:{apart}\d{{3}})+|\d{{1,3}}(?:[{spaces}]\d{{3}})+|\d+|(?={point}\d))(?:{point}\d*)?"
NUMBER += r"(?:[eE][+-]?\d+)?"
POINTED = re.compile(NUMBER.format(apart=",", point=r"\.", spaces=SPACES), re.ASCII)
COMMAED = re.compile(NUMBER.format(apart=r"\.", point=",", spaces=SPACES), re.ASCII)
# A comma before three digits, which may be of thousands or of a fraction.
UNCLEAR = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
MINUS = "\u2212"


def read_plain(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """Return the numbers of cells that are written as a program writes them, NaN where empty; None for any others."""
    joined = "".join(texts)
    # Python reads more as a number than a file should hold.
    if not joined.isascii() or "_" in joined:
        return None
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() else numbers


def read_numbers(texts: Sequence[str], decimal: Decimal) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return numbers [rows], NaN for empty cells, and which of the cells [rows] are none."""
    known: dict[str, float | None] = {}
    numbers = np.empty(len(texts))
    wrong = np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        if text not in known:
            known[text] = _number(text, decimal)
        number = known[text]
        numbers[row] = np.nan if number is None else number
        wrong[row] = number is None
    return numbers, wrong


def _number(text: str, decimal: Decimal) -> float | None:
    if text.lower() in EMPTY:
        return np.nan
    text = text.replace(MINUS, "-")
    if not (POINTED if decimal == "." else COMMAED).fullmatch(text):
        return None
    for apart in (*SPACES, "," if decimal == "." else "."):
        text = text.replace(apart, "")
    number = float(text.replace(",", "."))
    return None if np.isinf(number) else number


def find_decimal(columns: Iterable[Sequence[str]]) -> Decimal | None:
    """Return what begins the fraction of the numbers in some columns; None where it could be either.

    Cells that are no numbers by either reading say nothing; a point is what most files have.
    """
    comma = point = dots = unclear = False
    for texts in columns:
        for text in set(texts):
            if "," not in text:
                # Several points set thousands apart, where no single one begins a fraction.
                dots = dots or bool(text.count(".") > 1 and COMMAED.fullmatch(text))
                # Beside thousands, three digits behind a point say nothing.
                point = point or bool("." in text and POINTED.fullmatch(text) and not COMMAED.fullmatch(text))
            elif UNCLEAR.fullmatch(text):
                unclear = True
            else:
                pointed, commaed = POINTED.fullmatch(text), COMMAED.fullmatch(text)
                comma = comma or bool(commaed and not pointed)
                point = point or bool(pointed and not commaed)
    if comma or (dots and not point):
        return None if point else ","
    return None if unclear and not point else "."
