"""Days and moments by the calendar, and the years that can be told.

All arithmetic is that of the wall clock at the moment's own distance from UTC: each day has 24 hours.
Times are int64 nanoseconds since 1970 (numpy's ``datetime64[ns]``), so the years 1678 to 2261 can be told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vinocast.errors import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Times: TypeAlias = NDArray[np.datetime64]
    Steps: TypeAlias = NDArray[np.int64]

FIRST_YEAR, LAST_YEAR = 1678, 2261
FIRST_DAY, LAST_DAY = np.datetime64(f"{FIRST_YEAR}-01-01", "D"), np.datetime64(f"{LAST_YEAR}-12-31", "D")
FIRST_MOMENT = int(FIRST_DAY.astype("datetime64[ns]").astype(np.int64))
LAST_MOMENT = int((LAST_DAY + 1).astype("datetime64[ns]").astype(np.int64)) - 1
SECOND = 10**9
DAY = 86_400 * SECOND
# What stands for a date that does not exist.
NO_DAY = np.iinfo(np.int64).min
# What is longer is no moment and no step, and is not looked at.
MOST_TEXT = 64
MOST_YEARS = LAST_YEAR - FIRST_YEAR
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# As numpy counts the days of a week.
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# 1970-01-01 was a Thursday.
EPOCH_WEEKDAY = 3


def last_day(month: np.datetime64 | NDArray[np.datetime64]) -> NDArray[np.timedelta64]:
    """Return how many days after the first of a month its last is."""
    difference: NDArray[np.timedelta64] = (
        (month + 1).astype("datetime64[D]") - month.astype("datetime64[D]") - np.timedelta64(1, "D")
    )
    return difference


def quoted(text: str) -> str:
    """Return a text in quotes for a message, of a long one what it begins with."""
    return f"'{shown(text[:MOST_TEXT])}'"


def days_of(years: Steps, months: Steps, days: Steps) -> Steps:
    """Return days since 1970 of years, months and days [n]; NO_DAY where there is no such date."""
    known = (years >= FIRST_YEAR) & (years <= LAST_YEAR) & (months >= 1) & (months <= 12)
    numbers = np.where(known, (years - 1970) * 12 + months - 1, 0).astype("datetime64[M]")
    known &= (days >= 1) & (days <= last_day(numbers).astype(np.int64) + 1)
    return np.where(known, numbers.astype("datetime64[D]").astype(np.int64) + days - 1, NO_DAY)


def moment_of(numbers: Sequence[int], nanoseconds: int, text: str) -> int:
    """Return nanoseconds since 1970 of year, month, day, hour, minute, second and a part of a second.

    Raises:
        ValueError: there is no such date or time, or it is before 1678 or after 2261.
    """
    year, month, day, hour, minute, second = numbers
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"expected a year from {FIRST_YEAR} to {LAST_YEAR}, got {quoted(text)}")
    if 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60:
        first = np.datetime64(f"{year:04d}-{month:02d}", "M")
        if 1 <= day <= int(last_day(first).astype(np.int64)) + 1:
            days = int(first.astype("datetime64[D]").astype(np.int64)) + day - 1
            return ((days * 24 + hour) * 60 + minute) * 60 * SECOND + second * SECOND + nanoseconds
    raise ValueError(f"there is no such date or time as {quoted(text)}")
