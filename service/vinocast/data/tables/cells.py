"""The cells of a table, by column: what is written there, not yet what it means."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vinocast.errors import SetupError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

MIB = 1 << 20
MOST_BYTES = 256 * MIB
MOST_COLUMNS = 10_000
MOST_CELLS = 10_000_000
# What an empty cell is written as, in lower case.
EMPTY = {"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", "."}


@dataclass
class Column:
    """The cells of a column, in exactly one of three forms.

    Attributes:
        name: of its header.
        texts: as they are written, without spaces around them.
        numbers: float64 [rows], NaN where there is none, of a file that knows numbers.
        times: datetime64[ns] [rows] of a file that knows times, NaT where there is none.
        utc: whether such times are in UTC, and not of an unnamed place.
        local: the same by the clock of the place that the file names, where it names one.
        index: whether it is an index of pandas without a name, or the first column below no name, as pandas and R write
            one: of rows that were sorted or chosen it has their old numbers.
        integers: int64 [rows], ``numbers`` as the file has them, where that is more digits than float64 holds.
    """

    name: str
    texts: list[str] | None = None
    numbers: NDArray[np.float64] | None = None
    times: NDArray[np.datetime64] | None = None
    utc: bool = False
    local: NDArray[np.datetime64] | None = None
    index: bool = False
    integers: NDArray[np.int64] | None = None


@dataclass
class Cells:
    """A table as it is written.

    Attributes:
        source: the file's name, for messages.
        sha256: of its bytes.
        columns: in the order of the file.
        lines: int64 [rows], where each row begins.
        word: what such a place is called, ``line`` or ``row``.
        decimal_comma: whether the file must be of numbers such as ``1,5``.
        notes: what was found, a sentence each.
    """

    source: str
    sha256: str
    columns: list[Column]
    lines: NDArray[np.int64]
    word: str = "line"
    decimal_comma: bool = False
    notes: list[str] = field(default_factory=list)

    def fault(self, message: str, row: int | None = None, column: str | None = None) -> SetupError:
        """Return the error of a cell, a row, a column or the whole."""
        place = [f"{self.word} {self.lines[row]}"] if row is not None else []
        place += [f"column '{printable(column)}'"] if column is not None else []
        return SetupError(f"{self.source}: {', '.join(place)}{': ' if place else ''}{message}")


def own_names(names: Sequence[str], notes: list[str]) -> list[str]:
    """Give each column a name, and one of its own."""
    own: dict[str, None] = {}
    for place, name in enumerate(names):
        for number in itertools.count(1):
            new = (name or f"column_{place + 1}") + (f".{number}" if number > 1 else "")
            if new not in own:
                break
        if name and new != name:
            notes.append(f"a second column '{printable(name)}' is called '{printable(new)}'")
        own[new] = None
    return list(own)


def counted(count: int, word: str) -> str:
    """Return a count and what is counted, such as ``2 rows``."""
    return f"{count} {word}{'s' * (count != 1)}"


def cut(text: str, most: int = 60) -> str:
    """Return a text, of a long one what it begins with."""
    return text if len(text) <= most else f"{text[:most]}…"


def first_of(which: NDArray[np.bool_]) -> int | None:
    """Return the first row that is one of those meant, bool [rows]; None where none is."""
    return int(which.argmax()) if which.any() else None
