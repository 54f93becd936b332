"""Series out of a table that somebody else has made, each on a regular step, and what was found on the way.

A wide table has a row for each time and a column for each series; a long one names the series in a column. Whatever is
unclear is refused with what to do about it, and whatever is mended is said, in :attr:`Table.notes`.
"""

from __future__ import annotations

import difflib
import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from vinocast.data.cells import EMPTY, MOST_CELLS, Cells, Column, read_cells
from vinocast.data.figures import find_decimal, read_numbers, read_plain
from vinocast.data.moments import MomentError, Moments, looks_like_time, read_moments
from vinocast.data.times import FIRST_YEAR, LAST_YEAR, SECOND, Form, Frequency, infer_frequency
from vinocast.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.data.figures import Decimal
    from vinocast.data.moments import DayOrder
    from vinocast.data.times import Steps, Times

Duplicates = Literal["refuse", "first", "last"]

MOST_ITEMS = 100_000
# Names of columns, in small letters and digits alone.
TIME_NAMES = frozenset(
    ("date", "datetime", "dateandtime", "timestamp", "timestamps", "time", "times", "ds", "ts", "dt", "t", "day",
     "hour", "month", "quarter", "year", "week", "period", "opentime", "starttime", "datum", "zeit", "zeitstempel",
     "utc", "timeutc", "datetimeutc", "unix", "unixtime", "epoch", "step", "index", "second", "seconds")
)  # fmt: skip
ITEM_NAMES = frozenset(
    ("itemid", "uniqueid", "seriesid", "tsid", "id", "item", "series", "key", "ticker", "symbol", "sensor", "meter",
     "sku")
)  # fmt: skip
TARGET_NAMES = frozenset(("target", "y", "value", "values"))
INDEX_NAMES = frozenset(("unnamed0", "index", "rowid", "rownumber", "rownum", "no", "nr", "id"))
CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?[AaPp][Mm])?", re.ASCII)
# Of a step, as far as a time may lie beside it and be put on it.
JITTER = 0.1
# The first second that a number counts in nanoseconds, microseconds, milliseconds and seconds since 1970.
EPOCHS = ((1e17, 1), (1e14, 10**3), (1e11, 10**6), (1e8, SECOND))
# What is measured by a clock that is a little late is measured at one of these.
ROUND_STEPS = tuple(
    count * size * SECOND
    for size, counts in (
        (1, (1, 2, 5, 10, 15, 20, 30)),
        (60, (1, 2, 5, 10, 15, 20, 30)),
        (3600, (1, 2, 3, 4, 6, 8, 12, 24)),
    )
    for count in counts
)
FLOAT32_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TableOptions:
    """What a user says of a table; what is not said is found.

    Attributes:
        columns: names of those to take.
        time: the name of the column of the times.
        item: the name of the column that says which series a row belongs to.
        dates: whether days or months come first.
        decimal: what begins a fraction.
        duplicates: which of several rows of one time is taken.
    """

    columns: tuple[str, ...] = ()
    time: str | None = None
    item: str | None = None
    dates: DayOrder | None = None
    decimal: Decimal | None = None
    duplicates: Duplicates = "refuse"


@dataclass(frozen=True)
class Item:
    """The series of one item, a column each.

    Attributes:
        name: as the table has it; None of a wide table's only one.
        first: the time of the first step, nanoseconds since 1970.
        values: float64 [steps, columns], oldest first, each within float32; NaN where the table has nothing.
        lines: int64 [steps], the line of each in the file; 0 where the table has no row.
    """

    name: str | None
    first: int
    values: NDArray[np.float64]
    lines: Steps


