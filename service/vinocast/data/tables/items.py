"""Which column of a table names the series that a row belongs to, if any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.figures import read_plain
from vinocast.data.tables.reading import Reading, TimeColumn, numbers_of, plain_name, texts_of
from vinocast.errors import printable

if TYPE_CHECKING:
    from vinocast.data.tables.cells import Column
    from vinocast.data.times.days import Steps

MOST_ITEMS = 100_000
ITEM_NAMES = frozenset(
    ("itemid", "uniqueid", "seriesid", "tsid", "id", "item", "series", "key", "ticker", "symbol", "sensor", "meter",
     "sku")
)  # fmt: skip
# Of these, those that name nothing else, whatever the rows look like.
SURE_NAMES = frozenset(("itemid", "uniqueid", "seriesid", "tsid"))
# Rows of each series, where a column of whole numbers is to name series that lie one behind another in time: a meter
# that counts up has fewer of each reading.
LEAST_ROWS = 10


def has_items(reading: Reading) -> bool:
    """Whether a column is named, or has a name, as one that says which series a row belongs to."""
    return reading.options.item is not None or any(plain_name(name) in ITEM_NAMES for name in reading.left)


def find_items(reading: Reading, time: TimeColumn | None) -> tuple[str | None, list[str | None], Steps]:
    """Return the column of the items, their names in order, and of each row [rows] which it is."""
    if reading.options.item is not None:
        return _group(reading, reading.columns[reading.options.item])
    together = time is not None and not (np.diff(np.sort(time.times)) > np.timedelta64(0)).all()
    named = [column for column in reading.left.values() if plain_name(column.name) in ITEM_NAMES]
    for column in named:
        if _repeats(reading, column) and (time is None or together or _follow(reading, column, time)):
            return _group(reading, column)
    if together and time is not None:
        apart = [column for column in reading.left.values() if _sets_apart(reading, column, time)]
        if len(apart) == 1:
            reading.notes.append(f"a long table: its series are named by '{printable(apart[0].name)}'")
            return _group(reading, apart[0])
        if len(apart) > 1:
            names = " or ".join(f"'{column.name}'" for column in apart)
            raise reading.cells.fault(
                f"several rows for each time: say with --id which of {printable(names)} names them"
            )
    # Of a single series; last, as what tells rows of one time apart says more.
    for column in named:
        texts = set(texts_of(column))
        if plain_name(column.name) in SURE_NAMES and len(texts) == 1 and "" not in texts:
            return _group(reading, column)
    for column in named:
        if _is_numeric(column) and _repeats(reading, column) and column.name not in reading.options.columns:
            name = printable(column.name)
            reading.notes.append(f"'{name}' is taken for numbers to forecast: --id {name} says that it names series")
    return None, [None], np.zeros(reading.rows, np.int64)


def _repeats(reading: Reading, column: Column) -> bool:
    return 1 < len(set(texts_of(column))) < reading.rows


def _follow(reading: Reading, column: Column, time: TimeColumn) -> bool:
    """Whether a column with a name of series names some, where each time stands once: one begins as another has ended.

    Such a name may also be that of what is measured, or of a remark.
    """
    if plain_name(column.name) in SURE_NAMES:
        return True
    texts = np.array(texts_of(column))
    if column.name in reading.options.columns or (texts == "").any():
        return False
    if _is_numeric(column):
        ordered = texts[np.argsort(time.times, kind="stable")]
        series = len(set(texts.tolist()))
        numbers = numbers_of(column)
        whole = numbers is not None and bool((numbers == np.round(numbers)).all())
        if not whole or int((ordered[1:] != ordered[:-1]).sum()) >= series or reading.rows < LEAST_ROWS * series:
            return False
    reading.notes.append(f"a long table: its series are named by '{printable(column.name)}'")
    return True


def _sets_apart(reading: Reading, column: Column, time: TimeColumn) -> bool:
    """Whether a column of texts names, of the rows of each time, a different one each."""
    if column.texts is None or _is_numeric(column) or not _repeats(reading, column):
        return False
    return len(set(zip(column.texts, time.times.astype(np.int64).tolist(), strict=True))) == reading.rows


def _is_numeric(column: Column) -> bool:
    return column.texts is None or read_plain(column.texts) is not None


def _group(reading: Reading, column: Column) -> tuple[str, list[str | None], Steps]:
    reading.left.pop(column.name, None)
    texts = texts_of(column)
    places: dict[str, int] = {}
    codes = np.fromiter((places.setdefault(text, len(places)) for text in texts), np.int64, reading.rows)
    if "" in places:
        raise reading.cells.fault("no name of a series", texts.index(""), column.name)
    if len(places) > MOST_ITEMS:
        raise reading.cells.fault(f"{len(places)} series, more than the {MOST_ITEMS} that are read", column=column.name)
    return column.name, list(places), codes
