"""Times of a series: moments, which keep the form they were written in, and the steps between them.

All arithmetic is that of the wall clock at the moment's own distance from UTC: each day has 24 hours.
Times are int64 nanoseconds since 1970 (numpy's ``datetime64[ns]``), so the years 1678 to 2261 can be told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from vinocast.errors import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

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
MOST_INT64 = np.iinfo(np.int64).max
# What is longer is no moment and no step, and is not looked at.
MOST_TEXT = 64
MOST_YEARS = LAST_YEAR - FIRST_YEAR
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# As numpy counts the days of a week.
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# 1970-01-01 was a Thursday.
EPOCH_WEEKDAY = 3

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
NANOSECONDS = {word: size for size, words in FIXED.items() for word in words}
NANOSECONDS |= {f"{words[-1]}s": size for size, words in FIXED.items()} | {
    "hourly": 3600 * SECOND,
    "daily": DAY,
    "weekly": 7 * DAY,
}
# Months of what is not, and which day of the month is meant: that of the first point ("same"; "sticky": the last day
# where that is one), the first, or the last.
Day = Literal["same", "sticky", "start", "end"]
CALENDAR: dict[str, tuple[int, Day]] = {
    **dict.fromkeys(("M", "month", "months", "monthly"), (1, "sticky")),
    **dict.fromkeys(("Q", "q", "quarter", "quarters", "quarterly"), (3, "sticky")),
    **dict.fromkeys(("Y", "y", "A", "year", "years", "yearly", "annual"), (12, "sticky")),
    "ME": (1, "end"),
    "MS": (1, "start"),
    "QE": (3, "end"),
    "QS": (3, "start"),
    **dict.fromkeys(("YE",), (12, "end")),
    **dict.fromkeys(("YS", "AS"), (12, "start")),
}
# Words with an anchor, such as W-MON, QE-MAR and YS-JUL.
ANCHORED = {"W": (0, "same"), **{word: CALENDAR[word] for word in ("QE", "QS", "YE", "YS", "AS")}}
ANCHORED |= {"Q": (3, "end"), "Y": (12, "end"), "A": (12, "end")}

PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)?\s*([A-Za-z]+)(?:-([A-Za-z]{3}))?", re.ASCII)
ISO = re.compile(
    r"P(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(\d{1,9})W)?(?:(\d{1,9})D)?"
    r"(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:[.,]\d{1,9})?)S)?)?",
    re.ASCII,
)
EXAMPLES = "such as min, 15min, h, D, B, W, W-MON, MS, ME, QS or PT1H"


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
        last = int(_last_day(month).astype(np.int64))
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
        ends = _last_day(months)
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


def _last_day(month: np.datetime64 | NDArray[np.datetime64]) -> NDArray[np.timedelta64]:
    """Return how many days after the first of a month its last is."""
    difference: NDArray[np.timedelta64] = (
        (month + 1).astype("datetime64[D]") - month.astype("datetime64[D]") - np.timedelta64(1, "D")
    )
    return difference


def _outside() -> str:
    return f"a time lies outside the years {FIRST_YEAR} to {LAST_YEAR}"


@lru_cache(maxsize=256)
def read_frequency(text: str) -> Frequency:
    """Read a step as pandas (``15min``, ``h``, ``W-MON``, ``QS``) or ISO 8601 (``PT15M``, ``P1D``) write it.

    Raises:
        ValueError: it is none, it is ``m``, or it is 0; the message is one sentence without the name of the field.
    """
    frequency = _read_iso(text) if text.startswith("P") and len(text) <= MOST_TEXT else _read_words(text)
    years = frequency.nanoseconds // (366 * DAY) + frequency.months // 12 + frequency.business_days // 262
    if frequency == Frequency() or years >= MOST_YEARS:
        raise ValueError(f"expected a step longer than nothing and below {MOST_YEARS} years, got {_quoted(text)}")
    return frequency


def _read_iso(text: str) -> Frequency:
    found = ISO.fullmatch(text)
    if not found or not any(found.groups()):
        raise ValueError(_no_step(text))
    years, months, *fixed = (Fraction((part or "0").replace(",", ".")) for part in found.groups())
    sizes = (7 * DAY, DAY, 3600 * SECOND, 60 * SECOND, SECOND)
    nanoseconds = sum((count * size for count, size in zip(fixed, sizes, strict=True)), Fraction(0))
    calendar = int(years * 12 + months)
    if calendar and nanoseconds:
        raise ValueError(f"months and {_quoted(text[1:])} together are no step: expected either months or fixed times")
    return Frequency(_whole(nanoseconds, text), months=calendar)


def _read_words(text: str) -> Frequency:
    parts = [] if len(text) > MOST_TEXT else list(PART.finditer(text.strip()))
    if not parts or "".join(part[0] for part in parts) != text.strip():
        raise ValueError(_no_step(text))
    if len(parts) == 1:
        count, word, anchor = parts[0].groups()
        if word == "m":
            raise ValueError("'m' may be minutes or months: say 'min', or 'MS' (their first day) or 'ME' (their last)")
        if word in ("B", "b", *CALENDAR) or anchor:
            return _read_calendar(text, _whole(Fraction(count or 1), text), word, anchor)
    total = Fraction(0)
    for part in parts:
        count, word, anchor = part.groups()
        if (
            size := NANOSECONDS.get(word) or NANOSECONDS.get(word.lower() if len(word) > 2 else word)
        ) is None or anchor:
            raise ValueError(_no_step(text))
        total += Fraction(count or 1) * size
    return Frequency(_whole(total, text))


def _read_calendar(text: str, count: int, word: str, anchor: str | None) -> Frequency:
    if not count:
        return Frequency()
    if anchor is None:
        if word in ("B", "b"):
            return Frequency(business_days=count)
        months, day = CALENDAR[word]
        # In pandas QE and YE end in December, QS and YS begin in January.
        fixed = None if months == 1 or day == "sticky" else 12 if day == "end" else 1
        return Frequency(months=months * count, day=day, anchor=_in_cycle(fixed, months))
    names = WEEKDAYS if word == "W" else MONTHS
    if word not in ANCHORED or anchor.lower() not in names:
        raise ValueError(_no_step(text))
    place = names.index(anchor.lower())
    if word == "W":
        return Frequency(7 * DAY * count, anchor=place)
    months, day = CALENDAR[word] if word in ("QE", "QS", "YE", "YS", "AS") else (3 if word == "Q" else 12, "end")
    return Frequency(months=months * count, day=day, anchor=_in_cycle(place + 1, months))


def _in_cycle(month: int | None, months: int) -> int | None:
    """Return the first month of a year that an anchor stands for: quarters of December end in March as well."""
    return None if month is None else (month - 1) % months + 1


def _whole(count: Fraction, text: str) -> int:
    if count.denominator != 1:
        raise ValueError(f"expected a whole number of steps, and of nanoseconds, got {_quoted(text)}")
    return count.numerator


def _no_step(text: str) -> str:
    return f"expected a step {EXAMPLES}, got {_quoted(text)}"


def _quoted(text: str) -> str:
    return f"'{shown(text[:MOST_TEXT])}'"


# What a form writes, and how: the part of a time, the digits that it is padded to (0: none).
CODES: dict[str, tuple[str, int]] = {
    "%Y": ("year", 4),
    "%y": ("short_year", 2),
    "%m": ("month", 2),
    "%-m": ("month", 0),
    "%b": ("month_name", -1),
    "%B": ("long_month_name", -1),
    "%q": ("quarter", 0),
    "%d": ("day", 2),
    "%-d": ("day", 0),
    "%H": ("hour", 2),
    "%-H": ("hour", 0),
    "%I": ("half_hour", 2),
    "%-I": ("half_hour", 0),
    "%p": ("half", -1),
    "%P": ("lower_half", -1),
    "%M": ("minute", 2),
    "%S": ("second", 2),
}
CODE = re.compile(r"%-?[A-Za-z]")
MONTH_CODES = {"%m", "%-m", "%b", "%B"}
DAY_CODES = {"%d", "%-d"}
LONG_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """How moments are written.

    Attributes:
        date: the day, in the codes of ``strftime`` (``%-d`` is without padding); what it leaves out is the first.
        join: what stands between the day and the clock.
        clock: down to the second, in such codes; empty for days alone.
        fraction: digits of a second.
        zone: what stands behind, as it is: ``Z``, ``+01:00``, or nothing.
        offset: of the zone, in minutes east of UTC; None where none is told.
        epoch: nanoseconds of one, where moments are numbers that count from 1970 in UTC; 0 for any other.
    """

    date: str = "%Y-%m-%d"
    join: str = "T"
    clock: str = ""
    fraction: int = 0
    zone: str = ""
    offset: int | None = None
    epoch: int = 0

    def write(self, times: Times) -> list[str]:
        """Write times of the wall clock, datetime64[ns] [n]; what the form leaves out is added where it is not 0."""
        if self.epoch:
            return [_number(int(value), self.epoch) for value in times.astype("datetime64[ns]").astype(np.int64)]
        parts = _Parts(times)
        form = self._wide_enough(parts)
        pattern = form.date + (form.join + form.clock if form.clock else "")
        codes = CODE.findall(pattern)
        printed = CODE.sub(lambda code: _printed(CODES[code[0]][1]), pattern)
        columns = [getattr(parts, CODES[code][0]).tolist() for code in codes]
        if form.fraction:
            printed += f".%0{form.fraction}d"
            columns.append((parts.rest // 10 ** (9 - form.fraction)).tolist())
        printed += form.zone.replace("%", "%%")
        return [printed % row for row in zip(*columns, strict=True)]

    def _wide_enough(self, parts: _Parts) -> Form:
        form = self
        date, clock = set(CODE.findall(form.date)), set(CODE.findall(form.clock))
        months = parts.month % 3 != 1 if "%q" in date else parts.month != 1
        if (not date & DAY_CODES and (parts.day != 1).any()) or (not date & MONTH_CODES and months.any()):
            form = replace(form, date="%Y-%m-%d")
        finest = 1 if "%S" in clock else 60 if "%M" in clock else 3600 if clock else 86_400
        if (parts.rest.any() and finest > 1) or (parts.seconds % finest).any():
            form = replace(form, date=form.date if date & DAY_CODES else "%Y-%m-%d", clock="%H:%M:%S")
        if (parts.rest % 10 ** (9 - form.fraction)).any():
            form = replace(form, fraction=next(n for n in (3, 6, 9) if not (parts.rest % 10 ** (9 - n)).any()))
        return form


class _Parts:
    """The parts of times [n], each an array that is made when it is asked for."""

    def __init__(self, times: Times) -> None:
        nanoseconds = times.astype("datetime64[ns]")
        self._days = nanoseconds.astype("datetime64[D]")
        clock = (nanoseconds - self._days.astype("datetime64[ns]")).astype(np.int64)
        self.seconds: Steps = clock // SECOND
        self.rest: Steps = clock % SECOND
        self._months = self._days.astype("datetime64[M]")

    @cached_property
    def year(self) -> Steps:
        return self._months.astype("datetime64[Y]").astype(np.int64) + 1970

    @cached_property
    def short_year(self) -> Steps:
        return self.year % 100

    @cached_property
    def month(self) -> Steps:
        return self._months.astype(np.int64) % 12 + 1

    @cached_property
    def month_name(self) -> NDArray[np.str_]:
        return self.long_month_name.astype("<U3")

    @cached_property
    def long_month_name(self) -> NDArray[np.str_]:
        return np.array(LONG_MONTHS)[self.month - 1]

    @cached_property
    def quarter(self) -> Steps:
        return (self.month + 2) // 3

    @cached_property
    def day(self) -> Steps:
        days: Steps = (self._days - self._months.astype("datetime64[D]")).astype(np.int64) + 1
        return days

    @cached_property
    def hour(self) -> Steps:
        return self.seconds // 3600

    @cached_property
    def half_hour(self) -> Steps:
        return (self.hour + 11) % 12 + 1

    @cached_property
    def half(self) -> NDArray[np.str_]:
        return np.where(self.hour < 12, "AM", "PM")

    @cached_property
    def lower_half(self) -> NDArray[np.str_]:
        return np.where(self.hour < 12, "am", "pm")

    @cached_property
    def minute(self) -> Steps:
        return self.seconds // 60 % 60

    @cached_property
    def second(self) -> Steps:
        return self.seconds % 60


def _printed(width: int) -> str:
    return "%s" if width < 0 else f"%0{width}d" if width else "%d"


def _number(nanoseconds: int, unit: int) -> str:
    whole, rest = divmod(abs(nanoseconds), unit)
    sign = "-" * (nanoseconds < 0)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if unit > 1 else ""
    return f"{sign}{whole}{'.' * bool(digits)}{digits}"


@dataclass(frozen=True)
class Moment:
    """A point in time.

    Attributes:
        local: nanoseconds since 1970 of the wall clock that it was told by.
        form: in which it was written.
    """

    local: int
    form: Form

    @property
    def utc(self) -> int:
        """Nanoseconds since 1970 in UTC; of a moment without a zone, those of its own clock."""
        return self.local - (self.form.offset or 0) * 60 * SECOND

    def after(self, frequency: Frequency, first: int, count: int) -> list[str]:
        """Return the times from so many steps after this moment on, ``count`` of them, in its form.

        Raises:
            ValueError: a time before 1678 or after 2261.
        """
        return self.form.write(frequency.after(self.local, np.arange(first, first + count)))


MOMENT = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:(?P<join>[Tt ])(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?P<zone> ?(?:[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?))?)?)?)?",
    re.ASCII,
)


@lru_cache(maxsize=256)
def read_moment(text: str) -> Moment:
    """Read a date or a time as ISO 8601 writes it, with a ``T`` or a space, and with or without a zone.

    Raises:
        ValueError: it is none, or before 1678 or after 2261; the message is one sentence without the name of the field.
    """
    found = MOMENT.fullmatch(text) if len(text) <= MOST_TEXT else None
    if not found:
        raise ValueError(f"expected a date or a time such as 2026-01-31 or 2026-01-31T12:00:00Z, got {_quoted(text)}")
    part = found.groupdict()
    zone = part["zone"] or ""
    form = Form(
        date="-".join(code for name, code in (("year", "%Y"), ("month", "%m"), ("day", "%d")) if part[name]),
        join=part["join"] or "T",
        clock=":".join(code for name, code in (("hour", "%H"), ("minute", "%M"), ("second", "%S")) if part[name]),
        fraction=len(part["fraction"] or ""),
        zone=zone,
        offset=read_offset(zone),
    )
    numbers = [int(part[name] or default) for name, default in PARTS]
    return Moment(moment_of(numbers, int((part["fraction"] or "").ljust(9, "0")), text), form)


PARTS = (("year", 0), ("month", 1), ("day", 1), ("hour", 0), ("minute", 0), ("second", 0))


def read_offset(zone: str) -> int | None:
    """Return the minutes east of UTC that a zone's text says; None of none; raises ValueError beyond 18 hours."""
    zone = zone.strip()
    if zone.upper() in ("Z", "UTC", "GMT"):
        return 0
    if not zone:
        return None
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 18 or minutes > 59:
        raise ValueError(f"expected a distance from UTC of at most 18 hours, got '{zone}'")
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)


