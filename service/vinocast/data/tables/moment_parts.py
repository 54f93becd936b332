"""The parts of a column of times: which of them is the day, and how others are written alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vinocast.data.tables.cells import first_of
from vinocast.data.times.form import Form
from vinocast.data.times.moment import read_offset
from vinocast.errors import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.times.days import Steps

DayOrder = Literal["dmy", "mdy"]
# What stands for an hour of half a day that does not exist.
NO_HOUR = 99


class MomentError(ValueError):
    """A time that cannot be read, and the row of it."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


@dataclass
class Parts:
    """What the shapes of times [rows] hold: int64 numbers, and of the text what is the same or as in the last row."""

    numbers: dict[str, Steps]
    either: NDArray[np.bool_]
    zone_codes: Steps
    zones: list[str]
    found: dict[str, str | None]
    short: set[str]
    order: DayOrder = "dmy"

    @property
    def year(self) -> Steps:
        """The years, int64 [rows]."""
        return self.numbers["year"]

    @property
    def month(self) -> Steps:
        """The months, 1 is January, int64 [rows]."""
        return self.numbers["month"]

    @property
    def day(self) -> Steps:
        """The days of the month, from 1, int64 [rows]."""
        return self.numbers["day"]

    @property
    def hour(self) -> Steps:
        """The hours of the day, int64 [rows]."""
        return self.numbers["hour"]

    @property
    def minute(self) -> Steps:
        """The minutes of the hour, int64 [rows]."""
        return self.numbers["minute"]

    @property
    def second(self) -> Steps:
        """The seconds of the minute, int64 [rows]."""
        return self.numbers["second"]

    @property
    def nanosecond(self) -> Steps:
        """The nanoseconds of the second, int64 [rows]."""
        return self.numbers["nanosecond"]

    def wrong_clock(self) -> NDArray[np.bool_]:
        """Return which rows have a clock that does not exist, bool [rows]; 24:00:00 does."""
        midnight = (self.hour == 24) & (self.minute == 0) & (self.second == 0)
        wrong: NDArray[np.bool_] = ((self.hour > 23) & ~midnight) | (self.minute > 59) | (self.second > 59)
        return wrong

    def find_order(self, texts: Sequence[str]) -> DayOrder:
        """Return which of two numbers before a year is the day; they stand as day and month until then.

        Raises:
            MomentError: no row tells, or one says this and another that.
        """
        if self.found["s3"] == ".":
            return "dmy"
        day_first, month_first = first_of(self.either & (self.day > 12)), first_of(self.either & (self.month > 12))
        if day_first is not None and month_first is not None:
            raise MomentError(
                f"'{shown(texts[day_first])}' has its day first and '{shown(texts[month_first])}' its month",
                max(day_first, month_first),
            )
        if day_first is None and month_first is None and (self.day != self.month)[self.either].any():
            row = int((self.either & (self.day != self.month)).argmax())
            raise MomentError(
                f"'{shown(texts[row])}' may be of day and month or of month and day, and no row tells: say --dates dmy "
                "or --dates mdy",
                row,
            )
        return "mdy" if month_first is not None else "dmy"

    def put_in_order(self, order: DayOrder) -> None:
        """Make of the two numbers before a year what they are."""
        self.order = order
        if order == "mdy":
            day, month = self.day, self.month
            self.numbers["day"] = np.where(self.either, month, day)
            self.numbers["month"] = np.where(self.either, day, month)

    def form(self) -> Form:
        """Return how the times are written."""
        found = self.found
        month, day = ("%-m", "%-d") if self.short & {"month", "day"} else ("%m", "%d")
        if found["y1"]:
            date = f"%Y{found['s1']}{month}" + (f"{found['s1']}{day}" if found["d1"] else "")
        elif found["y2"]:
            date = "%Y%m%d"
        elif found["y3"]:
            first, second = (day, month) if self.order == "dmy" else (month, day)
            date = f"{first}{found['s3']}{second}{found['s3']}{_year(found['y3'])}"
        elif name := found["n4"]:
            date = f"{day}{found['s4']}{_month_name(name)}{found['t4']}{_year(found['y4'])}"
        elif name := found["n5"]:
            date = f"{_month_name(name)} {day}{found['t5']}%Y"
        elif name := found["n6"]:
            date = f"{_month_name(name)}{found['s6']}%Y"
        else:
            date = f"%Y{found['s7']}%q"
        if found["weekday"]:
            date = ("%A" if len(found["weekday"]) > 3 else "%a") + (found["s0"] or "") + date
        clock, half = "", found["half"]
        if found["hour"]:
            clock = ("%-" if "hour" in self.short else "%") + ("I" if half else "H")
            clock += (found["colon"] or "") + "%M" if found["minute"] else ""
            clock += (found["colon"] or "") + "%S" if found["second"] else ""
            if half:
                clock += (found["before_half"] or "") + ("%p" if half.isupper() else "%P")
        zone = found["zone"] or ""
        return Form(date, found["join"] or "T", clock, len(found["fraction"] or ""), zone, read_offset(zone))


def _year(text: str | None) -> str:
    return "%Y" if len(text or "") == 4 else "%y"


def _month_name(name: str) -> str:
    return "%B" if len(name) > 3 else "%b"
