"""How moments are written, so that others can be written alike."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.times.days import EPOCH_WEEKDAY, SECOND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.data.times.days import Steps, Times

# What a form writes, and how: the part of a time, the digits that it is padded to (0: none).
CODES: dict[str, tuple[str, int]] = {
    "%Y": ("year", 4),
    "%y": ("short_year", 2),
    "%m": ("month", 2),
    "%-m": ("month", 0),
    "%b": ("month_name", -1),
    "%B": ("long_month_name", -1),
    "%q": ("quarter", 0),
    "%a": ("weekday_name", -1),
    "%A": ("long_weekday_name", -1),
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
LONG_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
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
    def weekday_name(self) -> NDArray[np.str_]:
        return self.long_weekday_name.astype("<U3")

    @cached_property
    def long_weekday_name(self) -> NDArray[np.str_]:
        return np.array(LONG_WEEKDAYS)[(self._days.astype(np.int64) + EPOCH_WEEKDAY) % 7]

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