def days_of(years: Steps, months: Steps, days: Steps) -> Steps:
    """Return days since 1970 of years, months and days [n]; NO_DAY where there is no such date."""
    known = (years >= FIRST_YEAR) & (years <= LAST_YEAR) & (months >= 1) & (months <= 12)
    numbers = np.where(known, (years - 1970) * 12 + months - 1, 0).astype("datetime64[M]")
    known &= (days >= 1) & (days <= _last_day(numbers).astype(np.int64) + 1)
    return np.where(known, numbers.astype("datetime64[D]").astype(np.int64) + days - 1, NO_DAY)


def moment_of(numbers: Sequence[int], nanoseconds: int, text: str) -> int:
    """Return nanoseconds since 1970 of year, month, day, hour, minute, second and a part of a second.

    Raises:
        ValueError: there is no such date or time, or it is before 1678 or after 2261.
    """
    year, month, day, hour, minute, second = numbers
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"expected a year from {FIRST_YEAR} to {LAST_YEAR}, got {_quoted(text)}")
    if 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60:
        first = np.datetime64(f"{year:04d}-{month:02d}", "M")
        if 1 <= day <= int(_last_day(first).astype(np.int64)) + 1:
            days = int(first.astype("datetime64[D]").astype(np.int64)) + day - 1
            return ((days * 24 + hour) * 60 + minute) * 60 * SECOND + second * SECOND + nanoseconds
    raise ValueError(f"there is no such date or time as {_quoted(text)}")


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
    lasts = _last_day(months).astype(np.int64)
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
