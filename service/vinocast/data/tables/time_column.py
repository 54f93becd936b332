"""Which column of a table holds the times, if any, and what they are."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.cells import Column, first_of
from vinocast.data.tables.figures import read_numbers
from vinocast.data.tables.items import ITEM_NAMES, has_items
from vinocast.data.tables.moment_parts import MomentError
from vinocast.data.tables.moment_texts import looks_like_time
from vinocast.data.tables.moments import Moments, at_one_clock, read_moments
from vinocast.data.tables.reading import Reading, TimeColumn, numbers_of, plain_name, texts_of
from vinocast.data.tables.values import INDEX_NAMES, TARGET_NAMES
from vinocast.data.times.days import FIRST_YEAR, LAST_MOMENT, LAST_YEAR, SECOND
from vinocast.data.times.form import Form
from vinocast.data.times.frequency import infer_frequency
from vinocast.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.times.days import Steps, Times

# Names of columns, in small letters and digits alone.
TIME_NAMES = frozenset(
    ("date", "datetime", "dateandtime", "timestamp", "timestamps", "time", "times", "ds", "ts", "dt", "t", "day",
     "hour", "month", "quarter", "year", "week", "period", "opentime", "starttime", "datum", "zeit", "zeitstempel",
     "messdatum", "utc", "timeutc", "datetimeutc", "unix", "unixtime", "epoch", "step", "index", "second", "seconds")
)  # fmt: skip
# Of these, those of what counts on, whose six digits are no months.
COUNT_NAMES = frozenset(("unix", "unixtime", "epoch", "step", "index", "second", "seconds"))
# How many digits a month and a day have, and a time of digits alone: a day, or one with hours, minutes or seconds.
MONTH_DIGITS, DAY_DIGITS, COMPACT = 6, 8, (8, 10, 12, 14)
# Of a column that only its place says to be of times.
LEAST_MONTHS = 3
CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?[AaPp][Mm])?", re.ASCII)
# A number of which no digit is lost on the way to nanoseconds.
PLAIN = re.compile(r"[+-]?\d{1,19}(?:\.\d{0,9})?", re.ASCII)
# The first second that a number counts in nanoseconds, microseconds, milliseconds and seconds since 1970.
EPOCHS = ((1e17, 1), (1e14, 10**3), (1e11, 10**6), (1e8, SECOND))


def find_time(reading: Reading) -> TimeColumn | None:
    """Return the column of the times; None where there is none.

    Raises:
        SetupError: the column that the user names holds no times, or one holds some that cannot be read.
    """
    if reading.options.time is not None:
        column = reading.columns[reading.options.time]
        found = (
            _as_time(reading, column, named=True) or _as_months(reading, column) or _as_numbers_of_time(reading, column)
        )
        if found is None:
            raise reading.cells.fault("no times: expected dates, times, or numbers that rise", column=column.name)
        return found
    named = [column for column in reading.left.values() if plain_name(column.name) in TIME_NAMES]
    others = [column for column in reading.left.values() if plain_name(column.name) not in TIME_NAMES]
    for column in named:
        if found := _as_time(reading, column, named=True):
            return found
    months = list(filter(None, (_as_months(reading, column) for column in named)))
    # Months that come again may be of another column's times, such as the period that each day is of.
    if found := next((each for each in months if len(np.unique(each.times)) == reading.rows), None):
        return found
    for column in others:
        if found := _as_time(reading, column, named=column is reading.cells.columns[0]):
            return found
    if months:
        return months[0]
    for column in named:
        if found := _as_numbers_of_time(reading, column):
            return found
    _check_names_of_time(reading, named)
    first = reading.cells.columns[0]
    return _first_as_time(reading, first) if len(reading.left) > 1 and first.name in reading.left else None


def _first_as_time(reading: Reading, column: Column) -> TimeColumn | None:
    """Return months, or a count of rows, that nothing but their place before other columns says to be times."""
    if (months := _as_months(reading, column)) and _are_in_a_row(months, column):
        return months
    return _as_numbers_of_time(reading, column) if _counts_rows(column) else None


def _check_names_of_time(reading: Reading, named: Sequence[Column]) -> None:
    """Raise SetupError for texts that should be times, by their column's name: else steps would only be counted."""
    for column in named:
        for row, text in enumerate(column.texts or []):
            if text and read_numbers([text], ".")[1][0]:
                raise reading.cells.fault(
                    f"'{printable(text[:40])}' is no date or time that can be read: write 2026-01-31 12:00, or "
                    "take the column out and steps are counted",
                    row,
                    column.name,
                )


