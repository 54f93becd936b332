"""The cells of a table, by column, out of a CSV or a Parquet file: what is written there, not yet what it means."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.data.moments import looks_like_time
from vinocast.data.regular import open_input
from vinocast.errors import SetupError, printable, shown
from vinocast.extras import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MIB = 1 << 20
MOST_BYTES = 256 * MIB
MOST_COLUMNS = 10_000
MOST_CELLS = 10_000_000
# Lines that are looked at to find how a file is written.
SAMPLE_LINES = 200
# That are in memory as rows.
ROWS_TOGETHER = 4096
NO_LINES = np.empty(0, np.int64)
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
STANDARD_INPUT = "-"
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
    """

    name: str
    texts: list[str] | None = None
    numbers: NDArray[np.float64] | None = None
    times: NDArray[np.datetime64] | None = None
    utc: bool = False


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


def read_cells(path: Path) -> Cells:
    """Read a CSV or a Parquet file, told apart by what they begin with; ``-`` is standard input.

    Raises:
        SetupError: it cannot be read, is neither, has no rows, or holds more than the bounds of this module.
    """
    source = "standard input" if str(path) == STANDARD_INPUT else shown(path)
    try:
        data = _read(path)
    except OSError as error:
        raise SetupError(f"{source}: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise SetupError(f"{source}: more than {MOST_BYTES // MIB} MiB: leave out columns or older rows")
    if data[:4] == b"PAR1":
        return _read_parquet(source, data)
    return _read_csv(source, data)


def _read(path: Path) -> bytes:
    if str(path) == STANDARD_INPUT:
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    with open_input(path) as file:
        return file.read(MOST_BYTES + 1)


def _read_csv(source: str, data: bytes) -> Cells:
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
        notes.append(f"{_counted(begin, 'line')} before the header passed over: {_cut(sample[0])!r}")
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
    names = _own_names(names, notes)
    columns, cells.lines = _by_column(source, itertools.chain(first[begin:], rows), len(names))
    if not len(cells.lines):
        raise cells.fault("a header and no rows" if header else "no rows")
    cells.columns = [Column(name, column) for name, column in zip(names, columns, strict=True)]
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
                        f"{source}: line {line}: {_counted(len(row), 'cell')}, expected {count}, one for each column"
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
    # A row of nothing but its first cells is of a banner, however many separators follow.
    counts = [len(row) if sum(map(bool, row)) * 2 > len(row) else 0 for row in sample]
    if not any(counts):
        counts = [len(row) for row in sample]
    count = Counter(filter(None, counts)).most_common(1)[0][0]
    begin = counts.index(count)
    # R writes no name above the names of rows.
    above = sample[begin - 1] if begin else []
    if len(above) == count - 1 > 0 and any(map(_is_data, sample[begin])) and not any(map(_is_data, above)):
        return begin - 1, True
    first = [cell for cell in sample[begin] if cell]
    numbered = first == [str(place) for place in range(len(first))] and len(first) > 1 and len(sample) > begin + 1
    return begin, numbered or not (all(map(_is_number, first)) or any(map(looks_like_time, first)))


def _is_data(cell: str) -> bool:
    return _is_number(cell) or looks_like_time(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _own_names(names: Sequence[str], notes: list[str]) -> list[str]:
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


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _read_parquet(source: str, data: bytes) -> Cells:
    try:
        import pyarrow  # noqa: PLC0415 - of an extra, and slow to import
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra("files", error) from error

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        rows, count = file.metadata.num_rows, file.metadata.num_columns
        if count > MOST_COLUMNS or rows * count > MOST_CELLS:
            raise SetupError(
                f"{source}: {rows} rows of {count} columns: at most {MOST_COLUMNS} columns and {MOST_CELLS} cells are "
                "read; leave out columns or older rows"
            )
        table = file.read(use_threads=False)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise SetupError(f"{source}: no Parquet file that can be read: {_cut(printable(str(error)), 200)}") from None
    cells = Cells(source, hashlib.sha256(data).hexdigest(), [], np.arange(1, rows + 1), word="row")
    if not rows:
        raise cells.fault("no rows")
    names = _own_names(table.column_names, cells.notes)
    for name, values in zip(names, table.columns, strict=True):
        column = _typed(name, values)
        if column is None:
            cells.notes.append(f"column '{printable(name)}' left out: {values.type} is no number, time or text")
        else:
            cells.columns.append(column)
    return cells


def _typed(name: str, values: Any) -> Column | None:
    import pyarrow  # noqa: PLC0415 - as above
    from pyarrow import types  # noqa: PLC0415

    kind = values.type
    if types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if types.is_string(kind) or types.is_large_string(kind):
        return Column(name, [(text or "").strip() for text in values.to_pylist()])
    if types.is_timestamp(kind) or types.is_date(kind):
        try:
            moments = values.cast(pyarrow.timestamp("ns", getattr(kind, "tz", None)))
        except pyarrow.ArrowInvalid:
            return None
        return Column(name, times=_numpy(moments, "datetime64[ns]"), utc=getattr(kind, "tz", None) is not None)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return Column(name, numbers=_numpy(values.cast(pyarrow.float64(), safe=False), "float64"))
    return None


def _numpy(values: Any, dtype: str) -> NDArray[Any]:
    array: NDArray[Any] = values.combine_chunks().to_numpy(zero_copy_only=False).astype(dtype)
    return array
