"""The cells of a CSV file, however it is written."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.cells import MOST_CELLS, MOST_COLUMNS, Cells, Column, counted, cut, own_names
from vinocast.data.tables.moment_texts import looks_like_time
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# Lines that are looked at to find how a file is written.
SAMPLE_LINES = 200
# That are in memory as rows.
ROWS_TOGETHER = 4096
NO_LINES = np.empty(0, np.int64)
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def read_csv(source: str, data: bytes) -> Cells:
    """Return the cells of a CSV file's bytes; raises SetupError where they are none."""
    text, notes = _decode(source, data)
    # A line at a time, and told apart by line breaks alone.
    filled = filter(str.strip, io.StringIO(text, newline=""))
    sample = [line.rstrip("\r\n") for line in itertools.islice(filled, SAMPLE_LINES)]
    if not sample:
        raise SetupError(f"{source}: it is empty: expected a header and rows")
    decimal_comma = _is_one_column_of_decimal_commas(sample)
    separator = "\n" if decimal_comma else _find_separator(sample)
    rows = _split(source, text, separator)
    first = list(itertools.islice(rows, SAMPLE_LINES))
    if not first:
        raise SetupError(f"{source}: nothing but separators: expected a header and rows")
    begin, header = _find_header([row for row, _ in first])
    if begin:
        notes.append(f"{counted(begin, 'line')} before the header passed over: {cut(sample[0])!r}")
    if separator not in ",\n":
        notes.append(f"columns are separated by {SEPARATORS[separator]}")
    names = first[begin][0] if header else [f"column_{place + 1}" for place in range(len(first[begin][0]))]
    if header:
        begin += 1
    else:
        notes.append(f"no header: columns are called {', '.join(names[:3])}{', …' if len(names) > 3 else ''}")
    if header and begin < len(first) and len(first[begin][0]) == len(names) + 1 and first[begin][0][-1]:
        names = ["", *names]  # as R writes the names of rows
    cells = Cells(source, hashlib.sha256(data).hexdigest(), [], NO_LINES, decimal_comma=decimal_comma, notes=notes)
    if len(names) > MOST_COLUMNS:
        raise cells.fault(f"{len(names)} columns, more than the {MOST_COLUMNS} that are read: leave some out")
    index = header and names[0] in ("", "Unnamed: 0")
    names = own_names(names, notes)
    columns, cells.lines = _by_column(source, itertools.chain(first[begin:], rows), len(names))
    if not len(cells.lines):
        raise cells.fault("a header and no rows" if header else "no rows")
    cells.columns = [Column(name, column) for name, column in zip(names, columns, strict=True)]
    cells.columns[0].index = index
    return cells


def _by_column(
    source: str, rows: Iterator[tuple[list[str], int]], count: int
) -> tuple[list[list[str]], NDArray[np.int64]]:
    """Return the texts of each of so many columns, and the line of each row.

    Rows are let go a part at a time: many lists together would have Python search them for garbage again and again.
    """
    columns: list[list[str]] = [[] for _ in range(count)]
    lines: list[int] = []
    while part := list(itertools.islice(rows, ROWS_TOGETHER)):
        for row, line in part:
            if len(row) != count:
                if len(row) < count or any(row[count:]):
                    raise SetupError(
                        f"{source}: line {line}: {counted(len(row), 'cell')}, expected {count}, one for each column"
                    )
                del row[count:]
            lines.append(line)
        for column, texts in zip(columns, zip(*(row for row, _ in part), strict=True), strict=True):
            column.extend(texts)
    return columns, np.array(lines, np.int64)


def _decode(source: str, data: bytes) -> tuple[str, list[str]]:
    if data[:4] == b"PK\x03\x04":
        raise SetupError(f"{source}: a workbook or a zip archive: save the sheet as CSV (Excel: Save As, CSV UTF-8)")
    if data[:2] == b"\x1f\x8b":
        raise SetupError(f"{source}: compressed: unpack it first, such as with 'gunzip -c FILE | vinocast forecast -'")
    refusal = SetupError(f"{source}: no CSV: it holds bytes that are no text")
    notes = []
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text = data.decode("utf-16")
            notes.append("written in UTF-16")
        else:
            text = data.decode("utf-8-sig")
            notes += ["a byte order mark passed over"] if data[:3] == b"\xef\xbb\xbf" else []
    except UnicodeDecodeError:
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            raise refusal from None
        notes.append("not UTF-8: read as Windows-1252")
    if "\0" in text:
        raise refusal
    return text, notes


