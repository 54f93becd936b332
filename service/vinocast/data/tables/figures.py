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
# Points that set nothing apart: behind a 0, where thousands do not begin, and in the address of a machine.
FRACTION = re.compile(r"[+-]?0\.\d+", re.ASCII)
ADDRESS = re.compile(r"(?:\d{1,2}|1\d\d|2[0-5]\d)(?:\.(?:1\d\d|2[0-5]\d)){3}", re.ASCII)
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
    comma = point = fraction = dots = single = unclear = False
    for texts in columns:
        distinct = set(texts)
        # Several points set thousands apart, where no single one begins a fraction.
        apart = _has_thousands_by_points(distinct)
        dots = dots or apart
        for text in distinct:
            if "," not in text:
                # Beside thousands, three digits behind a point say nothing.
                if "." in text and POINTED.fullmatch(text):
                    point = point or not COMMAED.fullmatch(text)
                    fraction = fraction or bool(FRACTION.fullmatch(text))
                    single = single or not apart
            elif UNCLEAR.fullmatch(text):
                unclear = True
            else:
                pointed, commaed = POINTED.fullmatch(text), COMMAED.fullmatch(text)
                comma = comma or bool(commaed and not pointed)
                point = point or bool(pointed and not commaed)
    if comma:
        return None if point else ","
    if dots and not point and not fraction:
        return None if single else ","
    return None if unclear and not point else "."


def _has_thousands_by_points(distinct: set[str]) -> bool:
    """Whether the different cells of a column are numbers, some with several points: no one label, and no addresses."""
    several = {text for text in distinct if text.count(".") > 1}
    return (
        bool(several)
        and len(distinct) > 1
        and not all(map(ADDRESS.fullmatch, several))
        and all(text.lower() in EMPTY or COMMAED.fullmatch(text.replace(MINUS, "-")) for text in distinct)
    )