def _as_time(reading: Reading, column: Column, *, named: bool) -> TimeColumn | None:
    if column.times is not None:
        if (bad := first_of(np.isnat(column.times))) is not None:
            raise reading.cells.fault("no time: leave the row out, or write its time", bad, column.name)
        outside = (column.times.astype("datetime64[Y]").astype(np.int64) + 1970 < FIRST_YEAR) | (
            column.times.astype("datetime64[Y]").astype(np.int64) + 1970 > LAST_YEAR
        )
        if (bad := first_of(outside)) is not None:
            raise reading.cells.fault(f"a time outside the years {FIRST_YEAR} to {LAST_YEAR}", bad, column.name)
        times, zone, offset = column.times, "Z" if column.utc else "", 0 if column.utc else None
        midnights = (times.astype("datetime64[D]") == times).all()  # of UTC, whatever zone the file names
        if column.local is not None and not midnights and (column.local != times).any() and at_one_clock(column.local):
            # Days of a place, which are no days of UTC: they begin at its midnight, and some have 23 hours or 25.
            newest = int(times.argmax())
            offset = int((column.local[newest] - times[newest]).astype("timedelta64[m]").astype(np.int64))
            zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
            times = column.local
            reading.notes.append(
                f"'{printable(column.name)}' has days of a zone, laid out by day; those that follow are written with "
                f"{zone}"
            )
        clock = "%H:%M:%S" if zone or (times.astype("datetime64[D]") != times).any() else ""
        return TimeColumn(column.name, times, Form("%Y-%m-%d", "T" if zone else " ", clock, 0, zone, offset))
    texts = column.texts
    if texts is None:
        # Numbers are looked at as they would be written.
        if not named or column.numbers is None or f"{column.numbers[0]:.17g}".strip("0123456789"):
            return None
        texts = texts_of(column)
    example = next(filter(None, texts), "")
    compact = (
        named and len(example) in COMPACT and example.isdecimal() and all(len(text) == len(example) for text in texts)
    )
    if not compact and not looks_like_time(example):
        return None
    try:
        moments = _read_compact(reading, texts) if compact else _read_times(reading, texts)
    except MomentError as error:
        if compact or not named:
            return None
        raise reading.cells.fault(str(error), error.row, column.name) from None
    name = column.name
    if not moments.form.clock and (clock_column := _find_clock(reading)):
        moments = _read_times(
            reading, [f"{day} {clock}" for day, clock in zip(texts, clock_column.texts or [], strict=True)]
        )
        del reading.left[clock_column.name]
        reading.left.pop(name, None)
        reading.notes.append(f"times are of the columns '{printable(name)}' and '{printable(clock_column.name)}'")
        name = f"{name} {clock_column.name}"
    reading.notes += moments.notes
    return TimeColumn(name, moments.times, moments.form)


def _read_compact(reading: Reading, texts: list[str]) -> Moments:
    """Read times of digits alone, all as long: a day, and what there is of a clock behind it.

    Raises:
        MomentError: one is no such time. With a clock, one before 1900 or after 2100 is none: they may be numbers that
            count, as seconds since 1970 are.
    """
    if len(texts[0]) == DAY_DIGITS:
        return _read_times(reading, texts)
    moments = _read_times(reading, [f"{text[:DAY_DIGITS]} {text[DAY_DIGITS:]}" for text in texts])
    if (bad := first_of(_outside_usual(moments.times))) is not None:
        raise MomentError(f"a year before 1900 or after 2100: '{printable(texts[bad])}'", bad)
    return replace(moments, form=replace(moments.form, join=""))