@dataclass
class Table:
    """What a file holds.

    Attributes:
        source: its name, for messages.
        sha256: of its bytes.
        columns: the names of the series of each item.
        items: one of a wide table.
        frequency: from one step to the next.
        form: how times are written; a number for each step where they are counted.
        time: the name of the column of the times, ``step`` where there is none.
        item: the name of the column of the items; None of a wide table.
        counted: whether the times are numbers that only count.
        word: what the lines are called, ``line`` or ``row``.
        notes: what was found and what was done about it, a sentence each.
    """

    source: str
    sha256: str
    columns: tuple[str, ...]
    items: list[Item]
    frequency: Frequency
    form: Form
    time: str
    item: str | None
    counted: bool
    word: str
    notes: list[str] = field(default_factory=list)

    @property
    def step(self) -> str:
        """The step from one time to the next, in words."""
        return f"{self.frequency.nanoseconds / self.form.epoch:g}" if self.counted else str(self.frequency)

    def times(self, item: Item, first: int, count: int) -> Times:
        """Return the times of an item's steps, from so many after its first one on, datetime64[ns] [count].

        Raises:
            ValueError: a time before 1678 or after 2261.
        """
        return self.frequency.after(item.first, np.arange(first, first + count))

    def place(self, item: Item, step: int, column: int) -> str:
        """Return where a value stands in the file, or after which line it is missing, for a message."""
        line = int(item.lines[step])
        before = int(item.lines[: step + 1].max())
        where = f"{self.word} {line}" if line else f"no row of {self.form.write(self.times(item, step, 1))[0]}"
        where += "" if line else f" (the one before is {self.word} {before})"
        name = f"{self.item} '{printable(item.name)}', " if item.name is not None else ""
        return f"{self.source}: {name}{where}, column '{printable(self.columns[column])}'"


def read_table(path: Path, options: TableOptions = TableOptions()) -> Table:
    """Read a wide or a long table from a CSV or Parquet file; ``-`` is standard input.

    Raises:
        SetupError: it cannot be read, or not in one way alone; the message names the line and the column.
    """
    return _Reader(read_cells(path), options).table()


def plain_name(name: str) -> str:
    """Return a column's name in small letters and digits alone, by which it is known whoever wrote it."""
    return "".join(filter(str.isalnum, name.lower()))


@dataclass
class _Time:
    """The times of rows [rows]."""

    name: str
    times: Times
    form: Form
    counted: bool = False


