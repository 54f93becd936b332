"""A column of times, in whatever form a file has them: how they are written is decided by all of its rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vinocast.data.times import FIRST_YEAR, LAST_YEAR, MONTHS, NO_DAY, SECOND, Form, days_of, read_offset
from vinocast.errors import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.times import Steps, Times

DayOrder = Literal["dmy", "mdy"]

MOST_TEXT = 64
NAME = r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
NAME += r"Nov(?:ember)?|Dec(?:ember)?)"
SHAPE = re.compile(
    rf"""
    (?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\ )?
    (?:
        (?P<y1>\d{{4}})(?P<s1>[-/.])(?P<m1>\d{{1,2}})(?:(?P=s1)(?P<d1>\d{{1,2}}))?
      | (?P<y2>\d{{4}})(?P<m2>\d\d)(?P<d2>\d\d)
      | (?P<a>\d{{1,2}})(?P<s3>[-/.])(?P<b>\d{{1,2}})(?P=s3)(?P<y3>\d{{4}}|\d\d)
      | (?P<d4>\d{{1,2}})(?P<s4>[ -]?)(?P<n4>{NAME})\.?(?P<t4>,?[ -]?)(?P<y4>\d{{4}}|\d\d)
      | (?P<n5>{NAME})\.?\ (?P<d5>\d{{1,2}})(?P<t5>,?\ )(?P<y5>\d{{4}})
      | (?P<n6>{NAME})(?P<s6>[ -])(?P<y6>\d{{4}})
      | (?P<y7>\d{{4}})(?P<s7>[ -]?Q)(?P<q>[1-4])
    )
    (?:
        (?P<join>[T_]|,?\ +)
        (?P<hour>\d{{1,2}})
        (?:(?P<colon>:?)(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?:[.,](?P<fraction>\d{{1,9}}))?)?)?
        (?:(?P<before_half>[ -]?)(?P<half>[ap]\.?m\.?))?
        (?P<zone>\ ?(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?
    )?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
# What stands for an hour of half a day that does not exist.
NO_HOUR = 99
# Digits that are no date by themselves.
DIGITS = re.compile(r"\d*", re.ASCII)


class MomentError(ValueError):
    """A time that cannot be read, and the row of it."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


@dataclass
class Moments:
    """Times [rows] of the clock that they are told by, or of UTC where that is several, and how to write others."""

    times: Times
    form: Form
    notes: list[str]


def looks_like_time(text: str) -> bool:
    """Whether a text has the shape of a date: not of digits alone, unless of eight with a clock."""
    return bool(len(text) <= MOST_TEXT and not DIGITS.fullmatch(text) and SHAPE.fullmatch(text))


def read_moments(texts: Sequence[str], order: DayOrder | None = None) -> Moments:
    """Read the times of a column, none of which may be empty.

    Args:
        texts: the cells, at least one.
        order: of the day and the month where both are numbers before the year; None to find it.

    Raises:
        MomentError: a time that is none; days and months that could be either; zones in some rows alone.
    """
    parts = _read_alike(texts) or _read_each(texts)
    notes: list[str] = []
    if parts.either.any():
        parts.put_in_order(order or parts.find_order(texts))
    days = days_of(parts.year, parts.month, parts.day)
    if (bad := _first((days == NO_DAY) | parts.wrong_clock())) is not None:
        if not FIRST_YEAR <= parts.year[bad] <= LAST_YEAR:
            raise MomentError(f"expected a year from {FIRST_YEAR} to {LAST_YEAR}, got '{shown(texts[bad])}'", bad)
        raise MomentError(f"there is no such date or time as '{shown(texts[bad])}'", bad)
    seconds = ((days * 24 + parts.hour) * 60 + parts.minute) * 60 + parts.second
    times = (seconds * SECOND + parts.nanosecond).astype("datetime64[ns]")
    form = parts.form()
    zoned = parts.zone_codes >= 0
    if zoned.any() and not zoned.all():
        with_zone, without = int(zoned.argmax()), int((~zoned).argmax())
        raise MomentError(
            f"'{shown(texts[without])}' has no zone, '{shown(texts[with_zone])}' has one: write all with one or none",
            max(with_zone, without),
        )
    if zoned.all():
        try:
            offsets = np.array([read_offset(zone) for zone in parts.zones], np.int64)
        except ValueError as error:
            raise MomentError(str(error), 0) from None
        if len(set(offsets.tolist())) > 1:
            times = times - (offsets[parts.zone_codes] * 60 * SECOND).astype("timedelta64[ns]")
            notes.append(f"times of {len(set(offsets.tolist()))} zones are converted to UTC")
            form = Form(form.date, form.join, form.clock, form.fraction, "Z", 0)
    return Moments(times, form, notes)


def _first(which: NDArray[np.bool_]) -> int | None:
    return int(which.argmax()) if which.any() else None


@dataclass
class _Parts:
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
        return self.numbers["year"]

    @property
    def month(self) -> Steps:
        return self.numbers["month"]

    @property
    def day(self) -> Steps:
        return self.numbers["day"]

    @property
    def hour(self) -> Steps:
        return self.numbers["hour"]

    @property
    def minute(self) -> Steps:
        return self.numbers["minute"]

    @property
    def second(self) -> Steps:
        return self.numbers["second"]

    @property
    def nanosecond(self) -> Steps:
        return self.numbers["nanosecond"]

    def wrong_clock(self) -> NDArray[np.bool_]:
        midnight = (self.hour == 24) & (self.minute == 0) & (self.second == 0)
        wrong: NDArray[np.bool_] = ((self.hour > 23) & ~midnight) | (self.minute > 59) | (self.second > 59)
        return wrong

    def find_order(self, texts: Sequence[str]) -> DayOrder:
        """Return which of two numbers before a year is the day; they stand as day and month until then."""
        if self.found["s3"] == ".":
            return "dmy"
        day_first, month_first = _first(self.either & (self.day > 12)), _first(self.either & (self.month > 12))
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
        self.order = order
        if order == "mdy":
            day, month = self.day, self.month
            self.numbers["day"] = np.where(self.either, month, day)
            self.numbers["month"] = np.where(self.either, day, month)

    def form(self) -> Form:
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


YEARS = ("y1", "y2", "y3", "y4", "y5", "y6", "y7")
MONTH_NUMBERS = ("m1", "m2", "b")
NAMES = ("n4", "n5", "n6")
DAYS = ("d1", "d2", "a", "d4", "d5")
CLOCK = ("hour", "minute", "second")
FIELDS = ("year", "month", "day", *CLOCK, "nanosecond")


def _read_each(texts: Sequence[str]) -> _Parts:
    """Read each text that is unlike all before it."""
    places: dict[str, int] = {}
    codes = np.fromiter((places.setdefault(text, len(places)) for text in texts), np.int64, len(texts))
    rows: list[tuple[int, ...]] = []
    zones: dict[str, int] = {}
    short: set[str] = set()
    found: dict[str, str | None] = {}
    for text in places:
        shape = SHAPE.fullmatch(text) if len(text) <= MOST_TEXT else None
        if shape is None:
            raise MomentError(_no_time(text), texts.index(text))
        found = shape.groupdict()
        year = next(filter(None, map(found.get, YEARS)))
        month = next(filter(None, map(found.get, MONTH_NUMBERS)), "")
        name = next(filter(None, map(found.get, NAMES)), None)
        day = next(filter(None, map(found.get, DAYS)), "1")
        hour = found["hour"]
        short |= {part for part, digits in (("month", month), ("hour", hour)) if digits and len(digits) == 1}
        if len(day) == 1 and any(map(found.get, DAYS)):
            short.add("day")
        if name:
            number = MONTHS.index(name[:3].lower()) + 1
        else:
            number = int(month) if month else (int(found["q"] or 1) - 1) * 3 + 1
        zone = found["zone"]
        rows.append(
            (
                _full_year(int(year), len(year)),
                number,
                int(day),
                _hour(int(hour or 0), found["half"]),
                int(found["minute"] or 0),
                int(found["second"] or 0),
                int((found["fraction"] or "").ljust(9, "0")),
                zones.setdefault(zone.strip(), len(zones)) if zone else -1,
                found["a"] is not None,
            )
        )
    table = np.array(rows, np.int64)[codes]
    numbers = dict(zip(FIELDS, table.T, strict=False))
    return _Parts(numbers, table[:, 8] == 1, table[:, 7], list(zones), found, short)


def _read_alike(texts: Sequence[str]) -> _Parts | None:
    """Read texts that differ in their digits alone, all at once; None where there are others."""
    first = texts[0]
    shape = SHAPE.fullmatch(first) if len(first) <= MOST_TEXT and first.isascii() else None
    if shape is None or len(texts) < 2 or shape["q"] or any(map(shape.group, NAMES)):
        return None
    table = np.array(texts)
    if table.dtype.itemsize != 4 * len(first):
        return None
    characters = table.view(np.uint32).reshape(len(texts), len(first))
    digits = np.array([character.isdigit() for character in first])
    fixed = ~digits
    afternoon = np.zeros(len(texts), bool)
    if shape["half"]:
        place = shape.start("half")
        fixed[place] = False
        afternoon = characters[:, place] == ord("P" if shape["half"].isupper() else "p")
        if not (afternoon | (characters[:, place] == ord("A" if shape["half"].isupper() else "a"))).all():
            return None
    if (characters[:, fixed] != characters[0, fixed]).any():
        return None
    values = characters[:, digits].astype(np.int64) - ord("0")
    if ((values < 0) | (values > 9)).any():
        return None
    columns = np.zeros(characters.shape, np.int64)
    columns[:, digits] = values

    def number(*groups: str, default: int) -> Steps:
        for group in groups:
            begin, end = shape.span(group)
            if begin >= 0:
                powers = 10 ** np.arange(end - begin - 1, -1, -1)
                total: Steps = columns[:, begin:end] @ powers
                return total
        return np.full(len(texts), default, np.int64)

    found = shape.groupdict()
    year = next(filter(None, map(found.get, YEARS)))
    numbers = {
        "year": _full_years(number(*YEARS, default=0), len(year)),
        "month": number(*MONTH_NUMBERS, default=1),
        "day": number(*DAYS, default=1),
        **{part: number(part, default=0) for part in CLOCK},
        "nanosecond": number("fraction", default=0) * 10 ** (9 - len(found["fraction"] or "")),
    }
    if shape["half"]:
        hours = numbers["hour"]
        numbers["hour"] = np.where((hours < 1) | (hours > 12), NO_HOUR, hours % 12 + 12 * afternoon)
    zone = found["zone"]
    if zone is not None and not _same_zone(characters, shape):
        return None
    short = {
        part
        for part, groups in (("month", MONTH_NUMBERS), ("day", DAYS), ("hour", ("hour",)))
        if any(len(found[group] or "") == 1 for group in groups)
    }
    codes = np.full(len(texts), -1 if zone is None else 0, np.int64)
    either = np.full(len(texts), found["a"] is not None)
    return _Parts(numbers, either, codes, [] if zone is None else [zone.strip()], found, short)


def _same_zone(characters: NDArray[np.uint32], shape: re.Match[str]) -> bool:
    begin, end = shape.span("zone")
    return bool((characters[:, begin:end] == characters[0, begin:end]).all())


def _full_year(year: int, digits: int) -> int:
    return year if digits == 4 else year + (2000 if year < 69 else 1900)


def _full_years(years: Steps, digits: int) -> Steps:
    return years if digits == 4 else years + np.where(years < 69, 2000, 1900)


def _hour(hour: int, half: str | None) -> int:
    if half is None:
        return hour
    return NO_HOUR if not 1 <= hour <= 12 else hour % 12 + 12 * (half[0] in "pP")


def _no_time(text: str) -> str:
    return f"'{shown(text[:MOST_TEXT])}' is no date or time that can be read: write 2026-01-31 or 2026-01-31 12:00"
