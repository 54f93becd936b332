"""Series out of a table that somebody else has made, each on a regular step, and what was found on the way.

A wide table has a row for each time and a column for each series; a long one names the series in a column. Whatever is
unclear is refused with what to do about it, and whatever is mended is said, in :attr:`Table.notes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.files import read_cells
from vinocast.data.tables.items import find_items
from vinocast.data.tables.reading import Reading, TimeColumn
from vinocast.data.tables.rows import drop_copies, lay_out, tell_gaps
from vinocast.data.tables.table import Table, TableOptions
from vinocast.data.tables.time_column import find_time
from vinocast.data.tables.values import choose, read_values
from vinocast.data.times.days import SECOND
from vinocast.data.times.form import Form

if TYPE_CHECKING:
    from pathlib import Path

# Nothing is said of the table.
ALL_FOUND = TableOptions()


def read_table(path: Path, options: TableOptions = ALL_FOUND) -> Table:
    """Read a wide or a long table from a CSV or Parquet file; ``-`` is standard input.

    Raises:
        SetupError: it cannot be read, or not in one way alone; the message names the line and the column.
    """
    return _table(Reading(read_cells(path), options))


def _table(reading: Reading) -> Table:
    time = find_time(reading)
    if time is not None:
        reading.left.pop(time.name, None)
    item, names, codes = find_items(reading, time)
    values = read_values(reading, time)
    columns = choose(reading, values, long=item is not None)
    matrix = np.column_stack([values[name] for name in columns])
    every = np.column_stack(list(values.values()))
    if time is None:
        # A position within each item, counted from 1.
        positions = np.empty(reading.rows, np.int64)
        by_item = np.argsort(codes, kind="stable")
        first = np.searchsorted(codes[by_item], np.arange(len(names)))
        positions[by_item] = np.arange(1, reading.rows + 1) - first[codes[by_item]]
        time = TimeColumn("step", (positions * SECOND).astype("datetime64[ns]"), Form(epoch=SECOND), counted=True)
        reading.notes.append("no column of times: steps are counted")
    drop_copies(reading, time, codes, matrix, every)
    items, frequency = lay_out(reading, time, names, codes, matrix)
    table = Table(
        reading.cells.source, reading.cells.sha256, columns, items, frequency, time.form, time.name, item, time.counted,
        reading.cells.word, reading.notes,
    )  # fmt: skip
    tell_gaps(reading, table)
    return table
