"""Steps as pandas and ISO 8601 write them."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from vinocast.data.times.days import DAY, MONTHS, MOST_TEXT, MOST_YEARS, SECOND, WEEKDAYS, quoted
from vinocast.data.times.frequency import FIXED, Day, Frequency

NANOSECONDS = {word: size for size, words in FIXED.items() for word in words}
NANOSECONDS |= {f"{words[-1]}s": size for size, words in FIXED.items()} | {
    "hourly": 3600 * SECOND,
    "daily": DAY,
    "weekly": 7 * DAY,
}
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


@lru_cache(maxsize=256)
def read_frequency(text: str) -> Frequency:
    """Read a step as pandas (``15min``, ``h``, ``W-MON``, ``QS``) or ISO 8601 (``PT15M``, ``P1D``) write it.

    Raises:
        ValueError: it is none, it is ``m``, or it is 0; the message is one sentence without the name of the field.
    """
    frequency = _read_iso(text) if text.startswith("P") and len(text) <= MOST_TEXT else _read_words(text)
    years = frequency.nanoseconds // (366 * DAY) + frequency.months // 12 + frequency.business_days // 262
    if frequency == Frequency() or years >= MOST_YEARS:
        raise ValueError(f"expected a step longer than nothing and below {MOST_YEARS} years, got {quoted(text)}")
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
        raise ValueError(f"months and {quoted(text[1:])} together are no step: expected either months or fixed times")
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
        raise ValueError(f"expected a whole number of steps, and of nanoseconds, got {quoted(text)}")
    return count.numerator


def _no_step(text: str) -> str:
    return f"expected a step {EXAMPLES}, got {quoted(text)}"