def _as_months(reading: Reading, column: Column) -> TimeColumn | None:
    """Return a column of months of six digits, such as 202601; None where one is none of 1900 to 2100."""
    if plain_name(column.name) in COUNT_NAMES:
        return None
    texts = column.texts
    if texts is None:
        if column.numbers is None or len(f"{column.numbers[0]:.17g}") != MONTH_DIGITS:
            return None
        texts = texts_of(column)
    if not all(len(text) == MONTH_DIGITS and text.isdecimal() for text in texts):
        return None
    try:
        moments = _read_times(reading, [f"{text[:4]}-{text[4:]}" for text in texts])
    except MomentError:
        return None
    if _outside_usual(moments.times).any():
        return None
    return TimeColumn(column.name, moments.times, replace(moments.form, date="%Y%m"))


def _are_in_a_row(months: TimeColumn, column: Column) -> bool:
    """Whether numbers that may be months are some: most follow one another, in each series of a long table too."""
    if plain_name(column.name) in ITEM_NAMES | INDEX_NAMES | TARGET_NAMES:
        return False
    times = np.unique(months.times)
    if len(times) < LEAST_MONTHS:
        return False
    moves = np.abs(np.diff(months.times.astype("datetime64[M]").astype(np.int64)))
    follows = int((moves == infer_frequency(times).months).sum())
    return 2 * follows > int((moves > 0).sum())


def _outside_usual(times: Times) -> NDArray[np.bool_]:
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    outside: NDArray[np.bool_] = (years < 1900) | (years > 2100)
    return outside


def _read_times(reading: Reading, texts: list[str]) -> Moments:
    for row, text in enumerate(texts):
        if not text:
            raise MomentError("no time: leave the row out, or write its time", row)
    return read_moments(texts, reading.options.dates)


def _find_clock(reading: Reading) -> Column | None:
    for column in reading.left.values():
        if column.texts is not None and CLOCK.fullmatch(column.texts[0]) and all(map(CLOCK.fullmatch, column.texts)):
            return column
    return None


def _counts_rows(column: Column) -> bool:
    numbers = numbers_of(column)
    return numbers is not None and len(numbers) > 2 and bool((np.diff(numbers) == 1).all())


def _as_numbers_of_time(reading: Reading, column: Column) -> TimeColumn | None:
    numbers = numbers_of(column)
    if numbers is None or np.isnan(numbers).any():
        return None
    most = float(np.abs(numbers).max())
    whole = bool((numbers == np.round(numbers)).all())
    if plain_name(column.name) == "year" and whole and FIRST_YEAR <= numbers.min() <= most <= LAST_YEAR:
        years = (numbers.astype(np.int64) - 1970).astype("datetime64[Y]")
        return TimeColumn(column.name, years.astype("datetime64[ns]"), Form("%Y"))
    unit = next((unit for least, unit in EPOCHS if most >= least and numbers.min() > 0), None)
    rises = bool((np.diff(numbers) > 0).all() or (np.diff(numbers) < 0).all())
    if unit is None and not rises and reading.options.time is None and not has_items(reading):
        return None
    if most * (unit or SECOND) > LAST_MOMENT:
        raise reading.cells.fault("a number too large to be a time", int(np.abs(numbers).argmax()), column.name)
    nanoseconds = _count(column, numbers, unit or SECOND)
    if unit is not None:
        words = {1: "nanoseconds", 10**3: "microseconds", 10**6: "milliseconds", SECOND: "seconds"}
        reading.notes.append(f"'{printable(column.name)}' is read as {words[unit]} since 1970")
    else:
        reading.notes.append(f"'{printable(column.name)}' is read as a count of steps")
    return TimeColumn(
        column.name, nanoseconds.astype("datetime64[ns]"), Form(epoch=unit or SECOND), counted=unit is None
    )


def _count(column: Column, numbers: NDArray[np.float64], unit: int) -> Steps:
    """Return the numbers of a column [rows] in nanoseconds, where one is so many, int64 [rows].

    By the digits that are written: of nanoseconds since 1970 float64 holds every 256th.
    """
    if column.integers is not None:
        return column.integers * unit
    if column.texts is None and (numbers == np.round(numbers)).all():
        return numbers.astype(np.int64) * unit
    counts = [
        # As it would be written: 0.001 is that, and not the number of float64 beside it.
        round(Decimal(text if PLAIN.fullmatch(text) else repr(number)) * unit)
        for text, number in zip(column.texts or map(repr, numbers.tolist()), numbers.tolist(), strict=True)
    ]
    return np.array(counts, np.int64)
