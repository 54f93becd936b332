"""What is known of a table while it is read."""

from __future__ import annotations

import difflib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.figures import read_plain
from vinocast.errors import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.data.tables.cells import Cells, Column
    from vinocast.data.tables.table import TableOptions
    from vinocast.data.times.days import Times
    from vinocast.data.times.form import Form


def plain_name(name: str) -> str:
    """Return a column's name in small letters and digits alone, by which it is known whoever wrote it."""
    return "".join(filter(str.isalnum, name.lower()))


@dataclass
class TimeColumn:
    """The times of rows [rows]."""

    name: str
    times: Times
    form: Form
    counted: bool = False


class Reading:
    """A table of which some columns are known for what they are, and notes of what was found.

    Attributes:
        cells: what is written.
        options: what the user says.
        notes: a sentence each.
        rows: how many there are.
        columns: all, by name.
        left: those that are neither times nor names of series, as far as these are found.
    """

    def __init__(self, cells: Cells, options: TableOptions) -> None:
        self.cells = cells
        self.options = options
        self.notes = cells.notes
        self.rows = len(cells.lines)
        self.columns = {column.name: column for column in cells.columns}
        for name in (*options.columns, *filter(None, (options.time, options.item))):
            if name not in self.columns:
                near = difflib.get_close_matches(name, self.columns, n=1) or list(itertools.islice(self.columns, 10))
                raise cells.fault(f"no column '{printable(name)}'; there is {printable(', '.join(near))}")
        self.left = dict(self.columns)
        for taken in (options.time, options.item):
            self.left.pop(taken or "", None)


def numbers_of(column: Column) -> NDArray[np.float64] | None:
    """Return the numbers of a column [rows], NaN where empty; None where they are not written as a program would."""
    return column.numbers if column.texts is None else read_plain(column.texts)


def texts_of(column: Column) -> list[str]:
    """Return the cells of a column as they would be written."""
    if column.texts is not None:
        return column.texts
    if column.times is not None:
        return [str(time) for time in column.times]
    if column.integers is not None:
        return list(map(str, column.integers.tolist()))
    numbers = column.numbers if column.numbers is not None else np.empty(0)
    return ["" if np.isnan(number) else f"{number:.17g}" for number in numbers.tolist()]