def _is_one_column_of_decimal_commas(sample: Sequence[str]) -> bool:
    """Whether a word stands above nothing but numbers such as ``1,5``."""
    first, *rest = sample
    return (
        bool(rest)
        and not any(separator in first for separator in SEPARATORS)
        and all(
            line.count(",") == 1 and line.strip().lstrip("+-").replace(",", "", 1).isdecimal() and ";" not in line
            for line in rest
        )
    )


def _find_separator(sample: Sequence[str]) -> str:
    """Return what most lines have equally often; a line break where nothing does."""
    best, most = "\n", (0.0, 0)
    for separator in SEPARATORS:
        try:
            counts = [len(row) for row in csv.reader(sample, delimiter=separator)]
        except csv.Error:
            continue
        count, agreeing = Counter(counts).most_common(1)[0]
        # What separates columns does so in the header too, which is one of the first lines.
        if count > 1 and (agreeing / len(counts), count) > most and _heads(sample, separator, count):
            best, most = separator, (agreeing / len(counts), count)
    return best


def _heads(sample: Sequence[str], separator: str, count: int) -> bool:
    """Whether a comma may be what separates: in the first line with as many cells it cuts no number in two."""
    if separator != ",":
        return True
    other = next((each for each in (";", "\t", "|") if all(each in line for line in sample[-3:])), None)
    first = next((row for row in csv.reader(sample, delimiter=",") if len(row) == count), [])
    return other is None or any(cell.strip() and not any(map(str.isdecimal, cell)) for cell in first)


def _split(source: str, text: str, separator: str) -> Iterator[tuple[list[str], int]]:
    """Yield the cells of each row that has any, and the line that it begins in."""
    cells = before = 0
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter="," if separator == "\n" else separator, strict=True, skipinitialspace=True)
    try:
        for row in ([line] for line in lines) if separator == "\n" else reader:
            line, before = before + 1, before + 1 if separator == "\n" else reader.line_num
            stripped = list(map(str.strip, row))
            if any(stripped):
                yield stripped, line
                cells += len(row)
                if cells > MOST_CELLS:
                    raise SetupError(f"{source}: more than {MOST_CELLS} cells: leave out columns or older rows")
    except csv.Error as error:
        raise SetupError(f"{source}: line {before + 1}: no CSV: {error}") from None


def _find_header(rows: Sequence[Sequence[str]]) -> tuple[int, bool]:
    """Return the row that the table begins with, and whether it is a header."""
    sample = rows[:SAMPLE_LINES]
    # A row of few cells is of a banner, however many separators it has; but pandas writes no name above an index, which
    # leaves a header of one column with its last cell alone, right above the first data.
    counts = [
        len(row)
        if sum(map(bool, row)) * 2 > len(row) or (_has_last_alone(row) and _begins_data(sample[place + 1 : place + 3]))
        else 0
        for place, row in enumerate(sample)
    ]
    if not any(counts):
        counts = [len(row) for row in sample]
    count = Counter(filter(None, counts)).most_common(1)[0][0]
    begin = counts.index(count)
    # R writes no name above the names of rows.
    above = sample[begin - 1] if begin else []
    if len(above) == count - 1 > 0 and any(map(_is_data, sample[begin])) and not any(map(_is_data, above)):
        return begin - 1, True
    if _has_last_alone(sample[begin]):
        return begin, True  # also where it is a number: a Series of pandas without a name is called 0
    first = [cell for cell in sample[begin] if cell]
    numbered = first == [str(place) for place in range(len(first))] and len(first) > 1 and len(sample) > begin + 1
    return begin, numbered or not (all(map(_is_number, first)) or any(map(looks_like_time, first)))


def _has_last_alone(row: Sequence[str]) -> bool:
    """Whether nothing but the last of several cells is filled."""
    return len(row) > 1 and bool(row[-1]) and not any(row[:-1])


def _begins_data(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of two rows has data, and no word where the second has some, as a header has."""
    if not rows:
        return False
    named = any(cell and not _is_data(cell) and _is_data(below) for cell, below in zip(rows[0], rows[-1], strict=False))
    return any(map(_is_data, rows[0])) and not named


def _is_data(cell: str) -> bool:
    return _is_number(cell) or looks_like_time(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