class _Reader:
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
        # What is read as numbers: what is left of it when times and items are found.
        self.left = dict(self.columns)
        for taken in (options.time, options.item):
            self.left.pop(taken or "", None)

    def table(self) -> Table:
        time = self.find_time()
        if time is not None:
            self.left.pop(time.name, None)
        item, names, codes = self.find_items(time)
        values = self.read_values(time)
        columns = self.choose(values, long=item is not None)
        matrix = np.column_stack([values[name] for name in columns])
        every = np.column_stack(list(values.values()))
        if time is None:
            # A position within each item, counted from 1.
            positions = np.empty(self.rows, np.int64)
            for code in range(len(names)):
                (of_item,) = np.nonzero(codes == code) if len(names) > 1 else (np.arange(self.rows),)
                positions[of_item] = np.arange(1, len(of_item) + 1)
            time = _Time("step", (positions * SECOND).astype("datetime64[ns]"), Form(epoch=SECOND), counted=True)
            self.notes.append("no column of times: steps are counted")
        self.drop_copies(time, codes, matrix, every)
        items, frequency = self.lay_out(time, names, codes, matrix)
        table = Table(
            self.cells.source, self.cells.sha256, columns, items, frequency, time.form, time.name, item, time.counted,
            self.cells.word, self.notes,
        )  # fmt: skip
        self.tell_gaps(table)
        return table

    # -- times

    def find_time(self) -> _Time | None:
        if self.options.time is not None:
            column = self.columns[self.options.time]
            found = self.as_time(column, named=True) or self.as_numbers_of_time(column)
            if found is None:
                raise self.cells.fault("no times: expected dates, times, or numbers that rise", column=column.name)
            return found
        named = [column for column in self.left.values() if plain_name(column.name) in TIME_NAMES]
        others = [column for column in self.left.values() if plain_name(column.name) not in TIME_NAMES]
        for column in (*named, *others):
            first = column is self.cells.columns[0]
            if found := self.as_time(column, named=plain_name(column.name) in TIME_NAMES or first):
                return found
        for column in named:
            if found := self.as_numbers_of_time(column):
                return found
        self.check_names_of_time(named)
        first_column = self.cells.columns[0]
        if len(self.left) > 1 and first_column.name in self.left and self.counts_rows(first_column):
            return self.as_numbers_of_time(first_column)
        return None

    def check_names_of_time(self, named: Sequence[Column]) -> None:
        """Raise SetupError for texts that should be times, by their column's name: else steps would only be counted."""
        for column in named:
            for row, text in enumerate(column.texts or []):
                if text and read_numbers([text], ".")[1][0]:
                    raise self.cells.fault(
                        f"'{printable(text[:40])}' is no date or time that can be read: write 2026-01-31 12:00, or "
                        "take the column out and steps are counted",
                        row,
                        column.name,
                    )

    def as_time(self, column: Column, *, named: bool) -> _Time | None:
        if column.times is not None:
            if (bad := _first(np.isnat(column.times))) is not None:
                raise self.cells.fault("no time", bad, column.name)
            outside = (column.times.astype("datetime64[Y]").astype(np.int64) + 1970 < FIRST_YEAR) | (
                column.times.astype("datetime64[Y]").astype(np.int64) + 1970 > LAST_YEAR
            )
            if (bad := _first(outside)) is not None:
                raise self.cells.fault(f"a time outside the years {FIRST_YEAR} to {LAST_YEAR}", bad, column.name)
            clock = "%H:%M:%S" if (column.times.astype("datetime64[D]") != column.times).any() else ""
            zone = ("Z", 0) if column.utc else ("", None)
            return _Time(column.name, column.times, Form("%Y-%m-%d", "T" if zone[0] else " ", clock, 0, *zone))
        texts = column.texts
        if texts is None:
            return None
        example = next(filter(None, texts), "")
        compact = named and len(example) == 8 and example.isdecimal() and all(len(text) == 8 for text in texts)
        if not compact and not looks_like_time(example):
            return None
        try:
            moments = self.read_times(texts)
        except MomentError as error:
            if compact or not named:
                return None
            raise self.cells.fault(str(error), error.row, column.name) from None
        name = column.name
        if not moments.form.clock and (clock_column := self.find_clock()):
            moments = self.read_times(
                [f"{day} {clock}" for day, clock in zip(texts, clock_column.texts or [], strict=True)]
            )
            del self.left[clock_column.name]
            self.left.pop(name, None)
            self.notes.append(f"times are of the columns '{printable(name)}' and '{printable(clock_column.name)}'")
            name = f"{name} {clock_column.name}"
        self.notes += moments.notes
        return _Time(name, moments.times, moments.form)

    def read_times(self, texts: list[str]) -> Moments:
        for row, text in enumerate(texts):
            if not text:
                raise MomentError("no time", row)
        return read_moments(texts, self.options.dates)

    def find_clock(self) -> Column | None:
        for column in self.left.values():
            if (
                column.texts is not None
                and CLOCK.fullmatch(column.texts[0])
                and all(map(CLOCK.fullmatch, column.texts))
            ):
                return column
        return None

    def numbers_of(self, column: Column) -> NDArray[np.float64] | None:
        return column.numbers if column.texts is None else read_plain(column.texts)

    def counts_rows(self, column: Column) -> bool:
        numbers = self.numbers_of(column)
        return numbers is not None and len(numbers) > 2 and bool((np.diff(numbers) == 1).all())

    def as_numbers_of_time(self, column: Column) -> _Time | None:
        numbers = self.numbers_of(column)
        if numbers is None or np.isnan(numbers).any():
            return None
        most = float(np.abs(numbers).max())
        whole = bool((numbers == np.round(numbers)).all())
        if plain_name(column.name) == "year" and whole and FIRST_YEAR <= numbers.min() <= most <= LAST_YEAR:
            years = (numbers.astype(np.int64) - 1970).astype("datetime64[Y]")
            return _Time(column.name, years.astype("datetime64[ns]"), Form("%Y"))
        unit = next((unit for least, unit in EPOCHS if most >= least and numbers.min() > 0), None)
        rises = bool((np.diff(numbers) > 0).all() or (np.diff(numbers) < 0).all())
        if unit is None and not rises and self.options.time is None and not self.has_items():
            return None
        if most * (unit or SECOND) >= 2.0**63:
            raise self.cells.fault("a number too large to be a time", int(np.abs(numbers).argmax()), column.name)
        exact = column.texts is not None and whole
        integers = [int(float(text)) for text in column.texts or []] if exact else None
        nanoseconds = (
            np.array(integers, np.int64) * (unit or SECOND)
            if integers is not None
            else np.round(numbers * (unit or SECOND)).astype(np.int64)
        )
        if unit is not None:
            words = {1: "nanoseconds", 10**3: "microseconds", 10**6: "milliseconds", SECOND: "seconds"}
            self.notes.append(f"'{printable(column.name)}' is read as {words[unit]} since 1970")
        else:
            self.notes.append(f"'{printable(column.name)}' is read as a count of steps")
        return _Time(
            column.name, nanoseconds.astype("datetime64[ns]"), Form(epoch=unit or SECOND), counted=unit is None
        )

    def has_items(self) -> bool:
        return self.options.item is not None or any(plain_name(name) in ITEM_NAMES for name in self.left)

    # -- items

    def find_items(self, time: _Time | None) -> tuple[str | None, list[str | None], Steps]:
        """Return the column of the items, their names in order, and of each row [rows] which it is."""
        if self.options.item is not None:
            return self.group(self.columns[self.options.item])
        together = time is not None and not (np.diff(np.sort(time.times)) > np.timedelta64(0)).all()
        if time is None or together:
            for column in self.left.values():
                if plain_name(column.name) in ITEM_NAMES and self.repeats(column):
                    return self.group(column)
        if together and time is not None:
            apart = [column for column in self.left.values() if self.sets_apart(column, time)]
            if len(apart) == 1:
                self.notes.append(f"a long table: its series are named by '{printable(apart[0].name)}'")
                return self.group(apart[0])
            if len(apart) > 1:
                names = " or ".join(f"'{column.name}'" for column in apart)
                raise self.cells.fault(
                    f"several rows for each time: say with --id which of {printable(names)} names them"
                )
        return None, [None], np.zeros(self.rows, np.int64)

    def repeats(self, column: Column) -> bool:
        return 1 < len(set(_texts(column))) < self.rows

    def sets_apart(self, column: Column, time: _Time) -> bool:
        """Whether a column of texts names, of the rows of each time, a different one each."""
        if column.texts is None or self.is_numeric(column) or not self.repeats(column):
            return False
        return len(set(zip(column.texts, time.times.astype(np.int64).tolist(), strict=True))) == self.rows

    def is_numeric(self, column: Column) -> bool:
        return column.texts is None or read_plain(column.texts) is not None

    def group(self, column: Column) -> tuple[str, list[str | None], Steps]:
        self.left.pop(column.name, None)
        texts = _texts(column)
        places: dict[str, int] = {}
        codes = np.fromiter((places.setdefault(text, len(places)) for text in texts), np.int64, self.rows)
        if "" in places:
            raise self.cells.fault("no name of a series", texts.index(""), column.name)
        if len(places) > MOST_ITEMS:
            raise self.cells.fault(
                f"{len(places)} series, more than the {MOST_ITEMS} that are read", column=column.name
            )
        return column.name, list(places), codes

    # -- values

    def read_values(self, time: _Time | None) -> dict[str, NDArray[np.float64]]:
        """Return the columns of numbers, each float64 [rows]; tell of those that are left out."""
        plain = {name: self.numbers_of(column) for name, column in self.left.items() if column.times is None}
        decimal = self.find_decimal(plain)
        values: dict[str, NDArray[np.float64]] = {}
        left_out: list[str] = []
        for name, column in self.left.items():
            numbers = plain.get(name)
            texts = column.texts
            if texts is not None and (numbers is None or (decimal == "," and any("." in text for text in texts))):
                numbers = self.read_written(name, texts, decimal)
            wanted = name in self.options.columns
            if numbers is not None and np.isnan(numbers).all():
                if wanted:
                    raise self.cells.fault("no number in any row", column=name)
                numbers = None
            if numbers is None or (time is not None and not wanted and self.is_index(name, numbers)):
                left_out.append(name)
                continue
            if (bad := _first(np.abs(np.nan_to_num(numbers)) > FLOAT32_MOST)) is not None:
                raise self.cells.fault("a number beyond float32", bad, name)
            values[name] = numbers
        if left_out:
            names = ", ".join(f"'{printable(name)}'" for name in left_out[:5]) + ", …" * (len(left_out) > 5)
            self.notes.append(f"left out, as no numbers to forecast: {names}")
        if not values:
            written = ((name, self.left[name].texts or []) for name in left_out)
            found = next(((name, row, text) for name, each in written for row, text in enumerate(each) if text), None)
            if found is None:
                raise self.cells.fault("no column of numbers to forecast")
            name, row, text = found
            raise self.cells.fault(f"no column of numbers to forecast, and '{printable(text[:40])}' is none", row, name)
        return values

    def find_decimal(self, plain: dict[str, NDArray[np.float64] | None]) -> Decimal:
        decimal: Decimal | None = self.options.decimal or ("," if self.cells.decimal_comma else None)
        written = {name: texts for name, column in self.left.items() if (texts := column.texts) is not None}
        if decimal is None:
            commas = any("," in text for name, texts in written.items() if plain[name] is None for text in texts)
            decimal = find_decimal(written.values()) if commas else "."
            if decimal is None:
                raise self.unclear_numbers(written)
        if decimal == ",":
            self.notes.append("numbers have decimal commas")
        return decimal

    def is_index(self, name: str, numbers: NDArray[np.float64]) -> bool:
        unnamed = name.startswith("column_") or plain_name(name) in INDEX_NAMES
        return unnamed and len(numbers) > 2 and bool((np.abs(np.diff(numbers)) == 1).all())

    def read_written(self, name: str, texts: list[str], decimal: Decimal) -> NDArray[np.float64] | None:
        """Return the numbers of a column; None of one that holds texts."""
        numbers, wrong = read_numbers(texts, decimal)
        bad = _first(wrong)
        if bad is None:
            return numbers
        filled = sum(text.lower() not in EMPTY for text in set(texts) | {texts[bad]})
        strange = len({text for text, is_wrong in zip(texts, wrong, strict=True) if is_wrong})
        wanted = name in self.options.columns
        if 2 * strange >= filled:
            if wanted:
                raise self.cells.fault(f"'{printable(texts[bad][:40])}' is no number: it cannot be forecast", bad, name)
            return None
        if self.options.columns and not wanted:
            return None
        raise self.cells.fault(
            f"'{printable(texts[bad][:40])}' is no number: leave the cell empty where there is none", bad, name
        )

    def unclear_numbers(self, written: dict[str, list[str]]) -> Exception:
        for name, texts in written.items():
            for row, text in enumerate(texts):
                if "," in text and not read_numbers([text], ",")[1][0]:
                    return self.cells.fault(
                        f"the comma of '{printable(text)}' may begin a fraction or set thousands apart, and the other "
                        "rows do not tell which: say --decimal , or --decimal .",
                        row,
                        name,
                    )
        raise AssertionError(written)

    def choose(self, values: dict[str, NDArray[np.float64]], *, long: bool) -> tuple[str, ...]:
        if self.options.columns:
            for name in self.options.columns:
                if name not in values:
                    raise self.cells.fault("no numbers: it holds times or the names of series", column=name)
            return self.options.columns
        targets = [name for name in values if plain_name(name) in TARGET_NAMES]
        if long and targets and len(values) > 1:
            others = ", ".join(f"'{printable(name)}'" for name in values if name != targets[0])
            self.notes.append(f"only '{printable(targets[0])}' is forecast, and not {others}: --columns chooses")
            return (targets[0],)
        return tuple(values)

    # -- rows

    def drop_copies(self, time: _Time, codes: Steps, matrix: NDArray[np.float64], every: NDArray[np.float64]) -> None:
        """Empty the rows that stand out of order and repeat one beside them, an exporter's fault."""
        if every.shape[1] < 2 or len(set(codes.tolist())) > 1:
            return
        rising, falling = time.times[1:] > time.times[:-1], time.times[1:] < time.times[:-1]
        wrong = rising if falling.sum() > rising.sum() else falling
        if not wrong.any() or wrong.sum() * 10 > self.rows:
            return
        # The rows on both sides of a step back, and those beside them.
        (places,) = np.nonzero(wrong)
        near = np.unique(np.clip(places[:, None] + np.arange(-1, 3), 0, self.rows - 1))
        seen: dict[bytes, int] = {}
        copies: list[tuple[int, int]] = []
        for row in near[np.argsort(time.times[near], kind="stable")].tolist():
            original = seen.setdefault(every[row].tobytes(), row)
            if original != row and time.times[row] != time.times[original]:
                copies.append((row, original))
        if not copies:
            return
        row, original = copies[0]
        first, of = time.form.write(time.times[[row, original]])
        self.notes.append(
            f"{_rows(len(copies))} out of order and a copy of one beside it ({first} in {self.cells.word} "
            f"{self.cells.lines[row]} repeats {of} in {self.cells.word} {self.cells.lines[original]}): taken as missing"
        )
        matrix[[row for row, _ in copies]] = np.nan

    def lay_out(
        self, time: _Time, names: Sequence[str | None], codes: Steps, matrix: NDArray[np.float64]
    ) -> tuple[list[Item], Frequency]:
        times = time.times.astype(np.int64)
        same = codes[1:] == codes[:-1]
        rising, falling = same & (times[1:] > times[:-1]), same & (times[1:] < times[:-1])
        newest_first = bool(falling.sum() > rising.sum())
        order = np.lexsort((-np.arange(self.rows) if newest_first else np.arange(self.rows), times, codes))
        if newest_first:
            self.notes.append("the newest row comes first: put in order")
        astray = rising if newest_first else falling
        if astray.any():
            row, count = int(astray.argmax()) + 1, int(astray.sum())
            self.notes.append(
                f"{_rows(count)} out of order, from {self.cells.word} {self.cells.lines[row]} on: put in order"
            )
        order = self.drop_duplicates(time, codes, matrix, order)
        times, codes, matrix, lines = times[order], codes[order], matrix[order], self.cells.lines[order]
        bounds = np.searchsorted(codes, np.arange(len(names) + 1))
        longest = int(np.diff(bounds).argmax())
        times, frequency = self.find_step(time, times, slice(bounds[longest], bounds[longest + 1]))
        items: list[Item] = []
        total = 0
        for name, start, stop in zip(names, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            places = self.find_places(time, frequency, times[start:stop], order[start:stop])
            steps = int(places[-1]) + 1
            total += steps
            if total * matrix.shape[1] > MOST_CELLS:
                hole = int(np.diff(places).argmax()) if len(places) > 1 else 0
                raise self.cells.fault(
                    f"with a step of {frequency} the rows that are missing make {total} rows, too many to lay out: "
                    "the longest hole is behind this one",
                    int(order[start + hole]),
                )
            values = np.full((steps, matrix.shape[1]), np.nan)
            values[places] = matrix[start:stop]
            of_file = np.zeros(steps, np.int64)
            of_file[places] = lines[start:stop]
            items.append(Item(name, int(times[start]), values, of_file))
        return items, frequency

    def find_step(self, time: _Time, times: Steps, longest: slice) -> tuple[Steps, Frequency]:
        """Return the step of the longest item's rows, and all times [rows], put on it where they lie near."""
        own = times[longest].astype("datetime64[ns]")
        if len(own) < 2:
            if not time.counted:
                raise self.cells.fault("one row: a step from one time to the next cannot be found")
            return times, Frequency(SECOND)
        frequency = infer_frequency(own)
        if not frequency.nanoseconds or time.counted or (frequency.places(own[0], own) >= 0).all():
            return times, frequency
        median = float(np.median(np.diff(times[longest])))
        for step in ROUND_STEPS:
            near = np.round(times / step).astype(np.int64) * step
            if abs(step - median) <= JITTER * step and (np.abs(near - times) <= JITTER * step).all():
                moved = int((near != times).sum())
                self.notes.append(f"{_rows(moved)} a little beside a step of {Frequency(step)}: put on it")
                return near, Frequency(step)
        return times, frequency

    def drop_duplicates(self, time: _Time, codes: Steps, matrix: NDArray[np.float64], order: Steps) -> Steps:
        """Return the order [rows] without the rows whose time an earlier row of the same item has."""
        times = time.times[order]
        again = np.append(False, (times[1:] == times[:-1]) & (codes[order][1:] == codes[order][:-1]))
        if not again.any():
            return order
        (places,) = np.nonzero(again)
        rows, before = matrix[order[places]], matrix[order[places - 1]]
        differ = ~((rows == before) | (np.isnan(rows) & np.isnan(before))).all(axis=1)
        (moment,) = time.form.write(times[places[:1]])
        if differ.any() and self.options.duplicates == "refuse":
            place = int(places[differ.argmax()])
            (moment,) = time.form.write(times[place : place + 1])
            first, second = sorted(self.cells.lines[order[[place - 1, place]]].tolist())
            raise self.cells.fault(
                f"{self.cells.word}s {first} and {second} are both of {moment} and differ: say --duplicates first or "
                "last; a clock that was put back writes an hour twice, which times in UTC do not; a long table names "
                "its series in a column (--id)"
            )
        kept = "first" if self.options.duplicates != "last" or not differ.any() else "last"
        said = f", and {int(differ.sum())} differ: the {kept} is taken" if differ.any() else ", and the same: dropped"
        self.notes.append(f"{_rows(len(places))} of the time of another, from {moment} on{said}")
        drop = again if kept == "first" else np.append(again[1:], False)
        kept_rows: Steps = order[~drop]
        return kept_rows

    def find_places(self, time: _Time, frequency: Frequency, times: Steps, rows: Steps) -> Steps:
        """Return on which step [rows] each of an item's times is."""
        try:
            places = frequency.places(int(times[0]), times.astype("datetime64[ns]"))
        except ValueError as error:
            raise self.cells.fault(str(error), int(rows[-1]), time.name) from None
        beside = np.append(False, np.diff(places) <= 0) | (places < 0)
        if not beside.any():
            return places
        bad = int(beside.argmax())
        moment, before = time.form.write(times[[bad, max(bad - 1, 0)]].astype("datetime64[ns]"))
        raise self.cells.fault(
            f"{moment} follows {before} by something else than whole steps of {frequency}, as most rows do: bring the "
            "rows to one step first, such as with pandas' resample",
            int(rows[bad]),
            time.name,
        )

    def tell_gaps(self, table: Table) -> None:
        """Say how many rows and cells are missing, and where the first is."""
        absent = [int((item.lines == 0).sum()) for item in table.items]
        if any(absent):
            item = table.items[next(place for place, count in enumerate(absent) if count)]
            step = int((item.lines == 0).argmax())
            (moment,) = table.form.write(table.times(item, step, 1))
            whose = f" of '{printable(item.name)}'" if item.name is not None else ""
            rows = sum(len(item.lines) for item in table.items)
            self.notes.append(
                f"{_rows(sum(absent))} of {rows} missing, the first{whose} of {moment}, after {self.cells.word} "
                f"{item.lines[step - 1]}"
            )
        empty = [int((np.isnan(item.values) & (item.lines > 0)[:, None]).sum()) for item in table.items]
        if any(empty):
            item = table.items[next(place for place, count in enumerate(empty) if count)]
            step, column = np.argwhere(np.isnan(item.values) & (item.lines > 0)[:, None])[0].tolist()
            count = f"{sum(empty)} cell{'s' * (sum(empty) != 1)}"
            self.notes.append(
                f"{count} without a number, the first in {self.cells.word} {item.lines[step]}, "
                f"column '{printable(table.columns[column])}'"
            )


def _texts(column: Column) -> list[str]:
    """Return the cells of a column as they would be written."""
    if column.texts is not None:
        return column.texts
    if column.times is not None:
        return [str(time) for time in column.times]
    numbers = column.numbers if column.numbers is not None else np.empty(0)
    return ["" if np.isnan(number) else f"{number:.17g}" for number in numbers.tolist()]


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def _first(which: NDArray[np.bool_]) -> int | None:
    return int(which.argmax()) if which.any() else None
