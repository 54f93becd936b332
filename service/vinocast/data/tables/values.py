"""Which columns of a table are numbers to forecast, and what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.cells import EMPTY, first_of
from vinocast.data.tables.figures import find_decimal, read_numbers
from vinocast.data.tables.reading import Reading, TimeColumn, numbers_of, plain_name
from vinocast.errors import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.data.tables.cells import Column
    from vinocast.data.tables.figures import Decimal

TARGET_NAMES = frozenset(("target", "y", "value", "values"))
INDEX_NAMES = frozenset(("unnamed0", "index", "rowid", "rownumber", "rownum", "no", "nr", "id"))
FLOAT32_MOST = float(np.finfo(np.float32).max)


def read_values(reading: Reading, time: TimeColumn | None) -> dict[str, NDArray[np.float64]]:
    """Return the columns of numbers, each float64 [rows]; tell of those that are left out."""
    plain = {name: numbers_of(column) for name, column in reading.left.items() if column.times is None}
    decimal = _find_decimal(reading, plain)
    values: dict[str, NDArray[np.float64]] = {}
    left_out: list[str] = []
    index: dict[str, NDArray[np.float64]] = {}
    for name, column in reading.left.items():
        numbers = plain.get(name)
        texts = column.texts
        if texts is not None and (numbers is None or (decimal == "," and any("." in text for text in texts))):
            numbers = _read_written(reading, name, texts, decimal)
        wanted = name in reading.options.columns
        if numbers is not None and np.isnan(numbers).all():
            if wanted:
                raise reading.cells.fault("no number in any row", column=name)
            numbers = None
        if numbers is None or (time is not None and not wanted and _is_index(column, numbers)):
            left_out.append(name)
            if numbers is not None and column.index:
                index = {name: numbers}
            continue
        if (bad := first_of(np.abs(np.nan_to_num(numbers)) > FLOAT32_MOST)) is not None:
            raise reading.cells.fault("a number beyond float32", bad, name)
        values[name] = numbers
    if not values:
        # Beside nothing else they are no row numbers.
        values = index
        left_out = [name for name in left_out if name not in index]
    if left_out:
        names = ", ".join(f"'{printable(name)}'" for name in left_out[:5]) + ", …" * (len(left_out) > 5)
        reading.notes.append(f"left out, as no numbers to forecast: {names}")
    if not values:
        written = ((name, reading.left[name].texts or []) for name in left_out)
        found = next(((name, row, text) for name, each in written for row, text in enumerate(each) if text), None)
        if found is None:
            raise reading.cells.fault("no column of numbers to forecast")
        name, row, text = found
        raise reading.cells.fault(
            f"no column of numbers to forecast, and '{printable(text[:40])}' is none: write no more than digits",
            row,
            name,
        )
    return values


def _find_decimal(reading: Reading, plain: dict[str, NDArray[np.float64] | None]) -> Decimal:
    decimal: Decimal | None = reading.options.decimal or ("," if reading.cells.decimal_comma else None)
    written = {name: texts for name, column in reading.left.items() if (texts := column.texts) is not None}
    if decimal is None:
        commas = any(
            "," in text or text.count(".") > 1
            for name, texts in written.items()
            if plain[name] is None
            for text in texts
        )
        decimal = find_decimal(written.values()) if commas else "."
        if decimal is None:
            raise _unclear_numbers(reading, written)
    if decimal == ",":
        reading.notes.append("numbers have decimal commas")
    return decimal


def _is_index(column: Column, numbers: NDArray[np.float64]) -> bool:
    name = column.name
    if column.index and bool((numbers >= 0).all() and (numbers == np.round(numbers)).all()):
        # Each row has one of its own, but for tables that were put together, whose rows are still counted.
        return len(np.unique(numbers)) == len(numbers) or 2 * int((np.diff(numbers) == 1).sum()) >= len(numbers)
    unnamed = name.startswith("column_") or plain_name(name) in INDEX_NAMES
    return unnamed and len(numbers) > 2 and bool((np.abs(np.diff(numbers)) == 1).all())


def _read_written(reading: Reading, name: str, texts: list[str], decimal: Decimal) -> NDArray[np.float64] | None:
    """Return the numbers of a column; None of one that holds texts."""
    numbers, wrong = read_numbers(texts, decimal)
    bad = first_of(wrong)
    if bad is None:
        return numbers
    filled = sum(text.lower() not in EMPTY for text in set(texts) | {texts[bad]})
    strange = len({text for text, is_wrong in zip(texts, wrong, strict=True) if is_wrong})
    wanted = name in reading.options.columns
    if 2 * strange >= filled:
        if wanted:
            raise reading.cells.fault(f"'{printable(texts[bad][:40])}' is no number: it cannot be forecast", bad, name)
        return None
    if reading.options.columns and not wanted:
        return None
    raise reading.cells.fault(
        f"'{printable(texts[bad][:40])}' is no number: leave the cell empty where there is none", bad, name
    )


def _unclear_numbers(reading: Reading, written: dict[str, list[str]]) -> Exception:
    for sign, word in ((",", "comma"), (".", "point")):
        for name, texts in written.items():
            if sign == "." and any(text.count(".") > 1 for text in texts):
                continue  # what tells that the points of other columns are unclear
            for row, text in enumerate(texts):
                if text.count(sign) == 1 and not read_numbers([text], ",")[1][0]:
                    return reading.cells.fault(
                        f"the {word} of '{printable(text)}' may begin a fraction or set thousands apart, and the other "
                        "rows do not tell which: say --decimal , or --decimal .",
                        row,
                        name,
                    )
    raise AssertionError(written)


def choose(reading: Reading, values: dict[str, NDArray[np.float64]], *, long: bool) -> tuple[str, ...]:
    """Return the names of the columns that are forecast: those that the user names, else all, of a long table one.

    Raises:
        SetupError: one that the user names holds no numbers.
    """
    if reading.options.columns:
        for name in reading.options.columns:
            if name not in values:
                raise reading.cells.fault("no numbers: it holds times or the names of series", column=name)
        return reading.options.columns
    targets = [name for name in values if plain_name(name) in TARGET_NAMES]
    if long and targets and len(values) > 1:
        others = ", ".join(f"'{printable(name)}'" for name in values if name != targets[0])
        reading.notes.append(f"only '{printable(targets[0])}' is forecast, and not {others}: --columns chooses")
        return (targets[0],)
    return tuple(values)
