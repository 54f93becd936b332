"""The texts of a column of times, taken apart by their shape: all at once where they are alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.tables.moment_parts import NO_HOUR, MomentError, Parts
from vinocast.data.times.days import MONTHS, MOST_TEXT
from vinocast.errors import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vinocast.data.times.days import Steps

NAME = r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
NAME += r"Nov(?:ember)?|Dec(?:ember)?)"
SHAPE = re.compile(
    rf"""
    (?:(?P<weekday>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*)(?P<s0>,?\ ))?
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
# Digits that are no date by themselves.
DIGITS = re.compile(r"\d*", re.ASCII)


def looks_like_time(text: str) -> bool:
    """Whether a text has the shape of a date: not of digits alone, unless of eight with a clock."""
    return bool(len(text) <= MOST_TEXT and not DIGITS.fullmatch(text) and SHAPE.fullmatch(text))


YEARS = ("y1", "y2", "y3", "y4", "y5", "y6", "y7")
MONTH_NUMBERS = ("m1", "m2", "b")
NAMES = ("n4", "n5", "n6")
DAYS = ("d1", "d2", "a", "d4", "d5")
CLOCK = ("hour", "minute", "second")
FIELDS = ("year", "month", "day", *CLOCK, "nanosecond")


def read_each(texts: Sequence[str]) -> Parts:
    """Read each text that is unlike all before it."""
    places: dict[str, int] = {}
    codes = np.fromiter((places.setdefault(text, len(places)) for text in texts), np.int64, len(texts))
    rows: list[tuple[int, ...]] = []
    zones: dict[str, int] = {}
    short: set[str] = set()
    found: dict[str, str | None] = {}
    names: set[str] = set()
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
            names.add(name)
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
    # May is as long either way.
    long = not any(len(name) == len("Jan") for name in names if name.lower() != "may")
    found |= {group: max(names, key=len) if long else "Jan" for group in NAMES if found[group]}
    table = np.array(rows, np.int64)[codes]
    numbers = dict(zip(FIELDS, table.T, strict=False))
    return Parts(numbers, table[:, 8] == 1, table[:, 7], list(zones), found, short)


def read_alike(texts: Sequence[str]) -> Parts | None:
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
    return Parts(numbers, either, codes, [] if zone is None else [zone.strip()], found, short)


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
    return (
        f"'{shown(text[:MOST_TEXT])}' is no date or time that can be read: write 2026-01-31 or 2026-01-31 12:00, or "
        "leave the row out"
    )
