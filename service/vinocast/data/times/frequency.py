"""The step from one point of a series to the next: the times that follow, and which times fall on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vinocast.data.times.days import (
    DAY,
    EPOCH_WEEKDAY,
    FIRST_DAY,
    FIRST_MOMENT,
    FIRST_YEAR,
    LAST_DAY,
    LAST_MOMENT,
    LAST_YEAR,
    MOST_YEARS,
    SECOND,
    last_day,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from vinocast.data.times.days import Steps, Times

MOST_INT64 = np.iinfo(np.int64).max
# Nanoseconds of what is always as long, by its words; the last of each is what a step is told by.
FIXED: dict[int, tuple[str, ...]] = {
    1: ("ns", "N", "nanosecond"),
    10**3: ("us", "U", "microsecond"),
    10**6: ("ms", "L", "millisecond"),
    SECOND: ("s", "S", "sec", "second"),
    60 * SECOND: ("min", "T", "minute"),
    3600 * SECOND: ("h", "H", "hour"),
    DAY: ("D", "d", "day"),
    7 * DAY: ("W", "w", "week"),
}
# Months of what is not, and which day of the month is meant: that of the first point ("same"; "sticky": the last day
# where that is one), the first, or the last.
Day = Literal["same", "sticky", "start", "end"]


@dataclass(frozen=True)
class Frequency:
    """The step from one point of a series to the next.

    Attributes:
        nanoseconds: of a step that is always as long; 0 of any other.
        months: of a step by the calendar; 0 of any other.
        business_days: of a step by working days, Monday to Friday; 0 of any other.
        day: of the month, where there are months.
        anchor: the weekday (0 is Monday) or month (1 is January) that the points fall on; None for that of the first.
    """

    nanoseconds: int = 0
    months: int = 0
    business_days: int = 0
    day: Day = "same"
    anchor: int | None = None

    def after(self, first: np.datetime64 | int, steps: ArrayLike) -> Times:
        """Return the times so many steps after that of a first point, datetime64[ns] of the shape of ``steps``.

        A first point that does not fall where the points are to, such as a Wednesday with W-MON, stands for the next
        that does, as in pandas.

        Raises:
            ValueError: a time before 1678 or after 2261.
        """
        steps = np.asarray(steps, np.int64)
        moment = np.datetime64(int(first), "ns") if not isinstance(first, np.datetime64) else first
        moment = moment.astype("datetime64[ns]")
        day = moment.astype("datetime64[D]")
        clock = moment - day.astype("datetime64[ns]")
        if self.nanoseconds:
            if self.anchor is not None:
                moment = moment + np.timedelta64((self.anchor - _weekday(day)) % 7, "D")
            start = int(moment.astype(np.int64))
            ends = [start + int(step) * self.nanoseconds for step in (steps.min(), steps.max())] if steps.size else []
            if not all(FIRST_MOMENT <= end <= LAST_MOMENT for end in ends):
                raise ValueError(_outside())
            with np.errstate(over="ignore"):  # what has gone around comes back: the sum is within int64
                times: Times = np.asarray(start + steps * self.nanoseconds).astype("datetime64[ns]")
            return times
        size = self.months * 31 + self.business_days * 2
        if steps.size and int(np.abs(steps).max()) * size > 4 * MOST_YEARS * 366:
            raise ValueError(_outside())
        if self.business_days:
            days = np.busday_offset(day, steps * self.business_days, roll="forward")
        else:
            days = self._dates(day, steps)
        if days.size and not (days.min() >= FIRST_DAY and days.max() <= LAST_DAY):
            raise ValueError(_outside())
        moved: Times = days.astype("datetime64[ns]") + clock
        return moved

    def _dates(self, day: np.datetime64, steps: Steps) -> NDArray[np.datetime64]:
        month = day.astype("datetime64[M]")
        of_month = int((day - month.astype("datetime64[D]")).astype(np.int64))
        last = int(last_day(month).astype(np.int64))
        kind: Day = self.day
        if kind == "sticky":
            kind = "end" if of_month == last else "same"
        number = int(month.astype(np.int64))
        if self.anchor is not None:
            number += (self.anchor - 1 - number) % min(self.months, 12)
        if number == int(month.astype(np.int64)) and kind == "start" and of_month > 0:
            number += 1 if self.anchor is None else min(self.months, 12)
        months = (number + steps * self.months).astype("datetime64[M]")
        starts = months.astype("datetime64[D]")
        if kind == "start":
            return starts
        ends = last_day(months)
        dates: NDArray[np.datetime64] = starts + (
            ends if kind == "end" else np.minimum(np.timedelta64(of_month, "D"), ends)
        )
        return dates

    def places(self, first: np.datetime64 | int, times: Times) -> Steps:
        """Return how many steps after a first point each time is, int64 of the shape of ``times``; -1 for none.

        Those before the first point are at -1 as well.
        """
        start = self.after(first, 0)
        times = times.astype("datetime64[ns]")
        if self.nanoseconds:
            steps = (_distances(start, times) // np.uint64(self.nanoseconds)).astype(np.int64)
        elif self.business_days:
            days = times.astype("datetime64[D]")
            steps = np.busday_count(start.astype("datetime64[D]"), days).astype(np.int64) // self.business_days
        else:
            months = times.astype("datetime64[M]").astype(np.int64)
            steps = (months - int(start.astype("datetime64[M]").astype(np.int64))) // self.months
        steps = np.where(times < start, 0, steps)
        result: Steps = np.where(self.after(first, steps) == times, steps, -1)
        return result

    def __str__(self) -> str:
        """Return it as one would say it, such as ``15 minutes`` or ``1 month``."""
        if self.nanoseconds:
            size = max(size for size in FIXED if self.nanoseconds % size == 0)
            count, word = self.nanoseconds // size, FIXED[size][-1]
        elif self.business_days:
            count, word = self.business_days, "working day"
        else:
            size, word = next((n, w) for n, w in ((12, "year"), (3, "quarter"), (1, "month")) if self.months % n == 0)
            count = self.months // size
        return f"{count} {word}{'s' * (count != 1)}"


def _weekday(day: np.datetime64) -> int:
    return int(day.astype("datetime64[D]").astype(np.int64) + EPOCH_WEEKDAY) % 7


def _outside() -> str:
    return f"a time lies outside the years {FIRST_YEAR} to {LAST_YEAR}"


def infer_frequency(times: Times) -> Frequency:
    """Find the step of times [n], ascending and each once, some of which may be missing.

    It is the distance that most neighbours have. Which times do not fall on it, :meth:`Frequency.places` says.

    Raises:
        ValueError: fewer than two times.
    """
    if len(times) < 2:
        raise ValueError("a step cannot be found in fewer than two times")
    times = times.astype("datetime64[ns]")
    days = times.astype("datetime64[D]")
    clocks = times - days.astype("datetime64[ns]")
    distances = np.minimum(_distances(times[:-1], times[1:]), np.uint64(MOST_INT64)).astype(np.int64)
    if (clocks == clocks[0]).all():
        if distances.min() >= 28 * DAY and (found := _infer_months(days)):
            return found
        weekend = (days.astype(np.int64) + EPOCH_WEEKDAY) % 7 >= 5
        sizes, counts = np.unique(distances, return_counts=True)
        if not weekend.any() and sizes[counts.argmax()] == DAY and len(times) > 5 and 3 * DAY in sizes:
            return Frequency(business_days=1)
    return Frequency(_most_common(distances))


def _infer_months(days: NDArray[np.datetime64]) -> Frequency | None:
    months = days.astype("datetime64[M]")
    of_month = (days - months.astype("datetime64[D]")).astype(np.int64)
    lasts = last_day(months).astype(np.int64)
    step = _most_common(np.diff(months.astype(np.int64)).astype(np.int64))
    if (of_month == 0).all():
        return Frequency(months=step, day="start")
    if (of_month == lasts).all():
        return Frequency(months=step, day="end")
    if (of_month == np.minimum(of_month.max(), lasts)).all():
        return Frequency(months=step)
    return None


def _distances(before: Times | np.datetime64, after: Times) -> NDArray[np.uint64]:
    """Return nanoseconds [n] from earlier times to later ones, which may be more than int64 holds: 292 years."""
    with np.errstate(over="ignore"):
        return (after.astype(np.int64) - before.astype(np.int64)).astype(np.uint64)


def _most_common(distances: Steps) -> int:
    sizes, counts = np.unique(distances, return_counts=True)
    return int(sizes[counts.argmax()])
